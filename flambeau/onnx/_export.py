"""`export`: from a module and an example to an ONNX model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import flambeau
from flambeau import Tensor
from flambeau._dynamo.exc import UserError
from flambeau.export._export import exported
from flambeau.export.exported_program import ExportedProgram
from flambeau.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from flambeau.nn import Module
from flambeau.onnx._graph import Builder, Value
from flambeau.onnx._program import ONNXProgram, with_weights_as_inputs
from flambeau.onnx._shapes import Axes, dims_of_labels, enlarged, input_names_of, labels, with_dims
from flambeau.onnx._translate import Translation, unknown_operators
from flambeau.version import __version__

__all__ = ["OnnxExporterError", "export", "is_in_onnx_export"]

OPSET = 20
OPSETS = range(18, 24)
OLDEST = 7
IR_VERSION = 10
_ROUNDS = 6
"""How deep operators are made of others."""
_exporting = False


class OnnxExporterError(RuntimeError):
    """Something in a network has no counterpart in ONNX."""


def is_in_onnx_export() -> bool:
    """Whether a network is being exported."""
    return _exporting


def export(
    model: Module | ExportedProgram, args: Any = (), f: str | os.PathLike | BinaryIO | None = None, *, kwargs: Mapping[str, Any] | None = None,
    verbose: bool | None = None, input_names: Sequence[str] | None = None, output_names: Sequence[str] | None = None, opset_version: int | None = None,
    dynamo: bool = True, external_data: bool | None = None, dynamic_shapes: Any = None, custom_translation_table: Mapping[Any, Any] | None = None,
    verify: bool = False, export_params: bool = True, keep_initializers_as_inputs: bool = False, dynamic_axes: Axes | None = None, **others: Any,
) -> ONNXProgram:  # fmt: skip
    """Write what a module computes as an ONNX model.

    The module is exported as `torch.export.export` does it, in evaluation mode and without gradients, and each of PyTorch's operators in the program
    becomes one or more of ONNX's. Python's control flow is that of the example, and so are sizes, unless they are said to be free.

    Args:
        model: the module, or a program that `torch.export.export` has made
        args: an example of its arguments: a tuple, or one tensor
        f: a path or a binary stream; without it the model is only returned
        kwargs: an example of its keyword arguments
        input_names, output_names: of the tensors; the arguments' own names and `output`, `output_1`, … by default
        opset_version: of ONNX's operators, from 18 to 23; 20 by default. For an older one, from 7 on, the model is written in 18 and converted by `onnx`;
            where that is not possible, it stays 18, and a warning says so, as by PyTorch
        dynamic_shapes: which sizes are free, as `torch.export.export` takes it, or with names in the place of `Dim`s
        dynamic_axes: which sizes are free, by the names of inputs and outputs: `{"x": {0: "batch"}}`, or a list of dimensions
        external_data: put weights into a file beside; by default only those that are too large for one
        verify: run the model by ONNX's reference implementation, and compare
        export_params: write parameters and buffers; without it they are inputs
        keep_initializers_as_inputs: let them be inputs, too
        custom_translation_table: has to be empty: its functions are ONNX Script's
        verbose, dynamo, others: for PyTorch's sake

    Returns:
        The model, checked. (PyTorch returns nothing where `dynamo=False` is said.)

    Raises:
        OnnxExporterError: an operator has no counterpart; it names it
        ImportError: `onnx` is not installed
        UserError: the module cannot be exported, or not with these sizes free
        ValueError: a name, an axis or a version is none that is possible

    Example:
        >>> import flambeau
        >>> program = flambeau.onnx.export(flambeau.nn.Linear(4, 3), flambeau.ones(2, 4), input_names=["x"], dynamic_axes={"x": {0: "batch"}})
        >>> [node.op_type for node in program.model_proto.graph.node], [each.name for each in program.model_proto.graph.initializer]
        (['Gemm'], ['weight', 'bias'])
        >>> program(flambeau.ones(7, 4))[0].shape
        torch.Size([7, 3])
    """
    wanted = OPSET if opset_version is None else opset_version
    if not OLDEST <= wanted < OPSETS.stop:
        raise ValueError(f"opset_version is from {OLDEST} to {OPSETS.stop - 1}, not {wanted}")
    version = max(wanted, OPSETS.start)
    if custom_translation_table:
        raise NotImplementedError("custom_translation_table holds functions of ONNX Script, which are not called here")
    if dynamic_axes and dynamic_shapes:
        raise ValueError("both dynamic_axes and dynamic_shapes say which sizes are free: give one of them")
    builder = Builder(version)
    positional = tuple(args) if isinstance(args, (tuple, list)) else (args,)
    program, names = _exported(model, positional, dict(kwargs or {}), dynamic_shapes, dict(dynamic_axes or {}), list(input_names or ()))
    translation = _translated(builder, program)
    inputs, outputs = _named(builder, translation, names, list(output_names or ()))
    title = getattr(model, "original_name", type(model).__name__)
    proto = _model(builder, inputs, outputs, title, version, dict(dynamic_axes or {}))
    if not export_params or keep_initializers_as_inputs:
        proto = with_weights_as_inputs(proto, export_params)
    if wanted < version:
        proto = _converted(proto, wanted)
    made = ONNXProgram(proto, program)
    if verify:
        _compare(made)
    if f is not None:
        made.save(f, external_data=external_data)
    return made


def _converted(proto: Any, version: int) -> Any:
    """A model in an older version of operators, or, with a warning, as it is."""
    import onnx
    from onnx import version_converter

    try:
        converted = version_converter.convert_version(proto, version)
        onnx.checker.check_model(converted, full_check=True)
    except Exception as error:
        reason = str(error).strip().rpartition("failed: ")[2][:200]
        warnings.warn(
            f"opset_version={version}: the model stays in version {OPSETS.start}, from which onnx cannot convert it: {reason}", stacklevel=3
        )
        return proto
    return converted


def _exported(
    model: Any, args: tuple, kwargs: dict[str, Any], dynamic_shapes: Any, dynamic_axes: dict[str, Any], input_names: list[str]
) -> tuple[ExportedProgram, list[str]]:
    """The program, in evaluation mode, and the names of its inputs."""
    global _exporting
    if isinstance(model, ExportedProgram):
        if dynamic_axes or dynamic_shapes:
            raise ValueError("an ExportedProgram says itself which sizes are free")
        inputs = [each for each in model.graph_signature.user_inputs if isinstance(each, str)]
        return model, [*input_names, *inputs[len(input_names) :]]
    if not isinstance(model, Module):
        raise TypeError(f"a torch.nn.Module or an ExportedProgram is exported, not a {type(model).__name__}")
    modes = {module: module.training for module in model.modules()}
    _exporting = True
    try:
        for module in modes:
            module.training = False
        with flambeau.no_grad():
            names = input_names_of(model, args, kwargs, input_names)
            if not dynamic_axes:
                return exported(model, args, kwargs, with_dims(dynamic_shapes), assigns=True), names
            args, kwargs = enlarged(model, args, kwargs, names, dynamic_axes)
            try:
                return exported(model, args, kwargs, dims_of_labels(model, args, kwargs, names, dynamic_axes, False), assigns=True), names
            except UserError:  # labels need not be equal where sizes have to be
                joined = dims_of_labels(model, args, kwargs, names, dynamic_axes, True)
                return exported(model, args, kwargs, joined, assigns=True), names
    except (UserError, GuardOnDataDependentSymNode, NotImplementedError) as error:
        raise OnnxExporterError(f"{type(model).__name__} cannot be exported: {error}") from error
    finally:
        _exporting = False
        for module, mode in modes.items():
            module.training = mode


def _translated(g: Builder, program: ExportedProgram) -> Translation:
    """The program's graph in ONNX's operators, after others have been replaced by what they are made of.

    Raises:
        OnnxExporterError: there is no counterpart
    """
    for _ in range(_ROUNDS):
        replaced = dict(unknown_operators(program))
        if not replaced:
            break
        try:
            with flambeau.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = program.run_decompositions(replaced)
        except (UserError, GuardOnDataDependentSymNode, NotImplementedError) as error:
            raise OnnxExporterError(f"{', '.join(map(str, replaced))} cannot be exported: {error}") from error
    translation = Translation(g, program)
    try:
        translation.run()
    except NotImplementedError as error:
        raise OnnxExporterError(f"{translation.current}cannot be exported: {error}") from error
    return translation


def _named(g: Builder, translation: Translation, input_names: list[str], output_names: list[str]) -> tuple[list[Value], list[Value]]:
    """Inputs and outputs under their names: a value that a node gives takes the name; a copy of another one gets it."""
    inputs, results = translation.inputs, translation.outputs
    for value, name in zip(inputs, input_names):
        value.name = name
    if len(output_names) > len(results):
        raise ValueError(f"there are {len(output_names)} output_names, but the module gives {len(results)} tensors")
    made = {output for operation in g.operations for output in operation.outputs}
    taken: set[Value] = set()
    outputs: list[Value] = []
    used = {value.name for value in inputs} | set(output_names)
    for number, result in enumerate(results):
        name = output_names[number] if number < len(output_names) else "output" if not number else f"output_{number}"
        while number >= len(output_names) and name in used:
            name += "_"
        used.add(name)
        if result in taken or result not in made:
            result = g("Identity", result)
        taken.add(result)
        result.name = name
        outputs.append(result)
    return inputs, outputs


def _model(g: Builder, inputs: list[Value], outputs: list[Value], title: str, version: int, dynamic_axes: dict[str, Any]) -> Any:
    helper = g.onnx.helper
    unknown = set(dynamic_axes) - {value.name for value in (*inputs, *outputs)}
    if unknown:
        raise ValueError(
            f"dynamic_axes names {sorted(unknown)}, which are neither inputs {[value.name for value in inputs]} nor outputs "
            f"{[value.name for value in outputs]}"
        )
    nodes, initializers = g.finished(inputs, outputs)

    def described(value: Value) -> Any:
        shape: list[Any] = [f"{value.name}_dim_{axis}" if size == "?" else size for axis, size in enumerate(value.shape)]
        for axis, label in labels(value.name, dynamic_axes.get(value.name, {}), value.dim).items():
            shape[axis] = label
        return helper.make_tensor_value_info(value.name, g.element_type(value.dtype), shape)

    graph = helper.make_graph(nodes, title, [described(value) for value in inputs], [described(value) for value in outputs], initializers)
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", version)],
        ir_version=IR_VERSION,
        producer_name="flambeau",
        producer_version=__version__,
    )
    g.onnx.checker.check_model(made)
    return made


def _compare(made: ONNXProgram) -> None:
    """Compare what the model gives for the example with what the program gives.

    Raises:
        OnnxExporterError: they differ
    """
    args, kwargs = made.exported_program.example_inputs or ((), {})
    with flambeau.no_grad():
        expected = made.exported_program.module()(*args, **kwargs)
    wanted = [leaf for leaf in flambeau.utils._pytree.tree_leaves(expected) if isinstance(leaf, Tensor)]
    for got, other in zip(made.call_reference(*args, **kwargs), wanted, strict=True):
        try:
            flambeau.testing.assert_close(got, other.contiguous(), rtol=1e-3, atol=1e-5, equal_nan=True, check_stride=False)
        except AssertionError as error:
            raise OnnxExporterError(f"the model gives something else than the module: {error}") from error
