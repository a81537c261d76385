"""LargeBatchModel as a model: evaluation, precision, files, arguments."""

import keras
import numpy as np
import pytest

from keras_bigbatch.training import LargeBatchModel
from tests.problems import JIT
from tests.training.large_batch import (
    X,
    Y,
    assert_close,
    large,
    one_step,
    plain_model,
)

RNG = np.random.default_rng(1)


def test_regularization_is_not_weighed():
    def penalty(**options):
        model = large(**options)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        quiet = np.repeat(X[:1], 24, 0)
        exact = model.predict(quiet, verbose=0)  # The data has no loss: only the penalty is left.
        return one_step(model, quiet, exact)

    assert_close(penalty(gradient_noise=100.0, discard_small_loss=0.5), penalty())


def test_evaluation_and_metrics_are_the_plain_models_to_the_bit():
    metrics = {"metrics": ["mae"], "weighted_metrics": ["mse"]}
    weight = RNG.uniform(0, 2, len(X)).astype("float32")
    results = []
    for model in (plain_model(), large(gradient_noise=9.0, discard_small_loss=0.5)):
        model.compile(keras.optimizers.SGD(0.0), "mse", **metrics)
        history = model.fit(
            X, Y, sample_weight=weight, batch_size=8, validation_data=(X, Y, weight), verbose=0
        ).history
        validated = {name: value for name, value in history.items() if name.startswith("val_")}
        evaluated = model.evaluate(X, Y, sample_weight=weight, verbose=0)
        results.append((validated, evaluated, [history["mae"], history["mse"]]))
    assert len(results[0][0]) == 3
    assert results[0][:2] == results[1][:2]
    # Of another compiled step, so equal to rounding.
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-6)


@pytest.mark.parametrize("jit", JIT)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_trains_in_mixed_precision(policy, jit):
    keras.config.set_dtype_policy(policy)
    model = large(gradient_noise=1.0, discard_small_loss=0.3, discard_updates=4)
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit)
    history = model.fit(X, Y, batch_size=7, epochs=5, verbose=0).history["loss"]
    assert np.all(np.isfinite(history))


def test_comes_back_with_its_layers_and_counters(tmp_path):
    model = large(gradient_noise=1.0, discard_small_loss=0.3, discard_updates=4, seed=3)
    one_step(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is LargeBatchModel
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    configs = [one.get_config() for one in (loaded, model)]
    layers = [config.pop("model")["config"]["layers"] for config in configs]
    assert configs[0] == configs[1]
    assert len(layers[0]) == len(layers[1])
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loaded_model_goes_on_where_it_was(tmp_path):
    model = large(discard_small_loss=0.5, discard_updates=2)
    one_step(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert int(loaded.training_steps) == 1
    for trained in (model, loaded):
        trained.fit(X, Y, batch_size=24, epochs=3, verbose=0, shuffle=False)
    assert_close(loaded.get_weights(), model.get_weights())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient_noise": -1}, "large_batch / small_batch - 1"),
        ({"gradient_noise": "3"}, "`gradient_noise` must be"),
        ({"discard_small_loss": 1.0}, "0.3 for 30 %"),
        ({"discard_small_loss": 30}, "0.3 for 30 %"),
        ({"discard_small_loss": -0.1}, "fraction"),
        ({"discard_small_loss": 0.3, "discard_updates": 0}, "positive integer"),
        ({"discard_updates": 10}, "needs a `discard_small_loss`"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        large(**options)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "needs a `loss`"),
        (keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"), "sum_over_batch"),
        (["mse", "mse"], "outputs"),
    ],
)
def test_losses_without_samples(loss, message):
    with pytest.raises(ValueError, match=message):
        large(gradient_noise=1.0).compile("sgd", loss)


def test_a_loss_that_is_one_number():
    model = large(gradient_noise=1.0)
    model.compile("sgd", lambda y, prediction: keras.ops.mean(prediction))
    with pytest.raises(ValueError, match="one number for the whole batch"):
        model.fit(X, Y, verbose=0)
