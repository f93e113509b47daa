"""The version of Flambeau, and of the PyTorch whose API and semantics it has."""

from __future__ import annotations

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "release", "torch", "torchvision"]

release = "0.1.0"
torch = "2.13.0"
torchvision = "0.28.0"

# Scripts compare `torch.__version__` with the PyTorch they need, so that one leads; the local part says who is answering.
__version__ = f"{torch}+flambeau.{release}"

cuda: str | None = None
hip: str | None = None
debug = False
git_version: str | None = None
