"""Pipelines: a module in stages, which several processes run on microbatches at the same time.

`docs/distributed.md` has an example.
"""

from __future__ import annotations

from flambeau.distributed.pipelining.pipe import Pipe as Pipe
from flambeau.distributed.pipelining.pipe import SplitPoint as SplitPoint
from flambeau.distributed.pipelining.pipe import build_stage as build_stage
from flambeau.distributed.pipelining.pipe import pipe_split as pipe_split
from flambeau.distributed.pipelining.pipe import pipeline as pipeline
from flambeau.distributed.pipelining.schedules import Schedule1F1B as Schedule1F1B
from flambeau.distributed.pipelining.schedules import ScheduleGPipe as ScheduleGPipe
from flambeau.distributed.pipelining.schedules import ScheduleInterleaved1F1B as ScheduleInterleaved1F1B
from flambeau.distributed.pipelining.schedules import ScheduleLoopedBFS as ScheduleLoopedBFS
from flambeau.distributed.pipelining.schedules import _ScheduleForwardOnly as _ScheduleForwardOnly
from flambeau.distributed.pipelining.stage import PipelineStage as PipelineStage

__all__ = [
    "Pipe", "PipelineStage", "Schedule1F1B", "ScheduleGPipe", "ScheduleInterleaved1F1B", "ScheduleLoopedBFS", "SplitPoint", "build_stage",
    "pipe_split", "pipeline",
]  # fmt: skip
