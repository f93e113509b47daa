"""Contractions: matrix products and convolutions as one generator of kernels (``docs/design/0005-contraction.md``)."""

from __future__ import annotations

from flambeau._codegen.contract.planning import ContractCall as ContractCall
from flambeau._codegen.contract.planning import ContractPlan as ContractPlan
from flambeau._codegen.contract.planning import plan as plan
from flambeau._codegen.contract.stage import Bound as Bound
from flambeau._codegen.contract.stage import Contract as Contract
from flambeau._codegen.contract.stage import Epilogue as Epilogue
from flambeau._codegen.contract.stage import Operand as Operand
