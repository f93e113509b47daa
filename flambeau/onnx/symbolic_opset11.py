"""Where PyTorch's first exporter keeps how it writes operators in opset 11, for packages that import it: there is nothing in here.

:func:`flambeau.onnx.export` does not call such functions, nor those that refer to them (``register_custom_op_symbolic``).
"""

from __future__ import annotations
