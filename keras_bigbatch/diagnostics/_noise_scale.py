"""The result of a measurement of the gradient noise scale."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class NoiseScale:
    """What `gradient_noise_scale` found, in samples.

    Attributes:
        value: `trace / gradient_norm_squared`; NaN where the latter cannot be told from zero.
        trace: The estimate of the trace of the covariance of the gradients of single samples.
        gradient_norm_squared: The estimate of the squared norm of the mean gradient. It is unbiased
            and so may come out below zero.
        interval: 95 % interval of `value`. Where that is NaN, its end is infinite and its start
            still says how large the noise scale is at least.
        draws: Large batches that it was estimated from.
    """

    value: float
    trace: float
    gradient_norm_squared: float
    interval: tuple[float, float]
    draws: int

    def __str__(self) -> str:
        low, high = self.interval
        if math.isnan(low):
            first = "noise scale unknown: gradients are not finite"
        elif math.isnan(self.value):
            first = f"noise scale unknown, at least {low:.3g} samples"
        else:
            first = f"noise scale {self.value:.4g} samples, 95 % interval {low:.4g} to {high:.4g}"
        parts = f"trace {self.trace:.4g}, squared gradient norm {self.gradient_norm_squared:.4g}"
        return f"{first}\n{parts} ({self.draws} draws)"
