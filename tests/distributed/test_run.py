"""The launcher, with programs that need no tensors where they can do without: importing them takes longer than the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from flambeau.distributed.run import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_ELASTIC_WORKER_SIGTERM_TIMEOUT", "10")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def write(text):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def test_processes_find_each_other(script, tmp_path):
    """A script that says `import torch`, started as PyTorch's users do."""
    path = script("""
        import os, sys
        import torch
        import torch.distributed as dist
        dist.init_process_group("gloo")
        assert torch.distributed.is_torchelastic_launched() and int(os.environ["LOCAL_WORLD_SIZE"]) == 2
        x = torch.tensor([dist.get_rank() + 1.0])
        dist.all_reduce(x)
        dist.new_group([0, 1])
        open(f"{sys.argv[1]}/{os.environ['LOCAL_RANK']}", "w").write(f"{x.item()} {torch.__name__} {torch.get_num_threads()}")
        dist.destroy_process_group()
    """)
    command = [
        sys.executable,
        "-m",
        "flambeau",
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        path,
        str(tmp_path),
    ]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["3.0 torch 1"] * 2


def test_environment(script, tmp_path):
    path = script("""
        import json, os, sys
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK", "MASTER_ADDR", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_RUN_ID")
        open(f"{sys.argv[1]}/{os.environ['RANK']}", "w").write(json.dumps([os.environ[name] for name in names]))
        assert int(os.environ["MASTER_PORT"]) and sys.argv[2:] == ["--flag", "value"]
    """)
    main(["--nproc-per-node=3", "--rdzv-id=job", path, str(tmp_path), "--flag", "value"])
    assert (tmp_path / "2").read_text() == '["2", "3", "2", "0", "127.0.0.1", "0", "job"]'
    assert "FLAMBEAU_DISTRIBUTED_SECRET" not in os.environ


def test_a_failure_ends_the_others(script, capfd):
    path = script("""
        import os, sys, time
        if os.environ["RANK"] == "1":
            sys.exit(3)
        time.sleep(60)
    """)
    start = time.monotonic()
    with pytest.raises(SystemExit) as info:
        main(["--standalone", "--nproc-per-node=2", path])
    assert info.value.code == 3 and time.monotonic() - start < 30
    assert "FAILED: rank 1 (local rank 1" in capfd.readouterr().err


def test_restarts(script, tmp_path, capfd):
    path = script("""
        import os, sys
        attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
        open(f"{sys.argv[1]}/{attempt}-{os.environ['RANK']}", "w").close()
        sys.exit(attempt != "1" and os.environ["RANK"] == "0")
    """)
    main(["--standalone", "--nproc-per-node=2", "--max-restarts=3", path, str(tmp_path)])
    assert {each.name for each in tmp_path.iterdir()} - {"script.py"} >= {"0-0", "1-0", "1-1"}
    assert "starting all again, 3 attempt(s) left" in capfd.readouterr().err


