"""The discarding of LargeBatchModel: which samples are kept, with any loss and any outputs."""

import keras
import numpy as np
import pytest

from keras_bigbatch.training import LargeBatchModel
from tests.training.large_batch import (
    X,
    Y,
    assert_close,
    large,
    layer_weights,
    one_step,
    plain_model,
    sample_losses,
)

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.04, 0.9])
def test_discarding_is_the_gradient_of_the_kept_samples(fraction):
    losses = sample_losses(plain_model())
    kept = np.sort(np.argsort(losses)[int(np.floor(fraction * len(X) + 1e-9)) :])
    expected = one_step(plain_model(), X[kept], Y[kept])
    assert_close(one_step(large(discard_small_loss=fraction)), expected)


def test_ten_percent_steps_of_ten_samples_are_whole():
    losses = sample_losses(plain_model(), X[:10], Y[:10])
    for tenths in range(1, 10):
        kept = np.argsort(losses)[tenths:]
        step = one_step(large(discard_small_loss=tenths / 10), X[:10], Y[:10])
        assert_close(step, one_step(plain_model(), X[kept], Y[kept]))


def test_equal_losses_still_lose_exactly_the_fraction():
    x, y = np.repeat(X[:1], 8, 0), np.repeat(Y[:1], 8, 0)
    assert_close(
        one_step(large(discard_small_loss=0.5), x, y), one_step(plain_model(), x[:1], y[:1])
    )


def test_sample_weights_choose_and_multiply():
    weight = RNG.uniform(0, 2, len(X)).astype("float32")
    kept = np.argsort(sample_losses(plain_model()) * weight)[12:]
    expected = one_step(plain_model(), X[kept], Y[kept], sample_weight=weight[kept])
    assert_close(one_step(large(discard_small_loss=0.5), sample_weight=weight), expected)


def test_class_weights():
    labels = np.arange(24) % 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classes = {0: 1.0, 1: 0.25}
    weight = np.where(labels == 1, 0.25, 1.0)
    logits = plain_model().predict(X, verbose=0)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(24), labels]
    kept = np.argsort(losses * weight)[6:]
    expected = one_step(plain_model(), X[kept], labels[kept], loss=loss, sample_weight=weight[kept])
    model = large(discard_small_loss=0.25)
    assert_close(one_step(model, X, labels, loss=loss, class_weight=classes), expected)


@pytest.mark.parametrize("accumulation", [None, 2])
def test_discards_in_the_first_updates_only(accumulation):
    def weights(model):
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulation)
        model.compile(optimizer, "mse")
        points = []
        for _ in range(4 * (accumulation or 1)):
            model.fit(X, Y, batch_size=24, epochs=1, verbose=0)
            points.append(layer_weights(model))
        return points[(accumulation or 1) - 1 :: accumulation or 1]

    some = weights(large(discard_small_loss=0.5, discard_updates=2))
    always = weights(large(discard_small_loss=0.5))
    assert_close(some[1], always[1], atol=1e-7)
    plain = plain_model()
    plain.set_weights(some[1])
    assert_close(some[3], weights(plain)[1])
    assert np.abs(some[2][0] - always[2][0]).max() > 1e-4


def two_outputs(kind, **options):
    keras.utils.set_random_seed(2)
    inputs = keras.layers.Input((5,))
    first = keras.layers.Dense(2, name="first")(inputs)
    second = keras.layers.Dense(2, name="second")(inputs)
    outputs = [second, first] if kind == "list" else {"b": second, "a": first}
    if options:
        return LargeBatchModel(inputs, outputs, **options)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("kind", ["list", "dictionary"])
def test_several_outputs_keep_the_same_samples(kind):
    other = RNG.normal(size=(24, 2)).astype("float32")
    plain = two_outputs(kind)
    if kind == "list":
        y, loss, weights = [Y, other], ["mse", "mae"], [1.0, 3.0]
        predicted = plain.predict(X, verbose=0)
    else:
        y, loss, weights = {"a": other, "b": Y}, {"a": "mae", "b": "mse"}, {"a": 3.0, "b": 1.0}
        predicted = [plain.predict(X, verbose=0)[key] for key in "ba"]
    losses = np.mean((predicted[0] - Y) ** 2, 1) + 3 * np.mean(np.abs(predicted[1] - other), 1)
    kept = np.argsort(losses)[12:]

    def step(model, x, y):
        model.compile(keras.optimizers.SGD(0.1), loss, loss_weights=weights)
        model.fit(x, y, batch_size=len(x), epochs=1, verbose=0, shuffle=False)
        return model.get_weights()[:4]

    expected = step(plain, X[kept], keras.tree.map_structure(lambda part: part[kept], y))
    assert_close(step(two_outputs(kind, discard_small_loss=0.5), X, y), expected)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_an_output_without_a_loss():
    model = two_outputs("list", discard_small_loss=0.5)
    model.compile("sgd", [None, "mse"])
    model.fit(X, [Y, Y], batch_size=24, verbose=0)
    assert np.all(np.isfinite(model.get_weights()[0]))


def test_sequences_with_masks():
    """[B, T, C] predictions, where a masked step counts nothing for the choice."""
    x = RNG.integers(1, 9, size=(12, 6))
    x[:, 4:] = 0
    y = RNG.normal(size=(12, 6, 1)).astype("float32")
    y[:, 4:] = 1e3 * np.arange(12)[::-1, None, None]  # Would turn the order of the losses round.

    def model(cls, **options):
        keras.utils.set_random_seed(4)
        inputs = keras.layers.Input((6,), dtype="int32")
        embedded = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
        return cls(inputs, keras.layers.Dense(1)(embedded), **options)

    plain = model(keras.Model)
    values = np.mean((plain.predict(x, verbose=0)[:, :4] - y[:, :4]) ** 2, axis=(1, 2))
    kept = np.argsort(values)[6:]
    expected = one_step(plain, x[kept], y[kept])
    assert_close(one_step(model(LargeBatchModel, discard_small_loss=0.5), x, y), expected)
