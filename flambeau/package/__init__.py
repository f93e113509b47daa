"""Programs in a file: code, pickled objects and data in one zip archive, which imports from itself. ``torch.package``.

**Importing from a package runs its code**, by design: load only what you trust. To read its structure, its text and its sources
(``file_structure``, ``load_text``, ``load_binary``, ``get_source``) runs nothing. https://docs.pytorch.org/docs/stable/package.html
"""

from __future__ import annotations

from flambeau.package.file_structure_representation import Directory as Directory
from flambeau.package.glob_group import GlobGroup as GlobGroup
from flambeau.package.importer import Importer as Importer
from flambeau.package.importer import ObjMismatchError as ObjMismatchError
from flambeau.package.importer import ObjNotFoundError as ObjNotFoundError
from flambeau.package.importer import OrderedImporter as OrderedImporter
from flambeau.package.importer import sys_importer as sys_importer
from flambeau.package.mangling import is_from_package as is_from_package
from flambeau.package.package_exporter import EmptyMatchError as EmptyMatchError
from flambeau.package.package_exporter import PackageExporter as PackageExporter
from flambeau.package.package_exporter import PackagingError as PackagingError
from flambeau.package.package_importer import PackageImporter as PackageImporter

__all__ = [
    "Directory",
    "EmptyMatchError",
    "GlobGroup",
    "Importer",
    "ObjMismatchError",
    "ObjNotFoundError",
    "OrderedImporter",
    "PackageExporter",
    "PackageImporter",
    "PackagingError",
    "is_from_package",
    "sys_importer",
]
