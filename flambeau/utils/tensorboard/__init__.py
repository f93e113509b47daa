"""Logging for TensorBoard: writing event files, without TensorBoard, and reading them.

>>> from flambeau.utils.tensorboard import SummaryWriter
>>> with SummaryWriter("runs/example") as writer:  # doctest: +SKIP
...     writer.add_scalar("loss", 0.5, global_step=1)

``python -m flambeau.utils.tensorboard show runs`` draws the curves in the terminal.
"""

from __future__ import annotations

from flambeau.utils.tensorboard._records import RecordWriter as RecordWriter
from flambeau.utils.tensorboard.reader import SummaryReader as SummaryReader
from flambeau.utils.tensorboard.writer import FileWriter as FileWriter
from flambeau.utils.tensorboard.writer import SummaryWriter as SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryReader", "SummaryWriter"]
