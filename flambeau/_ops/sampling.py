"""Random numbers: PyTorch's streams. Numbers are drawn when the function is called, in program order, and never by a program later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau._ops import creation
from flambeau._ops.arguments import into, named_sizes, optional_first, whole, with_names
from flambeau._ops.copying import contiguous_format
from flambeau._ops.creation import empty_like, from_array, new_empty, place_of, with_options
from flambeau._ops.generators import default_generator, engine_of
from flambeau._ops.meta import nowhere
from flambeau._ops.operator import Operator
from flambeau._ops.registry import FUNCTIONS
from flambeau._ops.writing import check_writable, is_unseen, rebase, write
from flambeau._runtime import random as streams
from flambeau._runtime.engine import Engine
from flambeau._tape.storage import TensorBase
from flambeau._tape.tape import LOCAL, recording_lock
from flambeau._types import dtype as dt
from flambeau._types import layout as lay
from flambeau._types.device import CPU, is_meta
from flambeau._types.dtype import dtype as DType
from flambeau._types.layout import Layout
from flambeau._types.promotion import get_default_dtype

if TYPE_CHECKING:
    from flambeau._ops.generators import Generator
    from flambeau._tensor.tensor import Tensor


# -- filling a tensor ------------------------------------------------------------------------------------------------


def _fill(
    self: Tensor, name: str, draw: Callable[[int], np.ndarray], write_to: Callable[[int, int], None] | None = None, given: tuple = ()
) -> Tensor:
    """Overwrite a tensor by numbers drawn in the order of its elements in memory.

    Args:
        draw: gives so many
        write_to: writes to an address so many, as elements of the tensor; without an array in between
        given: the arguments of the function of that name
    """
    check_writable(self, name)
    layout, tape = self.layout, LOCAL.tape
    if tape.batched and (self.memory.device is CPU or tape.dispatches):
        tape.fill(self, name, lambda shape: _fill(new_empty(lay.contiguous(shape, layout.dtype)), name, draw, write_to), given)
        return self
    if layout.numel == 0:
        return self
    if self.memory.device is CPU:
        _draw_into(self, draw, write_to)
    else:  # nothing is drawn
        write(self, self)
    if self.node is not None and LOCAL.tape.grad:
        rebase(self, None)
    return self


def _draw_into(self: Tensor, draw: Callable[[int], np.ndarray], write_to: Callable[[int, int], None] | None) -> None:
    """Draw numbers straight into the memory of a tensor if it is nobody else's, or into memory that it gets instead."""
    layout, storage = self.layout, self.memory
    whole = not storage.exported and layout.dense and layout.offset == 0 and storage.nbytes == layout.numel * layout.dtype.itemsize
    if whole and storage.tape is None and getrefcount(storage.buffer) == 2:  # nobody else reads the memory, nor will any record
        assert storage.buffer is not None
        if write_to is not None:
            write_to(storage.buffer.address, layout.numel)
        else:
            storage.buffer.view(layout.dtype.numpy, layout.numel)[:] = draw(layout.numel)
        storage.buffer.changes()
        storage.error = None
        storage.version += not is_unseen(self)
    else:
        drawn = from_array(draw(layout.numel), layout.dtype)
        drawn.layout = lay.like(layout, layout.dtype)
        if whole:
            _swap(self, drawn)
        else:
            write(self, drawn)


def _swap(target: Tensor, drawn: Tensor) -> None:
    """Give the drawn memory to a tensor that it fills completely: nothing needs to be copied."""
    storage = target.memory
    with recording_lock():
        if storage.tape is not None and storage.tape is not LOCAL.tape:
            storage.materialize()  # pending in another thread
        if storage.tape is not None:
            storage.tape.values[storage.slot] = None
        storage.tape = None
        storage.slot = -1
        storage.buffer = drawn.memory.buffer
        storage.error = None
        storage.version += not is_unseen(target)


def _floating(self: Tensor, name: str) -> DType:
    if self.layout.dtype.category != dt.FLOAT:
        raise NotImplementedError(f"{name}: expected a floating-point tensor, but got {self.layout.dtype!r}")
    return self.layout.dtype


