"""Keras's names that are not public do what `_private_api` says, on the version that runs.

The oldest Keras runs these tests too. A name that goes without an error would change results.
"""

import keras
import numpy as np
import pytest

from keras_bigbatch import _private_api
from keras_bigbatch.optimizers import LayerwiseOptimizer
from tests.problems import compiles

BACKEND = keras.backend.backend()
X, Y = np.linspace(-1, 1, 16, dtype="float32").reshape(8, 2), np.ones((8, 1), "float32")


def model_of(optimizer=None, **options):
    layers = [keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")]
    model = keras.Sequential(layers)
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", **options)
    return model


def fitted(model, **options):
    model.fit(X, Y, **{"batch_size": 4, "shuffle": False, "verbose": 0, **options})
    return model


def applied(optimizer, gradient=1.0, updates=1):
    """A variable of ones after updates with this gradient for each element."""
    variable = keras.Variable(np.ones(3, "float32"))
    for _ in range(updates):
        optimizer.apply([keras.ops.full((3,), gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)


# --- layers and models -----------------------------------------------------------------------


def test_layers_inside_a_layer_that_is_no_model_are_seen():
    inner = keras.layers.Dense(2)
    outer = keras.layers.TimeDistributed(inner)
    model = keras.Sequential([keras.Input((3, 2)), outer])
    assert inner not in model.layers
    found = _private_api.flatten_layers(model)
    assert found[0] is model
    assert found.index(outer) < found.index(inner)


def test_layers_that_are_called_for_their_shape_are_told_from_others():
    class Told(keras.layers.Layer):
        def call(self, inputs):
            told.append(_private_api.only_shapes_are_wanted())
            return inputs * 2

    told, layer = [], Told()
    layer(keras.Input((2,)))
    assert told
    assert all(told)
    told.clear()
    layer(X)
    assert told == [False]


def test_a_clone_is_not_compiled_while_the_original_passes_for_uncompiled():
    def unregistered(y, predicted):
        return keras.ops.mean(keras.ops.square(y - predicted), axis=-1)

    model = model_of()
    model.compile("sgd", unregistered)
    with _private_api.uncompiled([model]):
        assert not keras.models.clone_model(model).compiled
    assert model.compiled


def test_batch_norm_takes_the_moments_of_a_batch_in_training_only(monkeypatch):
    norm = keras.layers.BatchNormalization(axis=1)
    norm.build((8, 2))
    moments, calls = getattr(norm, _private_api.BATCH_MOMENTS), []

    def seen(inputs, mask):
        calls.append((inputs.shape, mask))
        return moments(inputs, mask)

    monkeypatch.setitem(vars(norm), _private_api.BATCH_MOMENTS, seen)
    norm(X, training=False)
    assert not calls
    norm(X, training=True)
    assert calls == [(X.shape, None)]


@compiles
def test_a_step_is_compiled_anew():
    """Without it the rate of the first schedule, 0, would stay in the step that was compiled."""
    schedule = keras.optimizers.schedules.ExponentialDecay
    model = fitted(model_of(keras.optimizers.SGD(schedule(0.0, 1, 1.0)), jit_compile=True))
    start = model.get_weights()
    model.optimizer.learning_rate = schedule(0.1, 1, 1.0)
    _private_api.forget_training_step(model)
    assert np.abs(fitted(model).get_weights()[0] - start[0]).max() > 1e-3


def test_functions_are_compiled_anew():
    """Without it `predict` would go on with the layer's old code."""
    model = fitted(model_of())
    before = model.predict(X, verbose=0)
    model.layers[0].activation = keras.ops.zeros_like
    _private_api.forget_functions(model)
    assert (model.predict(X, verbose=0) == 0).all()
    assert not (before == 0).all()


def test_a_shared_layer_is_at_each_of_its_places():
    shared = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((2,)), keras.Sequential([shared]), shared])
    assert _private_api.places(model).count(shared) == 2
    assert _private_api.flatten_layers(model).count(shared) == 1


def test_a_path_is_what_it_was_set_to():
    variable = keras.Variable(1.0)
    _private_api.set_path(variable, "mine/kernel")
    assert variable.path == "mine/kernel"


# --- fit -------------------------------------------------------------------------------------


def test_fit_starts_at_the_restored_epoch_until_it_is_taken_back():
    class Restore(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            _private_api.set_restored_epoch(self.model, 2)

    model = fitted(model_of(), epochs=3, callbacks=[Restore()])
    assert model.history.epoch == [2]
    _private_api.set_restored_epoch(model, None)
    assert fitted(model, epochs=3).history.epoch == [0, 1, 2]


def test_the_name_that_keras_own_backup_sets_is_the_one_that_is_read(tmp_path):
    path = tmp_path / "backup"
    model = model_of()

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise InterruptedError

    backup = keras.callbacks.BackupAndRestore(path)
    with pytest.raises(InterruptedError):
        fitted(model, epochs=4, callbacks=[backup, Interrupt()])
    found = []
    backup = keras.callbacks.BackupAndRestore(path)
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: found.append(_private_api.restored_epoch(model))
    )
    fitted(model, epochs=4, callbacks=[backup, look])
    assert model.history.epoch == list(range(found[0], 4))
    assert found[0] >= 1


def test_an_unknown_name_is_an_error_and_no_start_at_zero():
    with pytest.raises(AttributeError, match="_initial_epoch"):
        _private_api.set_restored_epoch(keras.layers.Dense(1), 2)


def test_averages_are_held_back_until_the_end():
    def after(context):
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
        model = model_of(optimizer)
        with context(optimizer):
            fitted(model)
        held = model.get_weights()[0]
        optimizer.finalize_variable_values(model.trainable_weights)
        return held, model.get_weights()[0]

    held, averaged = after(_private_api.averages_held_back)
    plain = fitted(model_of()).get_weights()[0]
    np.testing.assert_allclose(held, plain, rtol=1e-6)
    assert np.abs(held - averaged).max() > 1e-3


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere the variables have their values")
def test_the_trainer_of_jax_shows_what_it_holds():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            # Not `self.model`, which synchronizes.
            state = _private_api.trainer_state(model)
            held = [*state["trainable_variables"], *state["optimizer_variables"]]
            model.jax_state_sync()
            variables = [*model.trainable_variables, *model.optimizer.variables]
            for value, variable in zip(held, variables, strict=True):
                np.testing.assert_array_equal(value, variable.value)
            seen.append(_private_api.trainer_state(model))

    model = model_of()
    fitted(model, callbacks=[Look()])
    assert seen == [None, None]
    assert _private_api.trainer_state(model) is None


def test_without_the_names_the_caller_synchronizes():
    assert _private_api.trainer_state(object()) is None


# --- optimizers ------------------------------------------------------------------------------


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
