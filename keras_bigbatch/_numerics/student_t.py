"""Quantiles of Student's t, for intervals."""

import math

import numpy as np


def student_t(freedom: int, coverage: float = 0.95) -> float:
    """Returns the value that `|T|` of Student's t stays below with probability `coverage`.

    It is found by bisection on the finite series of Abramowitz & Stegun, 26.7.3 and 26.7.4, in
    `angle = atan(t / sqrt(freedom))`.
    """
    odd = freedom % 2
    # The series' factors: 2/3, 4/5, ... for odd degrees of freedom, 1/2, 3/4, ... for even ones.
    over = np.arange(2 + odd, freedom - 1, 2, dtype=np.float64)
    factors = np.cumprod((over - 1) / over)
    powers = np.arange(1, len(factors) + 1) * 2

    def covered(angle: float) -> float:
        cosine = math.cos(angle)
        series = 1.0 + float(factors @ cosine**powers)
        if not odd:
            return math.sin(angle) * series
        tail = math.sin(angle) * cosine * series if freedom > 1 else 0.0
        return 2.0 / math.pi * (angle + tail)

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if covered(middle) < coverage else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)
