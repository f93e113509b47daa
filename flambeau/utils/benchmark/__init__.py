"""Timing: how long statements take, in tables; and random inputs to time them with. https://docs.pytorch.org/docs/stable/benchmark_utils.html"""

from __future__ import annotations

from flambeau.utils.benchmark._fuzzer import FuzzedParameter as FuzzedParameter
from flambeau.utils.benchmark._fuzzer import FuzzedSparseTensor as FuzzedSparseTensor
from flambeau.utils.benchmark._fuzzer import FuzzedTensor as FuzzedTensor
from flambeau.utils.benchmark._fuzzer import Fuzzer as Fuzzer
from flambeau.utils.benchmark._fuzzer import ParameterAlias as ParameterAlias
from flambeau.utils.benchmark._fuzzer import dtype_size as dtype_size
from flambeau.utils.benchmark._timing import Compare as Compare
from flambeau.utils.benchmark._timing import Measurement as Measurement
from flambeau.utils.benchmark._timing import TaskSpec as TaskSpec
from flambeau.utils.benchmark._timing import Timer as Timer
from flambeau.utils.benchmark._timing import select_unit as select_unit
from flambeau.utils.benchmark._timing import timer as timer
from flambeau.utils.benchmark._timing import trim_sigfig as trim_sigfig
from flambeau.utils.benchmark._timing import unit_to_english as unit_to_english

__all__ = [
    "Compare", "FuzzedParameter", "FuzzedSparseTensor", "FuzzedTensor", "Fuzzer", "Measurement", "ParameterAlias", "TaskSpec", "Timer", "dtype_size",
    "select_unit", "timer", "trim_sigfig", "unit_to_english",
]  # fmt: skip
