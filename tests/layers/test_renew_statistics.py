"""Renewed statistics against a float64 oracle, in every kind of model and place."""

import keras
import numpy as np
import pytest

from keras_bigbatch import GhostBatchNormalization
from keras_bigbatch.layers import renew_statistics
from tests.layers.ghost_inputs import relative
from tests.oracles import ghost_batch_norm
from tests.user_warnings import assert_said_once, recorded

PLAIN = keras.layers.BatchNormalization
RNG = np.random.default_rng(3)


def statistics(norm):
    arrays = (norm.moving_mean, norm.moving_variance)
    return [keras.ops.convert_to_numpy(array.value).astype(np.float64) for array in arrays]


def assert_moments(norm, *parts, tolerance=1e-5):
    """That the statistics are those of all elements of the parts, whose channels are last."""
    elements = np.concatenate([np.asarray(p, np.float64).reshape(-1, p.shape[-1]) for p in parts])
    mean, variance = statistics(norm)
    deviation = elements.std(axis=0)
    # What is stored has float32's digits.
    rounding = np.spacing(np.abs(mean).astype("float32")) / 2
    assert np.all(np.abs(mean - elements.mean(axis=0)) <= tolerance * deviation + rounding)
    np.testing.assert_allclose(variance, elements.var(axis=0), rtol=tolerance, atol=1e-9)


def norm_of(kind, **options):
    return PLAIN(**options) if kind == "plain" else GhostBatchNormalization(4, **options)


@pytest.mark.parametrize("kind", ["plain", "ghost"])
def test_earlier_layers_normalize_as_in_training_and_moments_are_pooled(kind):
    """Images, three whole batches and a small one; far from zero, where float32 has few digits."""
    away = np.array([1e3, 1e3, 1e6])
    x = (RNG.normal(size=(53, 4, 5, 3)) * [1, 0.5, 2] + away).astype("float32")
    inputs = keras.Input(x.shape[1:])
    far, first, second = (norm_of(kind, name=name) for name in ("far", "first", "second"))
    # Exact: the digits are there. Keras's own batch norm has few of them so far from zero.
    hidden = first(keras.layers.Rescaling(1.0, offset=-away.astype("float32"))(inputs))
    dense = keras.layers.Dense(4)
    model = keras.Model(inputs, [far(inputs), second(dense(hidden))])
    first.gamma.assign([0.5, 1.5, 2.0])
    first.beta.assign([1.0, -1.0, 0.5])
    renew_statistics(model, x, batch_size=16, verbose=0)

    gamma, beta, kernel, bias = (
        keras.ops.convert_to_numpy(v.value).astype(np.float64)
        for v in (first.gamma, first.beta, dense.kernel, dense.bias)
    )
    hidden = []
    for start in range(0, 53, 16):
        batch = x[start : start + 16] - away
        size = len(batch) if kind == "plain" else 4
        hidden.append(ghost_batch_norm(batch, gamma, beta, size, 3, 1e-3)[0] @ kernel + bias)
    assert_moments(far, x)
    assert_moments(first, x - away)
    assert_moments(second, *hidden)


@pytest.mark.parametrize("kind", ["plain", "ghost"])
def test_masked_positions_are_left_out_and_calls_of_a_shared_layer_pooled(kind):
    short = RNG.normal(size=(10, 4, 3)).astype("float32") + 2
    short[3:7, 1:] = short[8] = 0  # masked: four samples from their second step on, one throughout
    long = 5 * RNG.normal(size=(10, 6, 3)).astype("float32")
    inputs = [keras.Input(each.shape[1:]) for each in (short, long)]
    norm = norm_of(kind)
    outputs = [norm(keras.layers.Masking()(inputs[0])), norm(inputs[1])]
    renew_statistics(keras.Model(inputs, outputs), [short, long], batch_size=4, verbose=0)
    assert_moments(norm, short[(short != 0).any(-1)], long)


@pytest.mark.parametrize("kind", ["plain", "ghost"])
def test_channels_first(kind):
    x = RNG.normal(size=(9, 3, 5)).astype("float32")
    norm = norm_of(kind, axis=1)
    renew_statistics(keras.Sequential([keras.Input((3, 5)), norm]), x, batch_size=8, verbose=0)
    assert_moments(norm, np.moveaxis(x, 1, -1))


class Holder(keras.layers.Layer):
    """A layer that makes a batch norm, which no config shows."""

    def __init__(self):
        super().__init__()
        self.norm = PLAIN()

    def call(self, inputs, training=None):
        return self.norm(inputs, training=training)


