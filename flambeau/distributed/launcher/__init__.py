"""Starting a job from a program: what ``torchrun`` does, as a function."""

from __future__ import annotations

from flambeau.distributed.launcher.api import LaunchConfig as LaunchConfig
from flambeau.distributed.launcher.api import elastic_launch as elastic_launch
from flambeau.distributed.launcher.api import launch_agent as launch_agent

__all__ = ["LaunchConfig", "elastic_launch", "launch_agent"]
