"""The functions of ``torch.distributed`` under the module name that PyTorch has them in."""

from __future__ import annotations

from flambeau.distributed.collective_calls import *  # noqa: F403
from flambeau.distributed.collective_calls import _all_gather_base as _all_gather_base
from flambeau.distributed.collective_calls import _reduce_scatter_base as _reduce_scatter_base
from flambeau.distributed.errors import *  # noqa: F403
from flambeau.distributed.objects import *  # noqa: F403
from flambeau.distributed.point_to_point import *  # noqa: F403
from flambeau.distributed.process_group import ProcessGroup as ProcessGroup
from flambeau.distributed.reduction import ReduceOp as ReduceOp
from flambeau.distributed.rendezvous import register_rendezvous_handler as register_rendezvous_handler
from flambeau.distributed.rendezvous import rendezvous as rendezvous
from flambeau.distributed.store import FileStore as FileStore
from flambeau.distributed.store import HashStore as HashStore
from flambeau.distributed.store import PrefixStore as PrefixStore
from flambeau.distributed.store import Store as Store
from flambeau.distributed.tcp_store import TCPStore as TCPStore
from flambeau.distributed.work import Work as Work
from flambeau.distributed.world import *  # noqa: F403
from flambeau.distributed.world import default_pg_timeout as default_pg_timeout


def _get_default_group() -> ProcessGroup:
    """All processes of the job.

    Raises:
        ValueError: there is no group
    """
    from flambeau.distributed.world import member

    return member(None)
