"""The modules that source code imports."""

from __future__ import annotations

import ast

__all__ = ["find_files_source_depends_on"]


def find_files_source_depends_on(source: str, package: str) -> list[tuple[str, str | None]]:
    """What a source imports, anywhere in it: a module, and the name that is taken from it, if one is (it may be a module, too).

    Args:
        source: Python code
        package: of the module, which relative imports start from

    Raises:
        SyntaxError: it is no Python code

    Example:
        >>> from flambeau.package.find_file_dependencies import find_files_source_depends_on
        >>> find_files_source_depends_on("import os.path\\nfrom .. import a\\nfrom .b import *", "outer.inner")
        [('os.path', None), ('outer', 'a'), ('outer.inner.b', None)]
    """
    found: dict[tuple[str, str | None], None] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(((alias.name, None), None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node.module or "", package, node.level)
            found.update(((module, None if alias.name == "*" else alias.name), None) for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__" and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found[name.value, None] = None
    return list(found)


def _absolute(module: str, package: str, level: int) -> str:
    if not level:
        return module
    parts = package.split(".")
    above = parts[: len(parts) - level + 1]
    return ".".join([*above, *([module] if module else [])])