def test_modules_programs_and_logs(script, tmp_path, monkeypatch, capfd):
    script("import os, sys; print('out', os.environ['RANK']); print('err', file=sys.stderr)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    logs = tmp_path / "logs"
    main(["--standalone", "--nproc-per-node=2", "--log-dir", str(logs), "--redirects", "1", "--tee", "0:2", "-m", "script"])
    assert sorted(path.read_text() for path in logs.glob("*/attempt_0/*/stdout.log")) == ["out 0\n", "out 1\n"]
    assert [path.read_text() for path in logs.glob("*/attempt_0/0/stderr.log")] == ["err\n"]
    captured = capfd.readouterr()
    assert captured.out == "" and sorted(captured.err.splitlines()) == ["[default0]:err", "err"]
    main(["--standalone", "--no-python", "sh", "-c", "echo $RANK"])
    assert capfd.readouterr().out == "0\n"


def test_two_machines(script, tmp_path):
    """Two launchers meet at one place, and number their processes on."""
    path = script("""
        import os, sys
        open(f"{sys.argv[1]}/{os.environ['RANK']}", "w").write(os.environ["WORLD_SIZE"] + os.environ["GROUP_RANK"])
    """)
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    common = [sys.executable, "-m", "flambeau.distributed.run", "--nnodes=2", "--nproc-per-node=2", f"--master-port={port}"]
    launchers = [subprocess.Popen([*common, f"--node-rank={node}", path, str(tmp_path)]) for node in (1, 0)]
    assert [launcher.wait(120) for launcher in launchers] == [0, 0]
    assert [(tmp_path / str(rank)).read_text() for rank in range(4)] == ["40", "40", "41", "41"]


def _launch(tmp_path, path, *options):
    """Launchers at one place: what to call to start one more of them."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flambeau.distributed.run", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", *options]
    return lambda: subprocess.Popen([*command, path, str(tmp_path)], stderr=subprocess.PIPE, text=True)


def _appears(path):
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.exists()


def test_a_failure_restarts_all_machines(script, tmp_path):
    path = script("""
        import os, sys, time
        attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]
        open(f"{sys.argv[1]}/{attempt}-{rank}", "w").close()
        if attempt == "0":
            if rank == "1":
                sys.exit(5)
            time.sleep(60)
    """)
    start = _launch(tmp_path, path, "--nnodes=2", "--nproc-per-node=1", "--max-restarts=1")
    launchers = [start(), start()]
    errors = [launcher.communicate(timeout=60)[1] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0]
    assert {each.name for each in tmp_path.iterdir()} >= {"0-0", "0-1", "1-0", "1-1"}
    assert all("rank 1 (local rank 0, pid" in error and "exit code 5; starting all again, 1 attempt(s) left" in error for error in errors)


def test_a_failure_ends_all_machines(script, tmp_path):
    path = script("""
        import os, sys, time
        from flambeau.distributed.elastic.multiprocessing.errors import record
        @record
        def main():
            if os.environ["RANK"] == "1":
                raise ValueError("of the script")
            time.sleep(60)
        main()
    """)
    start = _launch(tmp_path, path, "--nnodes=2")
    launchers = [start(), start()]
    errors = sorted(launcher.communicate(timeout=60)[1] for launcher in launchers)
    assert [launcher.returncode for launcher in launchers] == [1, 1]
    assert sum("FAILED on another machine:" in error for error in errors) == 1
    assert all("ended with exit code 1: ValueError: of the script" in error for error in errors)


def test_machines_come_and_go(script, tmp_path):
    """A job of one machine begins again with two when another comes, and with one when that is killed."""
    path = script("""
        import os, sys, time
        name = f"{sys.argv[1]}/{os.environ['FLAMBEAU_DISTRIBUTED_ROUND']}-{os.environ['RANK']}"
        open(name + ".new", "w").write(f"{os.environ['WORLD_SIZE']} {os.getppid()}")
        os.rename(name + ".new", name)
        while os.environ["FLAMBEAU_DISTRIBUTED_ROUND"] != "2" and os.getppid() != 1:
            time.sleep(0.05)
    """)
    settings = "--rdzv-conf=last_call_timeout=0.7,keep_alive_timeout=2.5"
    start = _launch(tmp_path, path, "--nnodes=1:2", "--max-restarts=1", settings)
    first = start()
    assert _appears(tmp_path / "0-0")
    second = start()
    assert _appears(tmp_path / "1-0") and _appears(tmp_path / "1-1")
    second.kill()
    second.communicate()
    error = first.communicate(timeout=60)[1]
    assert first.returncode == 0
    assert "another machine has come; starting all again, 2 attempt(s) left" in error and "has said nothing for 2.5 seconds" in error
    assert [(tmp_path / name).read_text().split()[0] for name in ("0-0", "1-0", "1-1", "2-0")] == ["1", "2", "2", "1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_processes(script, tmp_path, number):
    path = script("""
        import os, sys, time
        open(f"{sys.argv[1]}/{os.environ['RANK']}", "w").write(str(os.getpid()))
        time.sleep(60)
    """)
    launcher = subprocess.Popen(
        [sys.executable, "-m", "flambeau.distributed.run", "--standalone", "--nproc-per-node=2", path, str(tmp_path)]
    )
    deadline = time.monotonic() + 60
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "01") and time.monotonic() < deadline:
        time.sleep(0.05)
    launcher.send_signal(number)
    assert launcher.wait(30) in (128 + signal.SIGTERM, 130)
    for name in "01":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / name).read_text()), 0)


def test_wrong_settings(script):
    with pytest.raises(ValueError, match="knows no GPUs"):
        main(["--nproc-per-node=gpu", script("")])
    with pytest.raises(ValueError, match="with rdzv_backend='static' the number is fixed"):
        main(["--nnodes=1:2", script("")])
    with pytest.raises(ValueError, match="the least must be positive, and not more than the most"):
        main(["--nnodes=3:2", "--rdzv-backend=c10d", script("")])
    with pytest.raises(ValueError, match="'join_timeout' has no value: say name=value,name=value"):
        main(["--rdzv-conf=join_timeout", script("")])
    with pytest.raises(ValueError, match="--local-ranks-filter=a: say the processes' numbers"):
        main(["--local-ranks-filter=a", script("")])
    with pytest.raises(ValueError, match="Unsupported nproc_per_node value: many"):
        main(["--nproc-per-node=many", script("")])
