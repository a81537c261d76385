"""Derivatives of pure functions, by those of a backend."""

from collections.abc import Callable

from keras_bigbatch._typing import Tensor


def with_value_as_result(
    function: Callable[..., Tensor],
) -> Callable[..., tuple[Tensor, Tensor]]:
    """A function of a scalar as `gradient_and_results` takes it."""

    def twice(*arguments: object) -> tuple[Tensor, Tensor]:
        value = function(*arguments)
        return value, value

    return twice
