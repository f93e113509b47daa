"""The processes of a job, their files, and their errors."""

from __future__ import annotations

from flambeau.distributed.elastic.multiprocessing import errors as errors
from flambeau.distributed.elastic.multiprocessing.api import MultiprocessContext as MultiprocessContext
from flambeau.distributed.elastic.multiprocessing.api import PContext as PContext
from flambeau.distributed.elastic.multiprocessing.api import RunProcsResult as RunProcsResult
from flambeau.distributed.elastic.multiprocessing.api import SignalException as SignalException
from flambeau.distributed.elastic.multiprocessing.api import SubprocessContext as SubprocessContext
from flambeau.distributed.elastic.multiprocessing.api import start_processes as start_processes
from flambeau.distributed.elastic.multiprocessing.errors import ProcessFailure as ProcessFailure
from flambeau.distributed.elastic.multiprocessing.errors import record as record
from flambeau.distributed.elastic.multiprocessing.logs import DefaultLogsSpecs as DefaultLogsSpecs
from flambeau.distributed.elastic.multiprocessing.logs import LogsDest as LogsDest
from flambeau.distributed.elastic.multiprocessing.logs import LogsSpecs as LogsSpecs
from flambeau.distributed.elastic.multiprocessing.logs import Std as Std
from flambeau.distributed.elastic.multiprocessing.logs import to_map as to_map

__all__ = [
    "DefaultLogsSpecs", "LogsDest", "LogsSpecs", "MultiprocessContext", "PContext", "ProcessFailure", "RunProcsResult", "SignalException", "Std",
    "SubprocessContext", "errors", "record", "start_processes", "to_map",
]  # fmt: skip
