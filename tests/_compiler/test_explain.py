"""What ``explain`` says about programs: kernels, operations, bytes, code; and that watching changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from html.parser import HTMLParser

import numpy as np
import pytest

import flambeau
from flambeau._compiler import explain as module
from flambeau._compiler.limits import Limits, measure
from flambeau._compiler.program import CompiledProgram
from flambeau._runtime.interrupts import interrupts_held


def matrix(*shape: int, dtype=np.float32) -> flambeau.Tensor:
    """A tensor of ours alone, that is computed."""
    result = flambeau.tensor(np.random.default_rng(0).standard_normal(shape).astype(dtype)).clone()
    flambeau.flush()
    return result


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True)


def test_a_contraction_and_what_follows():
    a, b = matrix(32, 48), matrix(48, 64)
    explanation = flambeau.explain(lambda: flambeau.softmax(a @ b, dim=1))
    (program,) = explanation.programs
    first, *rest = explanation.kernels
    assert first.operators == ("contract 32x64x48",)
    assert first.flops == 2 * 32 * 64 * 48
    assert first.bytes_read == 4 * (32 * 48 + 48 * 64)
    assert first.bytes_written == 4 * 32 * 64
    assert [kernel.operators for kernel in rest] == [("max", "sub", "exp", "sum", "div", "mul", "neg", "fma", "fma")]
    assert rest[0].flops == 8 * 32 * 64 + 32
    assert program.operators[-1] == "softmax"
    assert (program.results, program.result_bytes, program.arena_bytes) == (1, 4 * 32 * 64, 4 * 32 * 64)
    assert program.seconds == sum(kernel.seconds for kernel in program.kernels) > 0


def test_batches_and_double_precision():
    a, b = matrix(5, 8, 16, dtype=np.float64), matrix(5, 16, 32, dtype=np.float64)
    kernel = flambeau.explain(flambeau.bmm, a, b).kernels[-1]
    assert kernel.operators == ("contract 5x8x32x16",)
    assert kernel.flops == 2 * 5 * 8 * 32 * 16
    assert kernel.bytes_written == 8 * 5 * 8 * 32


def test_a_split_reduction_combines_its_parts():
    x = matrix(1 << 17)
    first, second = flambeau.explain(x.sum).kernels
    assert first.bytes_read == 4 << 17
    assert first.flops == 1 << 17
    assert second.operators == ("combine sum",)
    assert second.bytes_read == first.bytes_written == 4 * ((1 << 17) // 1024)
    assert second.bytes_written == 4


def test_bytes_are_counted_once():
    x, row = matrix(100, 50), matrix(50)
    (kernel,) = flambeau.explain(lambda: x * row + x.exp() * row).kernels
    assert kernel.bytes_read == 4 * (100 * 50 + 50)
    assert kernel.bytes_written == 4 * 100 * 50
    (kernel,) = flambeau.explain(lambda: x[:10] + 1).kernels
    assert kernel.bytes_read == kernel.bytes_written == 4 * 10 * 50


def test_writing_a_part_in_place():
    x = matrix(1000, 10)
    (kernel,) = flambeau.explain(lambda: x[:3].fill_(7.0)).kernels
    assert "update" in kernel.operators
    assert (kernel.bytes_read, kernel.bytes_written) == (0, 4 * 3 * 10)


def test_code_can_be_read():
    x = matrix(64)
    (kernel,) = flambeau.explain(lambda: x * 2.0).kernels
    assert kernel.name in kernel.ir
    assert "fmul" in kernel.ir
    assert f"{kernel.name}:" in kernel.assembly


def test_a_call_back_into_python_has_no_code():
    x = matrix(10, 10)
    step = next(kernel for kernel in flambeau.explain(flambeau.linalg.eigvals, x).kernels if kernel.operators == ("host",))
    assert step.tiles == 0
    with pytest.raises(ValueError, match="call back into Python"):
        _ = step.ir


def test_what_a_scatter_writes_over_is_a_step_of_its_own():
    index = flambeau.tensor([[1], [0], [2]])
    flambeau.flush()
    kernels = flambeau.explain(lambda: flambeau.zeros(3, 10).scatter(1, index, 1.0)).kernels
    assert [kernel.operators for kernel in kernels][-2:] == [("fill",), ("scatter set",)] and kernels[-2].bytes_written == 120
    x = matrix(3, 10)
    kernels = flambeau.explain(lambda: (x.scatter(1, index, 1.0), x + 1)).kernels
    assert ("copy",) in [kernel.operators for kernel in kernels]


def test_every_flush_is_a_program_and_what_was_pending_is_not_part_of_it():
    pending = matrix(3) + 1

    def look_twice(scale):
        return pending.mul(scale).sum().item() + pending.exp().sum().item()

    explanation = flambeau.explain(look_twice, scale=2.0)
    assert [program.operators for program in explanation.programs] == [("mul", "sum"), ("exp", "sum")]
    assert len(explanation.kernels) == sum(len(program.kernels) for program in explanation.programs)


def test_nothing_to_explain():
    explanation = flambeau.explain(lambda: "no tensor")
    assert explanation.result == "no tensor"
    assert explanation.kernels == ()
    assert "FLOP/s" in str(explanation)


def test_watching_changes_no_result():
    def train(watch):
        flambeau.manual_seed(0)
        model = flambeau.nn.Linear(20, 3)
        optimizer = flambeau.optim.Adam(model.parameters())
        x, y = flambeau.randn(16, 20), flambeau.randint(0, 3, (16,))

        def step():
            optimizer.zero_grad()
            flambeau.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

        for _ in range(3):
            if watch:
                assert flambeau.explain(step).kernels
            else:
                step()
        return model.weight.detach().numpy().tobytes()

    assert train(watch=True) == train(watch=False)


def test_errors_pass_through_and_nothing_is_left_behind():
    execute = CompiledProgram.execute
    x = matrix(4)
    with pytest.raises(IndexError):
        flambeau.explain(lambda: x[flambeau.tensor([9])].sum().item())
    with pytest.raises(ZeroDivisionError):
        flambeau.explain(lambda: 1 // 0)
    assert CompiledProgram.execute is execute
    assert (x + 0).tolist() == x.tolist()


def test_programs_of_other_threads_are_not_part_of_it():
    x = matrix(8)

    def with_a_thread():
        thread = threading.Thread(target=lambda: (matrix(5) * 3).cos().tolist())
        thread.start()
        thread.join()
        return x.sin()

    assert [program.operators for program in flambeau.explain(with_a_thread).programs] == [("sin",)]


def test_interrupts_wait_for_the_program():
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        reached.append("the end")
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_as_text():
    a, b = matrix(32, 48), matrix(48, 64)
    explanation = flambeau.explain(lambda: (a @ b).relu())
    text = str(explanation)
    assert "operators in" in text
    for kernel in explanation.kernels:
        assert any(line.split()[1:2] == [kernel.name[:12]] for line in text.splitlines())
        assert kernel.summary in text
    assert "199 k" in text  # 2 * 32 * 64 * 48 operations of the contraction, 32 * 64 of relu


class _Page(HTMLParser):
    """What is open, and how often which tag was."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_as_a_page(tmp_path):
    x = matrix(100, 100)
    explanation = flambeau.explain(lambda: (flambeau.sort(x).values < 0.5).sum(dim=1))
    explanation.html(tmp_path / "page.html")
    page = _Page()
    page.feed((tmp_path / "page.html").read_text("utf-8"))
    assert page.open == []
    bars = [attributes for tag, attributes in page.seen if attributes.get("class") == "bar"]
    assert len(bars) == len(explanation.kernels)
    assert not [tag for tag, attributes in page.seen if "src" in attributes or tag in ("link", "script")]  # needs no other files
    shown = {attributes["id"] for tag, attributes in page.seen if tag == "details"}
    assert shown == {kernel.name for kernel in explanation.kernels if kernel.tiles}


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (2.5e15, "2.5e+03 TB")])
def test_amounts(number, text):
    assert module._amount(number, "B") == text


