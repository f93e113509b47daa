"""Extensions in C++ and CUDA, which are made for PyTorch's own library: there are none here, and what would build one says so.

Programs that fall back to Python where an extension cannot be built do so.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CUDA_HOME",
    "ROCM_HOME",
    "BuildExtension",
    "CUDAExtension",
    "CppExtension",
    "include_paths",
    "library_paths",
    "load",
    "load_inline",
]

CUDA_HOME: str | None = None
ROCM_HOME: str | None = None


def _unavailable(name: str) -> RuntimeError:
    return RuntimeError(
        f"{name}: an extension in C++ or CUDA is compiled against PyTorch's own library, which is not here; "
        "an operator can be written in Python, with torch.library.custom_op"
    )


def load(name: str, sources: Any, *args: Any, **options: Any) -> Any:
    """Raises ``RuntimeError``: there is nothing to compile against."""
    raise _unavailable(f"load({name!r})")


def load_inline(name: str, cpp_sources: Any, *args: Any, **options: Any) -> Any:
    """Raises ``RuntimeError``: there is nothing to compile against."""
    raise _unavailable(f"load_inline({name!r})")


def CppExtension(name: str, sources: Any, *args: Any, **options: Any) -> Any:
    """Raises ``RuntimeError``: there is nothing to compile against."""
    raise _unavailable(f"CppExtension({name!r})")


def CUDAExtension(name: str, sources: Any, *args: Any, **options: Any) -> Any:
    """Raises ``RuntimeError``: there is nothing to compile against."""
    raise _unavailable(f"CUDAExtension({name!r})")


class BuildExtension:
    """The command of ``setup.py`` that builds extensions.

    Raises:
        RuntimeError: when called
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        raise _unavailable("BuildExtension")

    @classmethod
    def with_options(cls, **options: Any) -> type:
        """The command with other options."""
        return cls


def include_paths(device_type: str = "cpu", torch_include_dirs: bool = True) -> list[str]:
    """Raises ``RuntimeError``: there are no header files to compile against."""
    raise _unavailable("include_paths()")


def library_paths(device_type: str = "cpu", torch_include_dirs: bool = True, cross_target_platform: str | None = None) -> list[str]:
    """Raises ``RuntimeError``: there are no libraries to link."""
    raise _unavailable("library_paths()")
