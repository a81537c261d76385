"""ClipFirstUpdates: what is clipped, when, in which order, and that all else is delegated."""

import json

import keras
import numpy as np
import pytest

from keras_bigbatch.optimizers import LARS, ClipFirstUpdates
from tests.optimizers.steps import assert_close, stepped, variables_of, weights_and_gradients
from tests.problems import BATCH, JIT, data, model_of, plain_layer, predicted, trained

SGD = keras.optimizers.SGD
LossScaleOptimizer = keras.optimizers.LossScaleOptimizer


def clipped(gradients, norm):
    """NumPy's float64: the same gradients, cut to a global norm."""
    total = np.sqrt(sum((each.astype("float64") ** 2).sum() for each in gradients.values()))
    return {path: each * min(1.0, norm / total) for path, each in gradients.items()}


def test_clips_the_first_updates_only():
    weights, gradients = weights_and_gradients(5)
    found = stepped(ClipFirstUpdates(SGD(0.1), 2.0, updates=3), weights, gradients)
    kept = [clipped(each, 2.0) for each in gradients[:3]] + gradients[3:]
    expected = {p: w - 0.1 * sum(each[p] for each in kept) for p, w in weights.items()}
    assert_close(found, expected)


def test_is_keras_own_clipping_while_it_lasts():
    weights, gradients = weights_and_gradients(4)
    found = stepped(ClipFirstUpdates(SGD(0.1, 0.9), 2.0), weights, gradients)
    assert_close(found, stepped(SGD(0.1, 0.9, global_clipnorm=2.0), weights, gradients))


@pytest.mark.parametrize(("norm", "updates"), [(1e6, 1000), (0.1, 0)])
def test_changes_nothing_where_there_is_nothing_to_clip(norm, updates):
    weights, gradients = weights_and_gradients(4)
    found = stepped(ClipFirstUpdates(SGD(0.1, 0.9), norm, updates), weights, gradients)
    assert_close(found, stepped(SGD(0.1, 0.9), weights, gradients), rtol=0, atol=0)


def test_zero_gradients_stay_zero():
    weights, gradients = weights_and_gradients(1)
    zeros = [{path: 0 * value for path, value in gradients[0].items()}]
    assert_close(stepped(ClipFirstUpdates(SGD(0.1)), weights, zeros), weights, rtol=0, atol=0)


def test_counts_updates_and_clips_their_mean_gradient_under_accumulation():
    weights, gradients = weights_and_gradients(8)
    inner = SGD(0.1, gradient_accumulation_steps=2)
    found = stepped(ClipFirstUpdates(inner, 2.0, updates=2), weights, gradients)
    means = [
        {path: (a[path] + b[path]) / 2 for path in a}
        for a, b in zip(gradients[::2], gradients[1::2], strict=True)
    ]
    kept = [clipped(each, 2.0) for each in means[:2]] + means[2:]
    expected = {p: w - 0.1 * sum(each[p] for each in kept) for p, w in weights.items()}
    assert_close(found, expected)


def scaled_twice_over(gradients, scale):
    return [{path: value * np.float32(scale) for path, value in each.items()} for each in gradients]


@pytest.mark.parametrize("order", ["outside", "inside", "factor"])
def test_clips_what_has_been_unscaled(order):
    weights, gradients = weights_and_gradients(4)
    optimizer = {
        "outside": lambda: ClipFirstUpdates(LossScaleOptimizer(SGD(0.1), 1024.0), 2.0, updates=2),
        "inside": lambda: LossScaleOptimizer(ClipFirstUpdates(SGD(0.1), 2.0, updates=2), 1024.0),
        "factor": lambda: ClipFirstUpdates(SGD(0.1, loss_scale_factor=1024.0), 2.0, updates=2),
    }[order]()
    found = stepped(optimizer, weights, scaled_twice_over(gradients, 1024.0))
    kept = [clipped(each, 2.0) for each in gradients[:2]] + gradients[2:]
    expected = {p: w - 0.1 * sum(each[p] for each in kept) for p, w in weights.items()}
    assert_close(found, expected)


def test_skipped_updates_do_not_count():
    weights, gradients = weights_and_gradients(3)
    bad = {path: value * np.float32(np.inf) for path, value in gradients[0].items()}
    inner = LossScaleOptimizer(SGD(0.1), initial_scale=2.0)
    optimizer = ClipFirstUpdates(inner, 2.0, updates=1)
    found = stepped(optimizer, weights, [bad, gradients[1], gradients[2]])
    assert int(optimizer.iterations) == 2
    kept = [clipped(gradients[1], 2.0), gradients[2]]
    expected = {p: w - 0.1 * sum(each[p] for each in kept) for p, w in weights.items()}
    assert_close(found, expected)


