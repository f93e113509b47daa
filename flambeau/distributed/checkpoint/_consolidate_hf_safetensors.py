"""``consolidate_safetensors_files``: whole tensors of the pieces that processes wrote."""

from __future__ import annotations

from pathlib import Path

from flambeau.distributed.checkpoint.hf_storage import consolidate

__all__ = ["consolidate_safetensors_files"]


def consolidate_safetensors_files(input_dir: str, output_dir: str, fqn_to_index_mapping: dict[str, int], num_threads: int = 1) -> None:
    """Join the pieces in the safetensors files of a folder.

    Args:
        input_dir: the folder
        output_dir: where the files of whole tensors go
        fqn_to_index_mapping: the number of the file, from 1, that each tensor goes to
        num_threads: for PyTorch's sake
    """
    consolidate(Path(input_dir), Path(output_dir), fqn_to_index_mapping)
