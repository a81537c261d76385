"""Layer-wise optimizers in Keras: logging in `fit`, stateless training, and Keras's own options."""

import keras
import numpy as np
import pytest

from keras_bigbatch.optimizers import CBLR, LARS, MCLR, PercentDelta
from tests.optimizers.steps import assert_close, stepped, variables_of, weights_and_gradients
from tests.problems import BATCH, JIT, data, model_of, plain_layer, predicted, trained

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.filterwarnings("ignore:.*without weight decay")
FAST = {"learning_rate": 0.05, "trust_coefficient": 0.2, "weight_decay": 1e-3}
everyone = pytest.mark.parametrize("cls", [LARS, MCLR, PercentDelta, CBLR])


def kernels(model):
    return [v.path for v in model.trainable_variables if v.path.endswith("kernel")]


@everyone
@pytest.mark.parametrize("jit", JIT)
def test_ratios_can_be_logged_in_fit(cls, jit):
    seen = []

    class Log(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.optimizer.trust_ratios)

    model = trained(model_of(plain_layer()), cls(**FAST), jit=jit, callbacks=[Log()])
    assert all(list(each) == kernels(model) for each in seen)
    values = np.array([list(each.values()) for each in seen])
    assert np.isfinite(values).all()
    assert np.ptp(values, axis=0).min() > 0


def test_ratios_come_out_of_stateless_training():
    if BACKEND != "jax":
        pytest.skip("Keras refuses `stateless_apply` on TensorFlow and works in place on torch")
    weights, gradients = weights_and_gradients(1)
    variables = variables_of(weights)
    optimizer = LARS(**FAST)
    optimizer.build(variables)
    _, state = optimizer.stateless_apply(
        [v.value for v in optimizer.variables],
        [keras.ops.convert_to_tensor(each) for each in gradients[0].values()],
        [v.value for v in variables],
    )
    assert set(optimizer.trust_ratios.values()) == {1.0}
    for variable, value in zip(optimizer.variables, state, strict=True):
        variable.assign(value)
    other = LARS(**FAST)
    stepped(other, weights, gradients)
    np.testing.assert_allclose(
        list(optimizer.trust_ratios.values()), list(other.trust_ratios.values()), rtol=1e-6
    )


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.01},
        {"global_clipnorm": 0.01},
        {"clipvalue": 0.001},
        {"use_ema": True, "ema_momentum": 0.5},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"loss_scale_factor": 8.0},
    ],
    ids=str,
)
def test_options_of_keras_do_what_they_do_in_sgd(options):
    """Where nothing adapts the optimizer is SGD, so SGD shows what the option does."""
    ours = trained(model_of(plain_layer()), LARS(0.05, exclude=("",), **options))
    keras_own = trained(
        model_of(plain_layer()), keras.optimizers.SGD(0.05, momentum=0.9, **options)
    )
    for a, b in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_gradient_clipping_does_not_change_the_ratios_step():
    """The step is independent of the gradient's size, and excluded variables do feel it."""
    weights, gradients = weights_and_gradients(2)
    options = {"learning_rate": 0.05, "trust_coefficient": 0.2}
    plain = stepped(LARS(**options), weights, gradients)
    clipped = stepped(LARS(**options, global_clipnorm=1.0), weights, gradients)
    np.testing.assert_allclose(clipped["dense/kernel"], plain["dense/kernel"], rtol=1e-5)
    assert np.abs(clipped["dense/bias"] - plain["dense/bias"]).max() > 1e-3


@everyone
def test_accumulation_is_one_large_batch(cls):
    whole = trained(model_of(plain_layer()), cls(**FAST))
    optimizer = cls(**FAST, gradient_accumulation_steps=2)
    parts = trained(model_of(plain_layer()), optimizer, batch=BATCH // 2)
    x, _ = data()
    np.testing.assert_allclose(predicted(parts, x), predicted(whole, x), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        list(parts.optimizer.trust_ratios.values()),
        list(whole.optimizer.trust_ratios.values()),
        rtol=1e-2,
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_embeddings(momentum):
    model = keras.Sequential([keras.Input((3,), dtype="int32"), keras.layers.Embedding(7, 4)])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(1))
    start = model.get_weights()
    model.compile(LARS(**FAST, momentum=momentum, exclude=("bias",)), "mse")
    rng = np.random.default_rng(0)
    model.fit(rng.integers(0, 7, (32, 3)), rng.normal(size=32), verbose=0)
    assert all(np.isfinite(each).all() for each in model.get_weights())
    assert np.abs(model.get_weights()[0] - start[0]).max() > 0
    assert len(model.optimizer.trust_ratios) == 2


@pytest.mark.skipif(BACKEND == "torch", reason="Keras refuses steps_per_execution on torch")
def test_steps_per_execution():
    x, y = data()
    models = [model_of(plain_layer()) for _ in range(2)]
    for model, steps in zip(models, (1, 2), strict=True):
        model.compile(LARS(**FAST), "mse", steps_per_execution=steps)
        model.fit(x, y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_skipped_steps_leave_everything_as_it_was():
    weights, gradients = weights_and_gradients(1)
    inner = LARS(**FAST)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    bad = {path: value * np.float32(np.inf) for path, value in gradients[0].items()}
    assert_close(stepped(optimizer, weights, [bad]), weights, rtol=0, atol=0)
    assert set(inner.trust_ratios.values()) == {1.0}
    # The scale is halved by a step that is skipped.
    inner = LARS(**FAST)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    good = {path: value * np.float32(2) for path, value in gradients[0].items()}
    found = stepped(optimizer, weights, [bad, good])
    assert_close(found, stepped(LARS(**FAST), weights, gradients))
