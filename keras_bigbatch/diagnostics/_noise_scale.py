"""The result of a measurement of the gradient noise scale."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class NoiseScale:
    """Result of `gradient_noise_scale`, in samples.

    Attributes:
        value: `trace / gradient_norm_squared`, or NaN if the divisor cannot be told from zero.
        trace: The estimated trace of the covariance of single samples' gradients.
        gradient_norm_squared: The estimated squared norm of the mean gradient. The estimate is
            unbiased, so it may be below zero.
        interval: 95 % interval of `value`. If `value` is NaN, the upper end is infinite, and the
            lower end is still a lower bound of the noise scale.
        draws: The number of large batches in the estimate.
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
