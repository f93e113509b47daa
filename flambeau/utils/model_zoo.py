"""The old name of ``torch.hub``'s function that downloads weights."""

from __future__ import annotations

from flambeau.hub import load_state_dict_from_url as load_url
from flambeau.hub import tqdm as tqdm

__all__ = ["load_url"]