def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite by numbers spread evenly over ``[a, b)``; of a complex tensor, the real and the imaginary parts."""
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    if self.layout.dtype.is_complex:
        part = self.layout.dtype.to_real()
        return _fill(
            self, "uniform_", lambda n: streams.uniform(engine_of(generator), 2 * n, a, b, part).view(self.layout.dtype.numpy), given=(a, b)
        )
    dtype, engine = _floating(self, "uniform_"), engine_of(generator)
    plain = a == 0 and b == 1 and dtype in (dt.float32, dt.float64)
    write_to = (lambda memory, n: streams.write_uniform(engine, memory, n, dtype)) if plain else None
    return _fill(self, "uniform_", lambda n: streams.uniform(engine, n, a, b, dtype), write_to, (a, b))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite by normally distributed numbers."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if self.layout.dtype.is_complex:
        part = self.layout.dtype.to_real()
        scale = std / 2**0.5
        # As PyTorch has it, the mean is that of the real and of the imaginary part.
        return _fill(
            self,
            "normal_",
            lambda n: streams.normal(engine_of(generator), 2 * n, mean, scale, part).view(self.layout.dtype.numpy),
            given=(mean, std),
        )
    dtype = _floating(self, "normal_")
    engine, serial = engine_of(generator), not self.layout.contiguous
    plain = not serial and dtype in (dt.float32, dt.float64)
    write_to = (lambda memory, n: streams.write_normal(engine, memory, n, mean, std, dtype)) if plain else None
    return _fill(self, "normal_", lambda n: streams.normal(engine, n, mean, std, dtype, serial=serial), write_to, (mean, std))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite by 1 with probability ``p`` (a number, or a tensor of them), else 0."""
    if isinstance(p, TensorBase) and self.memory.device is not CPU:
        chances = 0.0
    elif isinstance(p, TensorBase):
        wide = p.detach().to(dt.float64 if p.layout.dtype is dt.float64 else dt.float32)  # the stream depends on it
        in_memory = wide.expand(self.layout.shape).permute(lay.memory_order(self.layout))
        chances = np.asarray(in_memory.contiguous()._array()).reshape(-1)
    else:
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        chances = p
    return _fill(self, "bernoulli_", lambda n: _stored(streams.bernoulli(engine_of(generator), n, chances), self.layout.dtype), given=(p,))


def _stored(values: np.ndarray, dtype: DType) -> np.ndarray:
    """0 and 1 as elements of a dtype."""
    return values.astype(np.uint16) * np.uint16(0x3F80) if dtype is dt.bfloat16 else values.astype(dtype.numpy)


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite by exponentially distributed numbers of rate ``lambd``."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    dtype = _floating(self, "exponential_")
    return _fill(self, "exponential_", lambda n: streams.exponential(engine_of(generator), n, lambd, dtype), given=(lambd,))


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite by Cauchy distributed numbers."""
    dtype = _floating(self, "cauchy_")
    return _fill(self, "cauchy_", lambda n: streams.cauchy(engine_of(generator), n, median, sigma, dtype), given=(median, sigma))


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite by numbers whose logarithm is normally distributed."""
    dtype = _floating(self, "log_normal_")
    return _fill(self, "log_normal_", lambda n: streams.log_normal(engine_of(generator), n, mean, std, dtype), given=(mean, std))


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Overwrite by the number of trials until the first success of probability ``p``."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _fill(self, "geometric_", lambda n: streams.geometric(engine_of(generator), n, p, self.layout.dtype), given=(p,))


def random_(self: Tensor, *bounds: Any, generator: Generator | None = None, **named: Any) -> Tensor:
    """Overwrite by integers from ``[from, to)``, ``[0, to)``, or the whole range of the dtype."""
    low, high = optional_first("random_", ("from", "to"), bounds, named)
    low = low or 0
    dtype = self.layout.dtype
    if high is None:
        return _fill(self, "random_", lambda n: streams.full_range(engine_of(generator), n, dtype))
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    engine = engine_of(generator)
    plain = dtype is dt.int64 and streams.has_short_range(low, high)
    write_to = (lambda memory, n: streams.write_integers(engine, memory, n, low, high)) if plain else None
    return _fill(self, "random_", lambda n: streams.integers(engine, n, low, high, dtype), write_to, (low, high))


# -- new tensors -----------------------------------------------------------------------------------------------------


def _new(size: tuple, dtype: DType | None, device: Any) -> Tensor:
    return new_empty(creation.layout_of(size, dtype or get_default_dtype()), device, True)


