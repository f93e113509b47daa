"""Checkpoints of several processes: each writes and reads its pieces, and as many as will may load what others have saved."""

from __future__ import annotations

from flambeau.distributed.checkpoint.api import CheckpointException as CheckpointException
from flambeau.distributed.checkpoint.default_planner import DefaultLoadPlanner as DefaultLoadPlanner
from flambeau.distributed.checkpoint.default_planner import DefaultSavePlanner as DefaultSavePlanner
from flambeau.distributed.checkpoint.filesystem import FileSystemReader as FileSystemReader
from flambeau.distributed.checkpoint.filesystem import FileSystemWriter as FileSystemWriter
from flambeau.distributed.checkpoint.hf_storage import HuggingFaceStorageReader as HuggingFaceStorageReader
from flambeau.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter as HuggingFaceStorageWriter
from flambeau.distributed.checkpoint.metadata import BytesStorageMetadata as BytesStorageMetadata
from flambeau.distributed.checkpoint.metadata import ChunkStorageMetadata as ChunkStorageMetadata
from flambeau.distributed.checkpoint.metadata import Metadata as Metadata
from flambeau.distributed.checkpoint.metadata import TensorStorageMetadata as TensorStorageMetadata
from flambeau.distributed.checkpoint.planner import LoadPlan as LoadPlan
from flambeau.distributed.checkpoint.planner import LoadPlanner as LoadPlanner
from flambeau.distributed.checkpoint.planner import ReadItem as ReadItem
from flambeau.distributed.checkpoint.planner import SavePlan as SavePlan
from flambeau.distributed.checkpoint.planner import SavePlanner as SavePlanner
from flambeau.distributed.checkpoint.planner import WriteItem as WriteItem
from flambeau.distributed.checkpoint.state_dict_loader import load as load
from flambeau.distributed.checkpoint.state_dict_loader import load_state_dict as load_state_dict
from flambeau.distributed.checkpoint.state_dict_saver import async_save as async_save
from flambeau.distributed.checkpoint.state_dict_saver import save as save
from flambeau.distributed.checkpoint.state_dict_saver import save_state_dict as save_state_dict
from flambeau.distributed.checkpoint.storage import StorageReader as StorageReader
from flambeau.distributed.checkpoint.storage import StorageWriter as StorageWriter

__all__ = [
    "BytesStorageMetadata", "CheckpointException", "ChunkStorageMetadata", "DefaultLoadPlanner", "DefaultSavePlanner", "FileSystemReader", "FileSystemWriter",
    "HuggingFaceStorageReader", "HuggingFaceStorageWriter", "LoadPlan", "LoadPlanner", "Metadata", "ReadItem", "SavePlan", "SavePlanner", "StorageReader", "StorageWriter", "TensorStorageMetadata", "WriteItem",
    "async_save", "load", "load_state_dict", "save", "save_state_dict",
]  # fmt: skip
