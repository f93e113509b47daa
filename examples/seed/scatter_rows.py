"""`scatter` along the rows: `index` says, for each element of `src`, the row that it goes to."""

from __future__ import annotations

import torch

a = torch.arange(10).reshape((2, 5)).float()
b = torch.zeros(3, 5)
b_ = b.scatter(0, torch.tensor([[1, 2, 1, 1, 2], [2, 0, 2, 1, 0]], dtype=torch.int64), a)
print(b_)
