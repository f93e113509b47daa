"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flambeau
from flambeau._tensor.tensor import Tensor
from flambeau.optim._line_search import strong_wolfe
from flambeau.optim._settings import check_settings, number
from flambeau.optim.optimizer import Optimizer

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Limited-memory BFGS (Liu and Nocedal 1989): Newton's direction from the last ``history_size`` changes of the gradient.

    All parameters are one vector: there is one group, and ``step`` needs a closure that computes the loss and its gradients
    anew.

    Args:
        params: the parameters.
        lr: the length of the step, or of the first one that a line search tries.
        max_iter: how many iterations there are in a step at most.
        max_eval: how often the closure is called in a step at most; 1.25 · ``max_iter`` if left out.
        tolerance_grad: the largest element of the gradient at which it ends.
        tolerance_change: the change of parameters or loss at which it ends.
        history_size: how many changes are kept.
        line_search_fn: ``"strong_wolfe"`` or ``None``.

    Raises:
        ValueError: there are several groups, or a setting is out of its range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_settings(lr)
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _flat_gradient(self) -> Tensor:
        parts = []
        for parameter in self._params:
            gradient = flambeau.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parts.append((flambeau.view_as_real(gradient) if gradient.is_complex() else gradient).reshape(-1))
        return flambeau.cat(parts, 0)

    def _move(self, step: float, direction: Tensor) -> None:
        """Adds ``step`` · ``direction`` to the parameters."""
        offset = 0
        for parameter in self._params:
            real = flambeau.view_as_real(parameter) if parameter.is_complex() else parameter
            part = direction[offset : offset + real.numel()]
            real.add_(part.view_as(real), alpha=step)
            offset += real.numel()

    def _evaluate_at(self, closure: Callable, start: list[Tensor], direction: Tensor, step: float) -> tuple[float, Tensor]:
        """Loss and gradient at ``start`` + ``step`` · ``direction``; the parameters are ``start`` again afterwards."""
        self._move(step, direction)
        loss = float(closure())
        gradient = self._flat_gradient()
        for parameter, value in zip(self._params, start):
            parameter.copy_(value)
        return loss, gradient

    def step(self, closure: Callable) -> Any:
        """Takes up to ``max_iter`` iterations.

        Args:
            closure: computes the loss and its gradients anew and returns the loss.

        Returns:
            The loss before the step.
        """

        def evaluate() -> Any:
            with flambeau.enable_grad():
                return closure()

        with flambeau.no_grad():
            return self._iterate(evaluate)

    def _iterate(self, closure: Callable) -> Any:
        group = self.param_groups[0]
        lr, max_iter, max_eval = number(group["lr"]), group["max_iter"], group["max_eval"]
        tolerance_grad, tolerance_change = group["tolerance_grad"], group["tolerance_change"]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported, got line_search_fn={group['line_search_fn']!r}")
        # What outlives the call is kept in the state of the first parameter.
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss = float(first_loss)
        evaluations = 1
        state["func_evals"] += 1
        gradient = self._flat_gradient()
        if float(gradient.abs().max()) <= tolerance_grad:
            return first_loss

        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            direction = self._direction(state, gradient, group["history_size"])
            state["prev_flat_grad"], state["prev_loss"] = gradient.clone(), loss
            step = lr if state["n_iter"] > 1 else min(1.0, 1.0 / float(gradient.abs().sum())) * lr
            state["d"], state["t"] = direction, step
            slope = float(gradient.dot(direction))
            if slope > -tolerance_change:
                break
            previous_loss, calls = loss, 0
            if group["line_search_fn"] is not None:
                start = [parameter.clone() for parameter in self._params]
                at = partial(self._evaluate_at, closure, start, direction)
                loss, gradient, step, calls = strong_wolfe(at, step, direction, loss, gradient, slope, max_calls=max_eval - evaluations)
                self._move(step, direction)
                state["t"] = step
            else:
                self._move(step, direction)
                if iteration != max_iter:  # after the last move nobody needs the loss
                    loss = float(closure())
                    gradient = self._flat_gradient()
                    calls = 1
            evaluations += calls
            state["func_evals"] += calls
            if (
                iteration == max_iter
                or evaluations >= max_eval
                or float(gradient.abs().max()) <= tolerance_grad
                or float(direction.mul(step).abs().max()) <= tolerance_change
                or abs(loss - previous_loss) < tolerance_change
            ):
                break
        return first_loss

    @staticmethod
    def _direction(state: dict[str, Any], gradient: Tensor, history_size: int) -> Tensor:
        """-H g, H being the inverse Hessian that the history in ``state`` approximates (the two-loop recursion)."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return gradient.neg()
        changes, moves, inverse_products = state["old_dirs"], state["old_stps"], state["ro"]
        change = gradient.sub(state["prev_flat_grad"])
        move = state["d"].mul(state["t"])
        product = float(change.dot(move))
        if product > 1e-10:
            if len(changes) == history_size:
                for history in (changes, moves, inverse_products):
                    history.pop(0)
            changes.append(change)
            moves.append(move)
            inverse_products.append(1.0 / product)
            state["H_diag"] = product / float(change.dot(change))
        count = len(changes)
        factors = [0.0] * count
        direction = gradient.neg()
        for i in reversed(range(count)):
            factors[i] = float(moves[i].dot(direction)) * inverse_products[i]
            direction.add_(changes[i], alpha=-factors[i])
        direction = direction.mul(state["H_diag"])
        for i in range(count):
            back = float(changes[i].dot(direction)) * inverse_products[i]
            direction.add_(moves[i], alpha=factors[i] - back)
        return direction
