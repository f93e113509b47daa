"""The state of a stream of random numbers: a Mersenne Twister with PyTorch's seeding, state layout and cached normal sample."""

from __future__ import annotations

import ctypes
import math
import os
import struct
import threading
from collections.abc import Callable

import numpy as np

from flambeau._runtime import random_kernels as kernels
from flambeau._runtime.random_kernels import WORDS

DEFAULT_SEED = 67280421310721
"""The seed of a generator that nobody seeded."""

_STATE_BYTES = 5056
_NORMAL_FIELDS = struct.Struct("<3d i 4x f ?3x")  # x, y and rho of a pair, is y cached?, and the same for a float sample
_NORMAL_OFFSET = _STATE_BYTES - _NORMAL_FIELDS.size


class Engine:
    """A Mersenne Twister (mt19937) that is seeded, advanced and saved as PyTorch's CPU generator is."""

    __slots__ = ("_address", "_expanded", "_lock", "_seed", "_spare", "_spare_address", "_state", "_untouched")

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._lock = threading.RLock()  # a signal's handler, or a finalizer, may draw while this thread does
        self._state = np.empty(WORDS + 1, np.uint32)  # the words, and the position among them
        self._address = kernels.address(self._state)
        self._spare = ctypes.c_double()  # `next_normal`, for kernels
        self._spare_address = ctypes.addressof(self._spare)
        self.manual_seed(seed)

    @property
    def next_normal(self) -> float | None:
        """The second sample of a Box-Muller pair whose first one was used, if there is one."""
        sample = self._spare.value
        return None if math.isnan(sample) else sample

    @next_normal.setter
    def next_normal(self, sample: float | None) -> None:
        self._spare.value = math.nan if sample is None else sample

    def before_fork(self) -> None:
        """Let another thread's draw end: a child would have a state in the middle of its renewal, whose position is no position."""
        self._lock.acquire()

    def after_fork(self) -> None:
        """Go on, in the parent and in the child."""
        self._lock.release()

    def manual_seed(self, seed: int) -> None:
        """Start the stream of ``seed``, an integer in [-2**63, 2**64); negative ones count from 2**64 down.

        Raises:
            ValueError: the seed is out of that range.
        """
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(f"Overflow when unpacking long long: a seed must be in [-2**63, 2**64), but got {seed}")
        self._seed = seed % (1 << 64)
        self._expanded = False
        self._untouched = True
        self.next_normal = None

    def seed(self) -> int:
        """Start the stream of a seed from the operating system's entropy, and return that seed."""
        self.manual_seed(int.from_bytes(os.urandom(7), "little") >> 3)
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the current stream was started with."""
        return self._seed

    def random(self) -> int:
        """The next 32 bits."""
        return int(self.words32(1)[0])

    def random64(self) -> int:
        """The next 64 bits; those drawn first are the high ones."""
        return self.random() << 32 | self.random()

    def words32(self, n: int) -> np.ndarray:
        """The next ``n`` results of :meth:`random`, as uint32."""
        words = np.empty(n, np.uint32)
        self.fill(words)
        return words

    def words64(self, n: int) -> np.ndarray:
        """The next ``n`` results of :meth:`random64`, as uint64."""
        halves = self.words32(2 * n)
        return halves[::2].astype(np.uint64) << np.uint64(32) | halves[1::2]

    def fill(self, memory: np.ndarray) -> None:
        """Overwrite an array with the next results of :meth:`random`, one after the other, whatever its dtype."""
        self.draw(kernels.address(memory), memory.nbytes // 4)

    def draw(self, memory: int, count: int, kernel: str = "words", a: float = 0.0, b: float = 0.0) -> None:
        """Write ``count`` samples that a kernel makes of the next results of :meth:`random`, or these themselves, to an address."""
        if count:
            with self._lock:
                if not self._expanded:
                    self._expand()
                self._untouched = False
                kernels.run_at(kernel, self._address, memory, a, b, count)

    def lend(self, kernel: Callable[..., int], *arguments: float) -> int:
        """What a kernel returns that takes words as it needs them; it is given where the state is, and a normal sample kept for later."""
        with self._lock:
            if not self._expanded:
                self._expand()
            before = (self._state[WORDS], self._state[0]) if self._untouched else None
            found = kernel(self._address, self._spare_address, *arguments)
            if self._untouched:  # it may have needed none
                self._untouched = before == (self._state[WORDS], self._state[0])
            return found

    def _expand(self) -> None:
        """Make the state of a seed, when it is first needed."""
        if not self._expanded:
            self._state[0] = self._seed & 0xFFFFFFFF
            kernels.run("seed", self._state, end=WORDS - 1)
            self._state[WORDS] = WORDS
            self._expanded = True

    def get_state(self) -> np.ndarray:
        """The state as PyTorch lays it out: 5056 bytes (uint8)."""
        self._expand()
        position = int(self._state[WORDS])
        left, following = (1, 0) if self._untouched else (WORDS + 1 - position, position)
        head = struct.pack("<QiiQ", self._seed, left, 1, following)
        sample = self.next_normal
        tail = _NORMAL_FIELDS.pack(0.0, sample or 0.0, 0.0, sample is not None, 0.0, False)
        state = head + self._state[:WORDS].astype("<u8").tobytes() + tail
        return np.frombuffer(bytearray(state), np.uint8)

    def set_state(self, state: np.ndarray) -> None:
        """Continue from a state that :meth:`get_state`, or PyTorch, returned.

        Raises:
            TypeError: it is not an array of bytes.
            RuntimeError: its size is not 5056, or it is not the state of a twister.
        """
        if state.dtype != np.uint8:
            raise TypeError(f"a generator's state must be a tensor of dtype uint8, but got {state.dtype}")
        if state.size != _STATE_BYTES:
            raise RuntimeError(f"a CPU generator's state has {_STATE_BYTES} bytes, but the given one has {state.size}")
        raw = state.tobytes()
        seed, left, seeded, following = struct.unpack_from("<QiiQ", raw)
        if not (seeded == 1 and 0 < left <= WORDS and following <= WORDS):
            raise RuntimeError(
                f"Invalid mt19937 state: expected seeded=1, 0 < left <= {WORDS} and next <= {WORDS}, "
                f"but got seeded={seeded}, left={left} and next={following}"
            )
        _, sample, _, is_cached, _, _ = _NORMAL_FIELDS.unpack_from(raw, _NORMAL_OFFSET)
        self._state[:WORDS] = np.frombuffer(raw, "<u8", WORDS, offset=24)
        self._state[WORDS] = WORDS if left == 1 else following
        self._seed = seed
        self._expanded = True
        self._untouched = left == 1 and following == 0
        self.next_normal = sample if is_cached else None

    def clone(self) -> Engine:
        """An engine that goes on from this one's state, independently of it."""
        other = Engine.__new__(Engine)
        other._lock = threading.RLock()
        other._state = self._state.copy()
        other._address = kernels.address(other._state)
        other._spare = ctypes.c_double()
        other._spare_address = ctypes.addressof(other._spare)
        other._seed, other._expanded, other._untouched = self._seed, self._expanded, self._untouched
        other.next_normal = self.next_normal
        return other
