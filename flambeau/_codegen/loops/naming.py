"""Names of kernels."""

from __future__ import annotations

from hashlib import sha256

from flambeau._codegen.ir import Module


def finish(module: Module) -> tuple[str, str]:
    """Name a module's kernel (written as ``@KERNEL``) by its IR."""
    text = str(module)
    name = "k_" + sha256(text.encode()).hexdigest()[:24]
    return name, text.replace("@KERNEL(", f"@{name}(")
