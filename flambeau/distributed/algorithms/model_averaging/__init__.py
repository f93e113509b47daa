"""Processes that train on their own and average their parameters now and then."""

from __future__ import annotations

from flambeau.distributed.algorithms.model_averaging import averagers as averagers
from flambeau.distributed.algorithms.model_averaging import hierarchical_model_averager as hierarchical_model_averager
from flambeau.distributed.algorithms.model_averaging import utils as utils
