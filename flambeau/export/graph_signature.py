"""What the inputs and outputs of an exported graph are."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

__all__ = [
    "ConstantArgument", "ExportGraphSignature", "InputKind", "InputSpec", "OutputKind", "OutputSpec", "SymIntArgument", "TensorArgument",
]  # fmt: skip


@dataclass(frozen=True)
class TensorArgument:
    """A tensor: the name of its node."""

    name: str


@dataclass(frozen=True)
class SymIntArgument:
    """A size: the name of its node."""

    name: str


@dataclass(frozen=True)
class ConstantArgument:
    """A value that is no tensor: the name of its node, if it has one, and itself."""

    name: str
    value: Any


class InputKind(Enum):
    """Where an input comes from."""

    USER_INPUT = auto()
    PARAMETER = auto()
    BUFFER = auto()
    CONSTANT_TENSOR = auto()


class OutputKind(Enum):
    """Where an output goes."""

    USER_OUTPUT = auto()
    BUFFER_MUTATION = auto()
    USER_INPUT_MUTATION = auto()


@dataclass(frozen=True)
class InputSpec:
    """An input: where it comes from, its node, and the parameter or buffer that it is."""

    kind: InputKind
    arg: TensorArgument | ConstantArgument | SymIntArgument
    target: str | None = None
    persistent: bool | None = None

    def __str__(self) -> str:
        target = "" if self.target is None else f" target={self.target!r}"
        persistent = "" if self.persistent is None else f" persistent={self.persistent}"
        return f"{self.arg.name}: {self.kind.name}{target}{persistent}"


@dataclass(frozen=True)
class OutputSpec:
    """An output: where it goes, and its node."""

    kind: OutputKind
    arg: TensorArgument | ConstantArgument | SymIntArgument
    target: str | None = None

    def __str__(self) -> str:
        target = "" if self.target is None else f" target={self.target!r}"
        return f"{self.arg.name}: {self.kind.name}{target}"


@dataclass
class ExportGraphSignature:
    """All inputs and outputs of a graph, in order: parameters, buffers and constants first, the user's behind them."""

    input_specs: list[InputSpec] = field(default_factory=list)
    output_specs: list[OutputSpec] = field(default_factory=list)

    def _named(self, kind: InputKind) -> dict[str, str]:
        return {spec.arg.name: spec.target for spec in self.input_specs if spec.kind is kind and spec.target is not None}

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters' paths."""
        return tuple(self.inputs_to_parameters.values())

    @property
    def buffers(self) -> tuple[str, ...]:
        """The buffers' paths."""
        return tuple(self.inputs_to_buffers.values())

    @property
    def non_persistent_buffers(self) -> set[str]:
        """The paths of buffers that are not part of a state dict."""
        return {spec.target for spec in self.input_specs if spec.kind is InputKind.BUFFER and not spec.persistent and spec.target}

    @property
    def lifted_tensor_constants(self) -> tuple[str, ...]:
        """The names of tensors that are part of the program."""
        return tuple(self.inputs_to_lifted_tensor_constants.values())

    @property
    def inputs_to_parameters(self) -> dict[str, str]:
        """From nodes to parameters."""
        return self._named(InputKind.PARAMETER)

    @property
    def inputs_to_buffers(self) -> dict[str, str]:
        """From nodes to buffers."""
        return self._named(InputKind.BUFFER)

    @property
    def inputs_to_lifted_tensor_constants(self) -> dict[str, str]:
        """From nodes to constants."""
        return self._named(InputKind.CONSTANT_TENSOR)

    @property
    def user_inputs(self) -> tuple[Any, ...]:
        """The nodes of the user's tensors; of other arguments the values."""
        found = [spec.arg for spec in self.input_specs if spec.kind is InputKind.USER_INPUT]
        return tuple([arg.value if isinstance(arg, ConstantArgument) else arg.name for arg in found])

    @property
    def user_outputs(self) -> tuple[Any, ...]:
        """The nodes of what is returned; of what is no tensor the values."""
        found = [spec.arg for spec in self.output_specs if spec.kind is OutputKind.USER_OUTPUT]
        return tuple([arg.value if isinstance(arg, ConstantArgument) else arg.name for arg in found])

    @property
    def buffers_to_mutate(self) -> dict[str, str]:
        """From the nodes of new values to the buffers that they are written to, in programs that are functional."""
        return self._written(OutputKind.BUFFER_MUTATION)

    @property
    def user_inputs_to_mutate(self) -> dict[str, str]:
        """From the nodes of new values to the arguments that they are written to, in programs that are functional."""
        return self._written(OutputKind.USER_INPUT_MUTATION)

    def _written(self, kind: OutputKind) -> dict[str, str]:
        return {spec.arg.name: spec.target for spec in self.output_specs if spec.kind is kind and spec.target is not None}

    def __str__(self) -> str:
        return "\n".join(["# inputs", *map(str, self.input_specs), "", "# outputs", *map(str, self.output_specs), ""])
