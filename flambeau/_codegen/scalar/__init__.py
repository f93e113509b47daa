"""What one element does: registers, memory, conversion and the table of scalar operators, for every dtype::

    x = scalar.load(builder, pointer, float16, 16)
    y = scalar.emit(builder, "exp", float16, x)
    scalar.store(builder, y, pointer, float16)

The rows of the table are in ``operators.py``.
"""

from __future__ import annotations

from flambeau._codegen.scalar.cast import cast as cast
from flambeau._codegen.scalar.operators import OPS as OPS
from flambeau._codegen.scalar.operators import ScalarOp as ScalarOp
from flambeau._codegen.scalar.operators import emit as emit
from flambeau._codegen.scalar.reductions import identity as identity
from flambeau._codegen.scalar.reference import convert as convert
from flambeau._codegen.scalar.registers import Operand as Operand
from flambeau._codegen.scalar.registers import element_address as element_address
from flambeau._codegen.scalar.registers import from_memory as from_memory
from flambeau._codegen.scalar.registers import keep_if as keep_if
from flambeau._codegen.scalar.registers import load as load
from flambeau._codegen.scalar.registers import load_each as load_each
from flambeau._codegen.scalar.registers import load_strided as load_strided
from flambeau._codegen.scalar.registers import memory_type as memory_type
from flambeau._codegen.scalar.registers import pack as pack
from flambeau._codegen.scalar.registers import register_types as register_types
from flambeau._codegen.scalar.registers import round_to as round_to
from flambeau._codegen.scalar.registers import select as select
from flambeau._codegen.scalar.registers import splat as splat
from flambeau._codegen.scalar.registers import splat_constant as splat_constant
from flambeau._codegen.scalar.registers import store as store
from flambeau._codegen.scalar.registers import store_each as store_each
from flambeau._codegen.scalar.registers import store_strided as store_strided
from flambeau._codegen.scalar.registers import to_memory as to_memory
from flambeau._codegen.scalar.registers import unpack as unpack
