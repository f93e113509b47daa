"""The older name of ``flambeau.distributed.tensor``."""

from __future__ import annotations

from flambeau.distributed.device_mesh import DeviceMesh as DeviceMesh
from flambeau.distributed.device_mesh import init_device_mesh as init_device_mesh
from flambeau.distributed.tensor import *  # noqa: F403
