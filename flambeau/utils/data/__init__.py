"""Datasets, samplers, and the loader that makes batches of them."""

from __future__ import annotations

from flambeau.utils.data._utils.worker import WorkerInfo as WorkerInfo
from flambeau.utils.data._utils.worker import get_worker_info as get_worker_info
from flambeau.utils.data.dataloader import DataLoader as DataLoader
from flambeau.utils.data.dataloader import default_collate as default_collate
from flambeau.utils.data.dataloader import default_convert as default_convert
from flambeau.utils.data.datapipes._decorator import functional_datapipe as functional_datapipe
from flambeau.utils.data.datapipes._decorator import guaranteed_datapipes_determinism as guaranteed_datapipes_determinism
from flambeau.utils.data.datapipes._decorator import non_deterministic as non_deterministic
from flambeau.utils.data.datapipes._validation import argument_validation as argument_validation
from flambeau.utils.data.datapipes._validation import runtime_validation as runtime_validation
from flambeau.utils.data.datapipes._validation import runtime_validation_disabled as runtime_validation_disabled
from flambeau.utils.data.datapipes.datapipe import DataChunk as DataChunk
from flambeau.utils.data.datapipes.datapipe import IterDataPipe as IterDataPipe
from flambeau.utils.data.datapipes.datapipe import MapDataPipe as MapDataPipe
from flambeau.utils.data.dataset import ChainDataset as ChainDataset
from flambeau.utils.data.dataset import ConcatDataset as ConcatDataset
from flambeau.utils.data.dataset import Dataset as Dataset
from flambeau.utils.data.dataset import IterableDataset as IterableDataset
from flambeau.utils.data.dataset import StackDataset as StackDataset
from flambeau.utils.data.dataset import Subset as Subset
from flambeau.utils.data.dataset import TensorDataset as TensorDataset
from flambeau.utils.data.dataset import random_split as random_split
from flambeau.utils.data.distributed import DistributedSampler as DistributedSampler
from flambeau.utils.data.sampler import BatchSampler as BatchSampler
from flambeau.utils.data.sampler import RandomSampler as RandomSampler
from flambeau.utils.data.sampler import Sampler as Sampler
from flambeau.utils.data.sampler import SequentialSampler as SequentialSampler
from flambeau.utils.data.sampler import SubsetRandomSampler as SubsetRandomSampler
from flambeau.utils.data.sampler import WeightedRandomSampler as WeightedRandomSampler

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataChunk",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterDataPipe",
    "IterableDataset",
    "MapDataPipe",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "argument_validation",
    "default_collate",
    "default_convert",
    "functional_datapipe",
    "get_worker_info",
    "guaranteed_datapipes_determinism",
    "non_deterministic",
    "random_split",
    "runtime_validation",
    "runtime_validation_disabled",
]
