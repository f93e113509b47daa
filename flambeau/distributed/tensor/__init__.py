"""Tensors that lie in several processes, whole or in pieces (``DTensor``), and functions of them."""

from __future__ import annotations

from flambeau.distributed.device_mesh import DeviceMesh as DeviceMesh
from flambeau.distributed.device_mesh import init_device_mesh as init_device_mesh
from flambeau.distributed.tensor.api import distribute_module as distribute_module
from flambeau.distributed.tensor.api import distribute_tensor as distribute_tensor
from flambeau.distributed.tensor.api import empty as empty
from flambeau.distributed.tensor.api import full as full
from flambeau.distributed.tensor.api import ones as ones
from flambeau.distributed.tensor.api import rand as rand
from flambeau.distributed.tensor.api import randn as randn
from flambeau.distributed.tensor.api import zeros as zeros
from flambeau.distributed.tensor.dtensor import DTensor as DTensor
from flambeau.distributed.tensor.placement_types import Partial as Partial
from flambeau.distributed.tensor.placement_types import Placement as Placement
from flambeau.distributed.tensor.placement_types import Replicate as Replicate
from flambeau.distributed.tensor.placement_types import Shard as Shard

__all__ = [
    "DTensor", "Partial", "Placement", "Replicate", "Shard", "distribute_module", "distribute_tensor", "empty", "full", "ones", "rand", "randn", "zeros",
]  # fmt: skip
