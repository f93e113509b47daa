"""What PyTorch's launcher consists of; Flambeau's is `flambeau.distributed.run`."""

from __future__ import annotations
