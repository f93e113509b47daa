from __future__ import annotations

import flambeau
from flambeau import distributed
from flambeau.utils.data import DataLoader
from flambeau.utils.data.datapipes.iter import IterableWrapper
from tests.distributed.jobs import run


def _load(rank):
    flambeau.manual_seed(rank)  # the seed of a pass is that of the first process
    for workers in (0, 2):
        pipe = IterableWrapper(range(12)).shuffle().sharding_filter()
        mine = list(DataLoader(pipe, batch_size=None, num_workers=workers))
        both = [None, None]
        distributed.all_gather_object(both, mine)
        assert len(mine) == 6 and sorted(both[0] + both[1]) == list(range(12))
        assert both[0] + both[1] != list(range(12))


def test_processes_share_the_samples_of_a_pipe():
    run(_load, 2)
