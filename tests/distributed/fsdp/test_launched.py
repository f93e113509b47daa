"""A script that says `import torch`, started as PyTorch's users do: it trains, saves, and goes on in another number of processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
    import sys
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = fully_shard(torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

    def states():
        weights, moments = get_state_dict(model, optimizer)
        return {"model": weights, "optimizer": moments, "steps": 0}

    if sys.argv[2] == "resume":
        state = states()
        dcp.load(state, checkpoint_id=sys.argv[1])
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        assert state["steps"] == 2
    x = torch.arange(48.0).view(12, 4) / 48
    x = x.chunk(dist.get_world_size())[dist.get_rank()]
    for _ in range(4 if sys.argv[2] == "whole" else 2):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dcp.save({**states(), "steps": 2}, checkpoint_id=sys.argv[1])
    dist.all_reduce(loss.detach_(), op=dist.ReduceOp.AVG)
    if dist.get_rank() == 0:
        print(f"loss {loss.item():.5f} {torch.__name__}")
    dist.destroy_process_group()
"""


def _launch(script, processes, *arguments):
    command = [
        sys.executable, "-m", "flambeau", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), str(script), *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, timeout=120, env=environment, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line.startswith("loss")]


def test_a_script_trains_and_goes_on_in_another_number_of_processes(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    _launch(script, 2, str(tmp_path / "saved"), "begin")
    assert _launch(script, 3, str(tmp_path / "saved"), "resume") == _launch(script, 1, str(tmp_path / "other"), "whole")
