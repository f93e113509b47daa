"""Packages that import torch, on Flambeau and on PyTorch: what they print has to be the same."""