def _is_written(made: Layout, device: Any) -> bool:
    """Whether numbers of a new tensor are written straight to its memory."""
    dtype = made.dtype
    return (dtype is dt.float32 or dtype is dt.float64) and (device is None or not is_meta(device)) and not LOCAL.tape.batched


def _address(made: Tensor) -> int:
    """Where the elements of a tensor lie that has memory already."""
    assert made.memory.buffer is not None
    return made.memory.buffer.address


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Numbers spread evenly over ``[0, 1)``."""
    if named:
        size = named_sizes("rand", "size", size, named, "names")
    made = creation.layout_of(size, dtype or get_default_dtype())
    if _is_written(made, device):
        result = creation.fresh(made)
        streams.write_uniform((generator or default_generator).engine, result.memory.buffer.address, made.numel, made.dtype)
    else:
        result = uniform_(new_empty(made, device, True), generator=generator)
    if out is None and layout is None and not requires_grad and not named and not LOCAL.tape.fresh:
        return result
    result = into(out, with_options(result, requires_grad, None, layout))
    return with_names(result, named) if named else result


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Numbers from the standard normal distribution."""
    if named:
        size = named_sizes("randn", "size", size, named, "names")
    made = creation.layout_of(size, dtype or get_default_dtype())
    if _is_written(made, device):
        result = creation.fresh(made)
        streams.write_normal((generator or default_generator).engine, result.memory.buffer.address, made.numel, 0.0, 1.0, made.dtype)
    else:
        result = normal_(new_empty(made, device, True), generator=generator)
    if out is None and layout is None and not requires_grad and not named and not LOCAL.tape.fresh:
        return result
    result = into(out, with_options(result, requires_grad, None, layout))
    return with_names(result, named) if named else result


