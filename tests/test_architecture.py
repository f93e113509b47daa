"""Rules that hold for the source as a whole: which room may import which, and what a public name owes its reader."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "flambeau"

# Each room may import itself and those before it. Rooms on one line may import each other.
ORDER = [
    ["version", "_alias", "_site"],
    ["_types"],
    ["_runtime"],
    ["_codegen"],
    ["_compiler"],
    ["_tape"],
    ["_ops"],
    ["_tensor", "autograd"],
]
PUBLIC = len(ORDER)  # nn, optim, utils, … : PyTorch's names. `import flambeau` from there means the tensors, which are below.
VISION = PUBLIC + 1  # vision, and the package itself when it is the one that imports
ENGINE = {"_types", "_runtime", "_codegen", "_compiler", "_tape", "_ops", "_tensor"}


def level(room: str) -> int:
    for number, rooms in enumerate(ORDER):
        if room in rooms:
            return number
    return VISION if room in ("vision", "__init__", "__main__") else PUBLIC


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    """All of the source, parsed; let go of after these tests, as it is two million objects."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
    return {path: ast.parse(path.read_text("utf-8"), str(path)) for path in paths}


def runs_on_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: not function bodies, not `if TYPE_CHECKING:`."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.stmt):
            yield node
        pending.extend(ast.iter_child_nodes(node))


def imported_rooms(path: Path, statements: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """(line, room) for every import of a module of ours."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in statements:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{prefix}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "flambeau":
                yield node.lineno, parts[1] if len(parts) > 1 else "__init__"


def test_imports_point_one_way(trees):
    """No room imports what is built on it."""
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports flambeau.{other}"
        for path, tree in trees.items()
        for line, other in imported_rooms(path, runs_on_import(tree))
        if (PUBLIC if other == "__init__" else level(other)) > level(room_of(path))
    ]
    assert wrong == []


def test_engine_never_reaches_up_even_late(trees):
    """An import inside a function may break a cycle between neighbours, but the engine knows nothing of nn or optim."""
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports flambeau.{other}"
        for path, tree in trees.items()
        if room_of(path) in ENGINE
        for line, other in imported_rooms(path, ast.walk(tree))
        if level(other) >= PUBLIC and other != "__init__"
    ]
    assert wrong == []


def is_module(package: str, name: str) -> bool:
    """Whether a name that is imported from a package of ours is a module."""
    path = PACKAGE.parent.joinpath(*package.split("."), name)
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def private_names_of_others(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) where a module reaches for a name with an underscore that is another module's."""
    imports = [
        (node, alias)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "flambeau"
        for alias in node.names
    ]
    modules = {alias.asname or alias.name for node, alias in imports if is_module(node.module, alias.name)}
    used = [(node.lineno, alias.name) for node, alias in imports if not is_module(node.module, alias.name)]
    used += [
        (node.lineno, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    ]
    return ((line, name) for line, name in used if name.startswith("_") and not name.endswith("__"))


def test_private_names_stay_in_their_module(trees):
    """What others need has no underscore. (Outside of the engine names are PyTorch's, which gives some of them one.)"""
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line} uses {name}"
        for path, tree in trees.items()
        if room_of(path) in ENGINE
        for line, name in private_names_of_others(tree)
    ]
    assert wrong == []


def public_names(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            try:
                return list(ast.literal_eval(node.value))
            except ValueError:
                return None  # computed; what it is made of is checked where it is written
    return None


def test_all_names_what_is_there(trees):
    """Ruff keeps `__all__` sorted (RUF022); that each of its names exists is checked here."""
    listed = {module_name(path): names for path, tree in trees.items() if (names := public_names(tree))}
    assert [module for module, names in listed.items() if len(names) > len(set(names))] == [], "__all__ names something twice"
    assert [
        f"{module}.{name}" for module, names in listed.items() for name in names if not hasattr(importlib.import_module(module), name)
    ] == []


def test_public_names_are_documented(trees):
    missing = [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name}"
        for path, tree in trees.items()
        if (wanted := public_names(tree))
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in wanted and not ast.get_docstring(node)
    ]
    assert missing == [], "public, without a docstring"


def test_modules_say_what_they_are_about(trees):
    without = [str(path.relative_to(PACKAGE.parent)) for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)]
    assert without == [], "no docstring"


@pytest.mark.parametrize("room", sorted(ENGINE))
def test_inner_rooms_have_a_readme(room):
    readme = PACKAGE / room / "README.md"
    assert readme.is_file(), f"flambeau/{room}/README.md should say what lives there and what may be imported"
    assert len(readme.read_text("utf-8").splitlines()) <= 40, "ten lines or so: the rest belongs into docs/"
