"""Special functions by SciPy's names."""

from __future__ import annotations

from flambeau import (
    digamma as digamma,
)
from flambeau import (
    erf as erf,
)
from flambeau import (
    erfc as erfc,
)
from flambeau import (
    erfinv as erfinv,
)
from flambeau import (
    exp2 as exp2,
)
from flambeau import (
    expm1 as expm1,
)
from flambeau import (
    i0 as i0,
)
from flambeau import lgamma as gammaln
from flambeau import (
    log1p as log1p,
)
from flambeau import (
    log_softmax as log_softmax,
)
from flambeau import (
    logit as logit,
)
from flambeau import (
    logsumexp as logsumexp,
)
from flambeau import mvlgamma as multigammaln
from flambeau import (
    polygamma as polygamma,
)
from flambeau import (
    round as round,
)
from flambeau import sigmoid as expit
from flambeau import (
    sinc as sinc,
)
from flambeau import (
    softmax as softmax,
)
from flambeau import (
    xlogy as xlogy,
)
from flambeau._ops.special import entr as entr
from flambeau._ops.special import i0e as i0e
from flambeau._ops.special import i1 as i1
from flambeau._ops.special import i1e as i1e
from flambeau._ops.special import ndtr as ndtr
from flambeau._ops.special import xlog1py as xlog1py
from flambeau._ops.special import zeta as zeta

psi = digamma

__all__ = [
    "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e", "i1", "i1e", "log1p", "log_softmax", "logit", "logsumexp", "multigammaln",
    "ndtr", "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy", "zeta",
]  # fmt: skip
