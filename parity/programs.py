"""`python -m parity.programs`: programs in files that PyTorch writes, loaded and run by Flambeau; results and gradients are compared.

With `--write FOLDER` the files and what PyTorch computed with them are kept; those in `tests/programs` were written so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

import flambeau
from parity.programs_models import EXPORTED, SCRIPTED, TRACED

TOLERANCE = 1e-5


def scripted(name: str, path: Path) -> Callable:
    module = torch.jit.script(made(name))
    torch.jit.save(module, path, _extra_files={"about.txt": name})
    return torch.jit.load(path)


def traced(name: str, path: Path) -> Callable:
    module = torch.jit.trace(made(name), SCRIPTED[name][1], check_trace=False)
    torch.jit.save(module, path)
    return torch.jit.load(path)


def frozen(name: str, path: Path) -> Callable:
    torch.jit.save(torch.jit.freeze(torch.jit.script(made(name).eval())), path)
    return torch.jit.load(path)


def exported(name: str, path: Path) -> Callable:
    torch.export.save(torch.export.export(made(name), SCRIPTED[name][1]), path, extra_files={"about.txt": name})
    return torch.export.load(path).module()


def decomposed(name: str, path: Path) -> Callable:
    torch.export.save(torch.export.export(made(name), SCRIPTED[name][1]).run_decompositions(), path)
    return torch.export.load(path).module()


def dynamic(name: str, path: Path) -> Callable:
    args = tuple([torch.cat([each, each]) for each in SCRIPTED[name][1]])
    shapes = tuple([{0: torch.export.Dim.AUTO} for _ in args])
    torch.export.save(torch.export.export(made(name), args, dynamic_shapes=shapes), path)
    return torch.export.load(path).module()


WAYS: dict[str, tuple[Callable[[str, Path], Callable], tuple[str, ...], str]] = {
    "scripted": (scripted, tuple(name for name in SCRIPTED if name != "arithmetic"), "pt"),
    "traced": (traced, TRACED, "pt"),
    "frozen": (frozen, ("resnet",), "pt"),
    "exported": (exported, EXPORTED, "pt2"),
    "decomposed": (decomposed, ("resnet", "encoder", "images", "arithmetic"), "pt2"),
    "dynamic": (dynamic, ("resnet", "arithmetic"), "pt2"),
}
"""How a program is written, which are, and the extension of the file."""


def made(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    module = SCRIPTED[name][0]()
    return module if name in ("language", "recurrent") else module.eval()


def results(module: Any, args: tuple, package: Any) -> dict[str, Any]:
    """What a module gives, with and without a gradient, and the gradients of its parameters."""
    with package.no_grad():
        module(*[each.clone() if isinstance(each, package.Tensor) else each for each in args])
    outputs = module(*[each.clone() if isinstance(each, package.Tensor) else each for each in args])
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, package.Tensor) and leaf.requires_grad]
    if leaves:
        sum(leaf.double().square().sum() for leaf in leaves).backward()
    gradients = {name: each.grad for name, each in sorted(module.named_parameters(remove_duplicate=False)) if each.grad is not None}
    return {"outputs": plain(outputs), "gradients": gradients, "state": dict(sorted(module.state_dict().items()))}


def plain(outputs: Any) -> Any:
    """Results without named tuples, which files of weights do not hold."""
    if isinstance(outputs, tuple):
        return tuple(map(plain, outputs))
    if isinstance(outputs, list):
        return [plain(each) for each in outputs]
    return {key: plain(each) for key, each in outputs.items()} if isinstance(outputs, dict) else detached(outputs)


def detached(value: Any) -> Any:
    return value.detach() if hasattr(value, "detach") else value


def ours(value: Any) -> Any:
    """PyTorch's tensors as Flambeau's."""
    return tree_map(lambda leaf: flambeau.from_numpy(leaf.detach().numpy().copy()) if isinstance(leaf, torch.Tensor) else leaf, value)


def difference(got: Any, expected: Any, where: str = "") -> str:
    """Where two results differ, or nothing."""
    if isinstance(expected, torch.Tensor):
        array = got.detach().numpy()
        close = torch.allclose(torch.from_numpy(array), expected.detach(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        return "" if array.dtype == expected.detach().numpy().dtype and close else f"{where}: {got} and {expected}"
    if isinstance(expected, (tuple, list)):
        if type(got) is not type(expected) or len(got) != len(expected):
            return f"{where}: {got} and {expected}"
        return "".join([difference(a, b, f"{where}[{index}]") for index, (a, b) in enumerate(zip(got, expected, strict=True))])
    if isinstance(expected, dict):
        if list(got) != list(expected):
            return f"{where}: {list(got)} and {list(expected)}"
        return "".join([difference(got[key], expected[key], f"{where}[{key!r}]") for key in expected])
    return "" if got == expected else f"{where}: {got!r} and {expected!r}"


def load(path: Path) -> Any:
    return flambeau.jit.load(str(path)) if path.suffix == ".pt" else flambeau.export.load(str(path)).module()


def without_debugging(path: Path) -> None:
    """Leave out what only says where PyTorch's users wrote the source, so that the files in the tests are small."""
    with zipfile.ZipFile(path) as archive:
        records = [(info, archive.read(info)) for info in archive.infolist() if not info.filename.endswith(".debug_pkl")]
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in records:
            if info.filename.endswith("models/model.json"):
                saved = json.loads(data)
                for node in saved["graph_module"]["graph"]["nodes"]:
                    node["metadata"] = {}
                data = json.dumps(saved, separators=(",", ":")).encode()
            archive.writestr(zipfile.ZipInfo(info.filename), data, info.compress_type, compresslevel=9)


def shortened(expected: dict[str, Any]) -> dict[str, Any]:
    """What the tests keep: of gradients and of the state only their norms."""
    norms = {kind: {name: float(each.double().norm()) for name, each in expected[kind].items()} for kind in ("gradients", "state")}
    return {**expected, **norms}


def compared(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The name of each program, in what Flambeau differs, and what PyTorch gives."""
    for way, (write, names, extension) in WAYS.items():
        for name in names:
            path = folder / f"{way}_{name}.{extension}"
            args = SCRIPTED[name][1]
            expected = results(write(name, path), args, torch)
            without_debugging(path)
            try:
                verdict = difference(results(load(path), ours(args), flambeau), expected)
            except Exception as error:
                verdict = f"{type(error).__name__}: {error}"
            yield path.name, verdict, {"args": args, **expected}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m parity.programs", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="where to keep the files")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    kept, wrong = {}, 0
    with tempfile.TemporaryDirectory() as temporary:
        for name, verdict, expected in compared(options.write or Path(temporary)):
            wrong += bool(verdict)
            kept[name] = expected
            print(f"{name:<24} {'DIFFERS ' + verdict if verdict else 'same'}"[:1000])
    if options.write:
        torch.save({name: shortened(expected) for name, expected in kept.items()}, options.write / "expected.pt")
    print(f"{len(kept) - wrong} of {len(kept)} programs give PyTorch's numbers")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