@pytest.mark.parametrize(("seconds", "text"), [(1.5, "1.5 s"), (2e-3, "2 ms"), (3.25e-6, "3.25 µs")])
def test_durations(seconds, text):
    assert module._duration(seconds) == text


def test_the_limit_is_the_scarcer_of_arithmetic_and_memory():
    limits = Limits(threads=1, flops=100.0, bandwidth=10.0)
    assert limits.seconds(200, 10) == 2.0
    assert limits.seconds(200, 100) == 10.0
    assert limits.seconds(200, 10, itemsize=8) == 4.0


def test_limits_are_measured_once():
    limits = measure()
    assert limits.threads == flambeau.get_num_threads()
    assert limits.flops > 1e8
    assert limits.bandwidth > 1e8
    assert measure() is limits


def test_importing_flambeau_does_not_load_llvm():
    assert run_python("import sys, flambeau; print('llvmlite' in sys.modules)").stdout == "False\n"


def test_eager_mode_runs_a_program_for_each_operator():
    code = "import flambeau as F; x = F.ones(3); print(len(F.explain(lambda: (x + 1).exp().sum()).programs))"
    assert run_python(code, FLAMBEAU_EAGER="1").stdout == "3\n"
    assert run_python(code, FLAMBEAU_EAGER="0").stdout == "1\n"


def test_the_log_says_what_is_compiled():
    code = "import flambeau as F; x = F.ones(3); print(F.explain(lambda: x * 2).kernels[0].name)"
    run = run_python(code, FLAMBEAU_LOG="compile", FLAMBEAU_CACHE="off")
    assert f"flambeau: compiled {run.stdout.strip()} in " in run.stderr
    assert run_python(code, FLAMBEAU_LOG="", FLAMBEAU_CACHE="off").stderr == ""
