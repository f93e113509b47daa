"""Four series of scalars in two groups: TensorBoard shows `Loss` and `Accuracy`, each with `train` and `test`.

python -m flambeau examples/seed/grouped_scalars.py
"""

from __future__ import annotations

import numpy as np
from torch.utils.tensorboard import SummaryWriter

writer = SummaryWriter()

for n_iter in range(100):
    writer.add_scalar("Loss/train", np.random.random(), n_iter)
    writer.add_scalar("Loss/test", np.random.random(), n_iter)
    writer.add_scalar("Accuracy/train", np.random.random(), n_iter)
    writer.add_scalar("Accuracy/test", np.random.random(), n_iter)

writer.close()
print(f"four series of 100 scalars are in {writer.log_dir}")