class Subclass(keras.Model):
    """Takes a dictionary; one norm squares its input before Keras's `call`, one has none."""

    class Squaring(PLAIN):
        def call(self, inputs, training=None, mask=None):
            return super().call(keras.ops.square(inputs), training=training, mask=mask)

    class Always(PLAIN):
        def call(self, inputs, training=None, mask=None):
            return super().call(inputs, training=False, mask=mask)

    def __init__(self):
        super().__init__()
        self.holder, self.time = Holder(), keras.layers.TimeDistributed(PLAIN())
        self.nested = keras.Sequential([keras.Sequential([GhostBatchNormalization(2)])])
        self.squaring, self.always = self.Squaring(), self.Always(name="always")
        self.frozen, self.inference = PLAIN(trainable=False), PLAIN(name="inference")

    def call(self, inputs, training=None):
        self.squaring(inputs["a"], training=training)
        outputs = self.holder(inputs["a"], training=training)
        outputs += self.nested(inputs["a"], training=training)
        for layer in (self.always, self.frozen):
            outputs += layer(inputs["a"], training=training)
        outputs += self.inference(inputs["a"], training=False)
        return outputs + keras.ops.mean(self.time(inputs["b"], training=training), axis=1)


def test_every_place_of_a_batch_norm():
    """In layers, wrappers and nested models; what does not go by its batch keeps its statistics."""
    data = {"a": RNG.normal(size=(7, 3)), "b": RNG.normal(size=(7, 2, 3)) + 4}
    data = {name: value.astype("float32") for name, value in data.items()}
    model = Subclass()
    model(data)
    kept = [model.always, model.frozen, model.inference]
    before = [statistics(norm) for norm in kept]
    with recorded() as said:
        renew_statistics(model, data, batch_size=4, verbose=0)
    assert_said_once(said, "stay as they were: always, inference.", __file__)
    assert_moments(model.holder.norm, data["a"])
    assert_moments(model.nested.layers[0].layers[0], data["a"])
    assert_moments(model.squaring, data["a"] ** 2)
    assert_moments(model.time.layer, data["b"])
    np.testing.assert_array_equal([statistics(norm) for norm in kept], before)


def test_inference_on_the_data_is_then_training():
    """Of any weights, at which nobody need have trained, if the data are one batch."""
    x = RNG.normal(size=(24, 3)).astype("float32")
    stack = [keras.layers.Dense(4), PLAIN(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,)), *stack])
    wanted = keras.ops.convert_to_numpy(model(x, training=True))
    assert relative(keras.ops.convert_to_numpy(model(x)), wanted) > 0.1
    renew_statistics(model, x, batch_size=24, verbose=0)
    assert relative(keras.ops.convert_to_numpy(model(x)), wanted) < 1e-5


def test_half_precision_is_pooled_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    x = (RNG.normal(size=(40, 3)) + 20).astype("float32")
    model = keras.Sequential([keras.Input((3,)), PLAIN(), GhostBatchNormalization(8)])
    renew_statistics(model, x, batch_size=16, verbose=0)
    assert model.layers[0].moving_mean.dtype == "float32"
    assert_moments(model.layers[0], x.astype("float16"))
    assert np.all(statistics(model.layers[1])[1] > 0.9)


@pytest.mark.parametrize("seed", [None, 1])
def test_dropout_draws_anew_for_each_batch(seed):
    x = np.ones((40, 3), "float32")
    stack = [keras.layers.Dropout(0.5, seed=seed), PLAIN(name="norm")]
    model = keras.Sequential([keras.Input((3,)), *stack])
    renew_statistics(model, x, batch_size=1, verbose=0)
    # Each channel is 0 or 2 in each batch.
    assert np.all(statistics(model.layers[-1])[1] > 0.5)


@pytest.mark.parametrize("eagerly", [True, False])
def test_compiled_and_eager(eagerly):
    x = RNG.normal(size=(20, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), PLAIN()])
    model.compile("sgd", "mse", run_eagerly=eagerly)
    renew_statistics(model, x, batch_size=8, verbose=0)
    assert_moments(model.layers[0], x)


def test_a_batch_is_of_whole_ghost_batches_by_default():
    x = RNG.normal(size=(300, 3)).astype("float32")
    first, second = GhostBatchNormalization(100), PLAIN()
    model = keras.Sequential([keras.Input((3,)), first, keras.layers.ReLU(), second])
    renew_statistics(model, x, verbose=0)
    outputs = [ghost_batch_norm(x[i : i + 200], 1, 0, 100, 1, 1e-3)[0] for i in (0, 200)]
    assert_moments(second, *(np.maximum(each, 0) for each in outputs))
