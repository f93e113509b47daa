"""Modules: every constructor and every input of PyTorch's `module_db`."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

from parity.calls import Call, cotangents_for, describe
from parity.check import Check, Once, first_line, same_error
from parity.compare import SELF, MismatchError, tensors_in, widen
from parity.translate import MissingError, Translator


def modules() -> dict[str, Any]:
    """The modules of the database, by name."""
    return {info.formatted_name: info for info in module_db}


class ModuleCheck(Check):
    """Checks one module of the package against PyTorch."""

    def __init__(self, info: Any, translator: Translator, limit: int | None = None) -> None:
        super().__init__(info, info.module_cls, translator, limit)
        self.info = info

    def samples(self, ours: type, dtype: torch.dtype) -> None:
        differentiable = dtype.is_floating_point or dtype.is_complex
        for training in (True, False) if self.info.train_and_eval_differ else (False,):
            cases = self.info.module_inputs_func(self.info, device="cpu", dtype=dtype, requires_grad=differentiable, training=training)
            for number, case in enumerate(islice(cases, self.limit)):
                if case.forward_input is None:
                    continue
                self.report.samples += 1
                build = case.constructor_input
                try:
                    self._case(ours, case, dtype, training)
                except (MismatchError, MissingError) as error:
                    mode = "train" if training else "eval"
                    call = describe(self.info.name, build.args, build.kwargs)
                    raise type(error)(f"{mode} sample {number}: {error}: {call}") from None

    def _case(self, ours: type, case: Any, dtype: torch.dtype, training: bool) -> None:
        build, forward = case.constructor_input, case.forward_input
        theirs = constructed(Call(torch, self.info.module_cls, *SELF((build.args, build.kwargs))), dtype, training)
        mine = constructed(Call(self.translator.package, ours, *self.translator((build.args, build.kwargs))), dtype, training)
        same_error(mine, theirs, self.comparison)
        if theirs.error is not None:
            return
        if not self.info.is_lazy:
            self._state(mine.result, theirs.result, "as constructed")
        if repr(mine.result) != repr(theirs.result):
            raise MismatchError(f"repr {repr(mine.result)!r} != {repr(theirs.result)!r}")

        their_call = Call(torch, theirs.result, *SELF((forward.args, forward.kwargs))).run()
        our_call = Call(self.translator.package, mine.result, *self.translator((forward.args, forward.kwargs))).run()
        same_error(our_call, their_call, self.comparison)
        if their_call.error is not None:
            return
        self._state(mine.result, theirs.result, "after the forward pass")
        exact = Once(lambda: exact_call(self.info.module_cls, build, forward, dtype, training, theirs.result))
        self.comparison.results(our_call.result, their_call.result, exact=lambda: exact().result)
        self.comparison.aliasing(our_call.result, [our_call.args, our_call.kwargs], their_call.result, [their_call.args, their_call.kwargs])
        self._gradients(our_call, their_call, exact)

    def _gradients(self, our_call: Call, their_call: Call, exact: Once) -> None:
        their_outputs = [out for out in tensors_in(their_call.result, torch.Tensor) if out.requires_grad]
        if not their_outputs:
            return
        our_outputs = [out for out in tensors_in(our_call.result, self.comparison.tensor_type) if out.requires_grad]
        cotangents = cotangents_for(their_outputs)
        expected = module_gradients(their_call, their_outputs, cotangents)
        try:
            actual = module_gradients(our_call, our_outputs, self.translator(cotangents))
        except Exception as error:
            raise MismatchError(f"backward: {type(error).__name__}: {first_line(error)}") from None

        def exact_gradients() -> dict[str, Any]:
            outputs = [out for out in tensors_in(exact().result, torch.Tensor) if out.requires_grad]
            return module_gradients(exact(), outputs, widen(cotangents))

        once = Once(exact_gradients)
        for name in expected:
            self.comparison.results(
                actual[name], expected[name], exact=lambda name=name: once()[name], strides=False, where=f"gradient of {name}: "
            )

    def _state(self, ours: Any, theirs: torch.nn.Module, when: str) -> None:
        """Parameters and buffers: the same names in the same order, and values (so the same random stream) at every moment."""
        our_state, their_state = ours.state_dict(), theirs.state_dict()
        if list(our_state) != list(their_state):
            raise MismatchError(f"{when}, state_dict has {list(our_state)}, in PyTorch {list(their_state)}")
        for name, value in their_state.items():
            self.comparison.results(our_state[name], value, where=f"{when}, {name}: ")

    def error_inputs(self, ours: type) -> None:
        if self.info.module_error_inputs_func is None:
            return
        for training in (True, False) if self.info.train_and_eval_differ else (False,):
            cases = self.info.module_error_inputs_func(self.info, device="cpu", dtype=torch.float32, requires_grad=False, training=training)
            for number, case in enumerate(cases):
                self.report.samples += 1
                build, forward = case.module_error_input.constructor_input, case.module_error_input.forward_input
                try:
                    theirs = constructed(Call(torch, self.info.module_cls, *SELF((build.args, build.kwargs))), None, training)
                    mine = constructed(Call(self.translator.package, ours, *self.translator((build.args, build.kwargs))), None, training)
                    same_error(mine, theirs, self.comparison)
                    if case.error_on is ModuleErrorEnum.FORWARD_ERROR:
                        their_call = Call(torch, theirs.result, *SELF((forward.args, forward.kwargs))).run()
                        our_call = Call(self.translator.package, mine.result, *self.translator((forward.args, forward.kwargs))).run()
                        same_error(our_call, their_call, self.comparison)
                except (MismatchError, MissingError) as error:
                    raise type(error)(f"error {number}: {error}: {describe(self.info.name, build.args, build.kwargs)}") from None


def constructed(call: Call, dtype: torch.dtype | None, training: bool) -> Call:
    """Construct the module from the seed that both sides share, in its dtype and mode."""
    call.run()
    if call.error is None:
        call.result.train(training)
        if dtype is not None:
            call.result.to(getattr(call.package, str(dtype)[6:]))
    return call


def exact_call(module_class: type, build: Any, forward: Any, dtype: torch.dtype, training: bool, model: torch.nn.Module) -> Call:
    """The same module with the same parameters, called in double precision."""
    wide = constructed(Call(torch, module_class, *widen(SELF((build.args, build.kwargs)))), widen(dtype), training).result
    call = Call(torch, wide, *widen(SELF((forward.args, forward.kwargs))))
    wide.load_state_dict(model.state_dict())
    return call.run()


def module_gradients(call: Call, outputs: list[Any], cotangents: list[Any]) -> dict[str, Any]:
    """Gradients of the parameters and of the inputs, by name."""
    wanted = {f"parameter {name}": parameter for name, parameter in call.function.named_parameters() if parameter.requires_grad}
    wanted |= {f"input {number}": tensor for number, tensor in enumerate(call.tensors()) if tensor.requires_grad}
    if not wanted:
        return {}
    gradients = call.package.autograd.grad(outputs, list(wanted.values()), cotangents, allow_unused=True)
    return dict(zip(wanted, gradients, strict=True))
