"""What a report of a bug needs to say of the machine and its software."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

import flambeau
from flambeau.backends.cpu import get_cpu_capability

__all__ = ["get_pretty_env_info", "main"]


def get_pretty_env_info() -> str:
    """The versions of everything that takes part, one a line."""
    lines = [
        f"PyTorch version: {flambeau.__version__}",
        "Is debug build: False",
        "CUDA used to build PyTorch: None",
        f"OS: {platform.platform()}",
        f"Python version: {sys.version.splitlines()[0]}",
        f"CPU: {platform.processor() or platform.machine()}, {get_cpu_capability()}, {flambeau.get_num_threads()} threads",
    ]
    for name in ("numpy", "llvmlite", "scipy"):
        try:
            lines.append(f"{name}: {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{name}: not installed")
    return "\n".join(lines)


def main() -> None:
    """Print it."""
    print("Collecting environment information...")
    print(get_pretty_env_info())


if __name__ == "__main__":
    main()
