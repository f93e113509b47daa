"""What `importlib.metadata` finds where Flambeau answers to other names. Apart, since to import that module takes a fifth as long as all of Flambeau."""

from __future__ import annotations

import importlib
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any


class AliasDistribution(Distribution):
    """What `importlib.metadata` reads of the `torch` that Flambeau stands for."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: {self.alias}\nVersion: {_version_of(self.alias)}\n"
        if filename == "top_level.txt":
            return f"{self.alias}\n"
        return None

    def locate_file(self, path: Any) -> Path:
        return Path(__file__).resolve().parents[1] / path

    @property
    def files(self) -> None:
        return None


def _version_of(alias: str) -> str:
    """The version of PyTorch or torchvision that is stood for, marked as Flambeau's."""
    version = importlib.import_module("flambeau.version")
    return f"{getattr(version, alias)}+flambeau.{version.release}"
