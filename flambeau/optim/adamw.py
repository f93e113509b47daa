"""Adam with decoupled weight decay, under PyTorch's name for its module."""

from __future__ import annotations

from flambeau.optim._functional import functional
from flambeau.optim.adam import AdamW

__all__ = ["AdamW", "adamw"]

adamw = functional(
    AdamW,
    {"exp_avgs": "exp_avg", "exp_avg_sqs": "exp_avg_sq", "max_exp_avg_sqs": "max_exp_avg_sq", "state_steps": "step"},
    "foreach capturable differentiable fused grad_scale found_inf has_complex",
    "amsgrad beta1 beta2 lr weight_decay eps maximize",
    fixed={"decoupled_weight_decay": True},
)
