"""The files of a package as `importlib.resources` asks for them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import BinaryIO

from flambeau.package._records import Records

if sys.version_info >= (3, 11):
    from importlib.resources.abc import ResourceReader as Reader
else:
    from importlib.abc import ResourceReader as Reader


class ResourceReader(Reader):
    """The files in one folder of a package.

    Args:
        records: of the package
        name: of the package of modules whose folder it is
    """

    def __init__(self, records: Records, name: str) -> None:
        self._records = records
        self._folder = name.replace(".", "/") + "/"

    def open_resource(self, resource: str) -> BinaryIO:
        if self._folder + resource not in self._records:
            raise FileNotFoundError(f"{self._records.name} has no file {self._folder}{resource}")
        return io.BytesIO(self._records.read(self._folder + resource))

    def resource_path(self, resource: str) -> str:
        raise FileNotFoundError(f"{resource} lies in an archive, and has no path of its own")

    def is_resource(self, path: str) -> bool:
        return self._folder + path in self._records

    def contents(self) -> Iterator[str]:
        inside = [path.removeprefix(self._folder) for path in self._records.paths() if path.startswith(self._folder)]
        yield from dict.fromkeys([path.partition("/")[0] for path in inside])
