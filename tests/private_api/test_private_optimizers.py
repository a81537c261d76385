"""Keras's names that are not public do what `_private_api` says of optimizers.

The oldest Keras runs these tests too. A name that goes without an error would change results.
"""

import keras
import numpy as np
import pytest

from keras_bigbatch import _private_api
from keras_bigbatch.optimizers import LayerwiseOptimizer
from tests.private_api.fits import applied

BACKEND = keras.backend.backend()


@pytest.mark.parametrize("steps", [None, 2])
def test_replaced_clipping_clips_updates(steps):
    optimizer = keras.optimizers.SGD(1.0, clipvalue=0.5, gradient_accumulation_steps=steps)
    before = _private_api.replace_clipping(
        optimizer, lambda gradients: [0.5 * each for each in before(gradients)]
    )
    np.testing.assert_allclose(applied(optimizer, 8.0, steps or 1), 0.75)


def test_the_source_of_the_rate_is_what_was_passed():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    assert _private_api.learning_rate_source(keras.optimizers.SGD(schedule)) is schedule
    source = _private_api.learning_rate_source(keras.optimizers.SGD(0.1))
    assert isinstance(source, keras.Variable)


def test_the_counter_is_what_a_schedule_is_called_with():
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    optimizer = keras.optimizers.SGD(schedule, gradient_accumulation_steps=2)
    applied(optimizer, updates=3)
    assert int(_private_api.step_counter(optimizer)) == 3
    assert int(optimizer.iterations) == 1
    np.testing.assert_allclose(float(optimizer.learning_rate), 0.5**3)


def test_an_index_is_the_place_in_build():
    variables = [keras.Variable(np.ones(2, "float32")) for _ in range(3)]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(variables)
    assert [_private_api.variable_index(optimizer, each) for each in variables] == [0, 1, 2]


def test_exclusion_from_decay_is_seen():
    variables = [keras.Variable(np.ones(2, "float32"), name=name) for name in ("in", "out")]
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["out"])
    optimizer.build(variables)
    assert [_private_api.uses_weight_decay(optimizer, each) for each in variables] == [True, False]


class Overriding(keras.optimizers.Optimizer):
    """A step of the gradient, and a list of what Keras called."""

    def __init__(self, **options):
        super().__init__(learning_rate=1.0, **options)
        self.called = []

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, gradient)


class WithOverrides(Overriding):
    """The same with all that the package overrides."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self.called.append(("_backend_update_step", len(grads)))
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _apply_weight_decay(self, variables):
        self.called.append(("_apply_weight_decay", len(variables)))


def test_the_list_of_overrides_is_whole():
    for cls in (LayerwiseOptimizer, WithOverrides):
        names = {name for name in vars(cls) if name.startswith("_") and not name.endswith("__")}
        names = {name for name in names if hasattr(keras.optimizers.Optimizer, name)}
        assert names - {"_abc_impl"} == set(_private_api.OVERRIDDEN), cls


@pytest.mark.parametrize("steps", [None, 2])
def test_keras_calls_the_overrides(steps):
    optimizer = WithOverrides(weight_decay=0.5, gradient_accumulation_steps=steps)
    # Not 0.25: Keras's own decay does not come on top.
    np.testing.assert_allclose(applied(optimizer, 0.25, steps or 1), 0.75)
    assert sorted(set(optimizer.called)) == [(name, 1) for name in _private_api.OVERRIDDEN]
    # The control: without the override it does.
    np.testing.assert_allclose(applied(Overriding(weight_decay=0.5), 0.25), 0.25)


def test_what_decays_not_is_carried_over():
    """It is not in the config; that the new one then leaves it out, says its first update."""
    old = keras.optimizers.SGD(0.1, weight_decay=1.0)
    assert _private_api.decay_exclusions(old) is None
    kernel, bias = keras.Variable(np.ones(3)), keras.Variable(np.ones(3), name="bias")
    old.exclude_from_weight_decay(var_list=[kernel], var_names=["bias"])
    new = keras.optimizers.SGD(0.1, weight_decay=1.0)
    _private_api.set_decay_exclusions(new, _private_api.decay_exclusions(old))
    other = keras.Variable(np.ones(3))
    new.build([kernel, bias, other])
    decays = [_private_api.uses_weight_decay(new, each) for each in (kernel, bias, other)]
    assert decays == [False, False, True]


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="a newer Keras's")
def test_the_map_of_several_optimizers_is_what_was_passed():
    parts = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1))
    several = keras.optimizers.MultiOptimizer(parts)
    assert _private_api.optimizer_map(several) is parts
