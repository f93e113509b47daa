"""Kinds of tensors that PyTorch's tracers use, as far as packages ask whether a tensor is one."""
