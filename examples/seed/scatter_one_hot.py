"""`scatter` turns labels into one-hot rows."""

from __future__ import annotations

import torch

labels = torch.tensor([1, 3], dtype=torch.int64)
targets = torch.zeros(2, 5)
targets_ = targets.scatter(1, labels.unsqueeze(-1), 1.0)
print(targets_)
