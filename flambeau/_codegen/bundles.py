"""What one number of a contraction may stand for: several narrow ones, whose products are summed up."""

from __future__ import annotations

PAIRS = "pairs"
"""Two of bfloat16, as float32."""
PRODUCTS = {"": 1, PAIRS: 2, "a": 4, "b": 4}
"""How many products the product of two bundles is. Those of bytes are called by the operand whose bytes have no sign."""
