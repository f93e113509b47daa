"""Quantized tensors: made of an ordinary tensor of integers, and a scale and a zero point."""