def randint(
    *args: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Integers from ``[low, high)``: ``randint(high, size)`` or ``randint(low, high, size)``."""
    if not named and len(args) == 2:
        low, (high, size) = 0, args
    elif not named and len(args) == 3:
        low, high, size = args
    else:
        low, high, size = optional_first("randint", ("low", "high", "size"), args, named)
    if high is None or size is None:
        raise TypeError("randint() needs 'high' and 'size'")
    low = low or 0
    made = creation.layout_of((size,), dtype or dt.int64)
    result = new_empty(made, device, True)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    low, high = int(low), int(high)
    short = made.dtype is dt.int64 and streams.has_short_range(low, high)
    if short and made.numel and not LOCAL.tape.batched and result.memory.device is CPU:
        streams.write_integers((generator or default_generator).engine, result.memory.buffer.address, made.numel, low, high)
        if out is None and layout is None and not requires_grad and not LOCAL.tape.fresh:
            return result
    else:
        random_(result, low, high, generator=generator)
    return into(out, with_options(result, requires_grad, None, layout))


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType = dt.int64,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """The numbers from 0 to ``n - 1`` in random order."""
    n = whole(n, "n")
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    dtype = dt.of_python(dtype)
    if device is not None and is_meta(device):
        return into(out, with_options(nowhere(lay.contiguous((n,), dtype)), requires_grad, None, layout))
    if LOCAL.tape.batched:
        return LOCAL.tape.each(lambda: randperm(n, generator=generator, dtype=dtype))
    if dtype is dt.int64 and streams.has_short_permutation(n):
        result = new_empty(lay.contiguous((n,), dtype))
        streams.write_permutation(engine_of(generator), _address(result), n)
    else:
        result = from_array(streams.permutation(engine_of(generator), n, dtype), dtype)
    return into(out, with_options(result, requires_grad, None, layout))


def _like(function: Callable, write_to: Callable[[Engine, int, int, DType], None]) -> Callable:
    def alike(
        input: Tensor,
        *,
        dtype: DType | None = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
        generator: Generator | None = None,
        layout: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        made = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
        like = made.layout
        if like.contiguous and _is_written(like, None) and made.memory.device is CPU:
            write_to(engine_of(generator), _address(made), like.numel, like.dtype)
        else:
            function(made, generator=generator)
        return with_options(made, requires_grad, None, layout)

    alike.__doc__ = f"A tensor like ``input``, filled by ``{function.__name__}``."
    return alike


rand_like = _like(uniform_, streams.write_uniform)
randn_like = _like(normal_, lambda engine, memory, n, dtype: streams.write_normal(engine, memory, n, 0.0, 1.0, dtype))


def randint_like(
    input: Tensor,
    *bounds: int,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
    generator: Generator | None = None,
    layout: Any = None,
    pin_memory: bool = False,
    **named: Any,
) -> Tensor:
    """Integers from ``[low, high)``, in a tensor like ``input``."""
    low, high = optional_first("randint_like", ("low", "high"), bounds, named)
    if high is None:
        raise TypeError("randint_like() needs 'high'")
    made = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
    return with_options(random_(made, low or 0, high, generator=generator), requires_grad, None, layout)


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Normally distributed numbers with means and standard deviations that are numbers or tensors."""
    if size is not None:
        return into(out, with_options(normal_(_new((size,), dtype, device), mean, std, generator=generator), requires_grad, None, layout))
    if isinstance(std, TensorBase):
        known = not std.memory.pending and std.memory.device is CPU and not LOCAL.tape.batched  # to look at others would compute them now
        if known and std.layout.dtype in (dt.float32, dt.float64) and (std._array() < 0).any():
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    shapes = [each.layout.shape for each in (mean, std) if isinstance(each, TensorBase)]
    like = mean if isinstance(mean, TensorBase) else std
    made = new_empty(lay.contiguous(lay.broadcast_shapes(*shapes), like.layout.dtype), place_of(like, None))
    noise = normal_(made, generator=generator)
    drawn = noise * _plain(std) + _plain(mean)
    return into(out, drawn_with(drawn_with(drawn, mean), std))


def _plain(parameter: Any) -> Any:
    """A parameter of a distribution, without its history."""
    return parameter.detach() if isinstance(parameter, TensorBase) else parameter


DRAWN = Operator(
    "drawn",
    ("values", "parameter"),
    infer=lambda operands, statics: lay.like(operands[0], operands[0].dtype),
    lower=lambda graph, operands, statics, layouts: graph.copy(operands[0]),
)
DRAWN.gradient(values=lambda grad: grad, parameter=lambda parameter_layout: FUNCTIONS.zeros(parameter_layout))


def drawn_with(values: Tensor, parameter: Any) -> Tensor:
    """What was drawn, as a function of a distribution's parameter: one whose gradient is zero, as PyTorch has it."""
    if isinstance(parameter, TensorBase) and parameter.node is not None and LOCAL.tape.grad:
        return DRAWN(values, parameter)
    return values


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
    """1 with the probability that each element (or ``p``) says, else 0."""
    if LOCAL.tape.batched and p is None:
        return LOCAL.tape.each(lambda input: bernoulli(input, generator=generator), input)
    drawn = empty_like(input, memory_format=contiguous_format)
    return into(out, drawn_with(bernoulli_(drawn, input if p is None else p, generator=generator), input))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None, out: Tensor | None = None
) -> Tensor:
    """Indices drawn with the probabilities (up to a factor) in each row."""
    if input.layout.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    _floating(input, "multinomial")
    if out is not None and out.layout.dtype is not dt.int64:
        raise RuntimeError(f"multinomial expects an int64 tensor for out, got: {out.layout.dtype!r}")
    if input.memory.device is not CPU:
        return into(out, nowhere(lay.contiguous((*input.layout.shape[:-1], num_samples), dt.int64)))
    if LOCAL.tape.batched:
        return LOCAL.tape.each(lambda input: multinomial(input, num_samples, replacement, generator=generator), input)
    wide = dt.float64 if input.layout.dtype is dt.float64 else dt.float32
    weights = input.detach().to(wide).contiguous()
    if replacement and num_samples > 1:
        *rows, categories = weights.layout.shape
        streams.check_categories(categories, num_samples, replacement)
        result = new_empty(lay.contiguous((*rows, num_samples), dt.int64))
        streams.write_categories(
            engine_of(generator), weights.data_ptr(), _address(result), rows[0] if rows else 1, categories, num_samples, wide
        )
        return into(out, result)
    drawn = streams.multinomial(engine_of(generator), weights._array(), num_samples, replacement, input.layout.dtype)
    return into(out, from_array(np.ascontiguousarray(drawn).astype(np.int64)))


PUBLIC = ("bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm")
METHODS = (
    "bernoulli",
    "bernoulli_",
    "cauchy_",
    "exponential_",
    "geometric_",
    "log_normal_",
    "multinomial",
    "normal_",
    "random_",
    "uniform_",
)
