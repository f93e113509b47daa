"""How gradients may be exchanged in other ways than by the average (``DistributedDataParallel.register_comm_hook``)."""

from __future__ import annotations

from flambeau.distributed.algorithms.ddp_comm_hooks import default_hooks as default_hooks
from flambeau.distributed.algorithms.ddp_comm_hooks import post_localSGD_hook as post_localSGD_hook
