"""PyTorch's tracing by dispatch, as far as packages ask whether it is going on."""
