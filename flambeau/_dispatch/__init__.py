"""Asking modes and classes with a ``__torch_dispatch__`` about every operator, below autograd (``docs/dispatch.md``).

``dispatcher.py`` is the tape that asks; ``table.py`` says which of PyTorch's operators a call of ours is, ``gradients.py`` what its backward
pass calls then, ``operators.py`` computes those that PyTorch has no other name for, and ``wrappers.py`` has tensors without elements.
"""