def test_a_loss_is_not_scaled_twice():
    inner = ClipFirstUpdates(LossScaleOptimizer(SGD(0.1)))
    assert isinstance(inner, ClipFirstUpdates)
    assert isinstance(inner, LossScaleOptimizer)
    with pytest.raises(ValueError, match="scaled twice"):
        LossScaleOptimizer(inner)
    factor = SGD(0.1, loss_scale_factor=8.0)
    LossScaleOptimizer(ClipFirstUpdates(factor))
    assert factor.loss_scale_factor is None


@pytest.mark.parametrize("wrap", [False, True], ids=["compile-wraps", "wrapped-already"])
def test_fit_under_mixed_float16(wrap):
    keras.config.set_dtype_policy("mixed_float16")
    inner = SGD(0.05, momentum=0.9)
    inner = LossScaleOptimizer(inner, initial_scale=16.0) if wrap else inner
    model = trained(model_of(plain_layer()), ClipFirstUpdates(inner, 1.0, updates=4))
    keras.config.set_dtype_policy("float32")
    full = trained(model_of(plain_layer()), ClipFirstUpdates(SGD(0.05, momentum=0.9), 1.0, 4))
    assert isinstance(model.optimizer, LossScaleOptimizer)
    assert isinstance(model.optimizer, ClipFirstUpdates) == wrap
    if wrap:  # Otherwise the default scale overflows at first, and such steps are skipped.
        x, _ = data()
        assert np.abs(predicted(model, x) - predicted(full, x)).max() < 0.1


@pytest.mark.parametrize("jit", JIT)
def test_fit_equals_two_phases_of_keras_own(jit):
    model = trained(model_of(plain_layer()), ClipFirstUpdates(SGD(0.05), 0.5, updates=4), jit)
    # Four updates are one epoch here.
    other = model_of(plain_layer())
    x, y = data()
    for options in ({"global_clipnorm": 0.5}, {}):
        other.compile(SGD(0.05, **options), "mse")
        other.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_state_is_the_wrapped_optimizers():
    inner = LARS(0.1, gradient_accumulation_steps=2)
    optimizer = ClipFirstUpdates(inner, updates=7)
    optimizer.build(variables_of(weights_and_gradients(1)[0]))
    assert [id(v) for v in optimizer.variables] == [id(v) for v in inner.variables]
    optimizer.learning_rate = 0.25
    assert float(inner.learning_rate) == float(optimizer.learning_rate) == 0.25
    assert optimizer.inner_optimizer is inner
    assert optimizer.gradient_accumulation_steps == 2
    nested = ClipFirstUpdates(LossScaleOptimizer(LARS(0.1, gradient_accumulation_steps=3)))
    assert nested.gradient_accumulation_steps == 3
    values = [keras.ops.convert_to_numpy(v) + 1 for v in optimizer.variables]
    optimizer.set_weights(values)
    for variable, value in zip(inner.variables, values, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def test_averages_end_up_in_the_weights():
    averaged = {"use_ema": True, "ema_momentum": 0.5}
    model = trained(model_of(plain_layer()), ClipFirstUpdates(SGD(0.05, **averaged), 1e9))
    expected = trained(model_of(plain_layer()), SGD(0.05, **averaged))
    for a, b in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaled", [False, True])
def test_training_goes_on_from_a_file(scaled, tmp_path):
    inner = SGD(0.05, momentum=0.9)
    inner = LossScaleOptimizer(inner, initial_scale=16.0) if scaled else inner
    model = trained(model_of(plain_layer()), ClipFirstUpdates(inner, 0.5, updates=10))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(model.optimizer)
    assert int(loaded.optimizer.iterations) == 8
    x, y = data()
    for each in (model, loaded):
        each.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_config_is_json():
    optimizer = ClipFirstUpdates(LARS(0.1, exclude=("x",)), 3.0, 17, name="first")
    config = json.loads(json.dumps(optimizer.get_config()))
    assert ClipFirstUpdates.from_config(config).get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "sgd"}, "must be a Keras optimizer"),
        ({"optimizer": None}, "must be a Keras optimizer"),
        ({"global_clipnorm": 0}, "`global_clipnorm` must be"),
        ({"updates": -1}, "`updates` must be"),
        ({"updates": 1.5}, "`updates` must be"),
    ],
)
def test_bad_arguments_say_how_to_mend_them(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClipFirstUpdates(**{"optimizer": SGD(0.1), **arguments})
