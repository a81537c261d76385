"""LargeBatchModel: the noise, the discarding, and that nothing else changes."""

import keras
import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch.training import LargeBatchModel
from tests.problems import JIT

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 5)).astype("float32")
Y = RNG.normal(size=(24, 2)).astype("float32")


def plain_model(seed=1):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = layers.Input((5,))
    hidden = layers.Dense(4, "tanh", kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
    return keras.Model(inputs, layers.Dense(2)(hidden))


def large(seed=1, **options):
    plain = plain_model(seed)
    return LargeBatchModel(plain.inputs, plain.outputs, **options)


def one_step(model, x=X, y=Y, loss="mse", rate=0.1, **fit_options):
    """The change of the weights by one update of plain SGD."""
    model.compile(keras.optimizers.SGD(rate), loss)
    before = layer_weights(model)
    model.fit(x, y, batch_size=len(x), epochs=1, verbose=0, shuffle=False, **fit_options)
    return [(new - old) / rate for new, old in zip(layer_weights(model), before, strict=True)]


def layer_weights(model):
    """Copies, without the model's own counter."""
    return [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]


def sample_losses(model, x=X, y=Y):
    return np.mean((model.predict(x, verbose=0) - y) ** 2, axis=-1)


def assert_close(a, b, **tolerance):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})


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


def drawn_weights(samples, **options):
    """The weights of that many samples in one step, through the gradient of a row of each."""
    inputs = keras.layers.Input((), dtype="int32")
    rows = keras.layers.Embedding(samples, 1, embeddings_initializer="zeros")
    model = LargeBatchModel(inputs, rows(inputs), **options)
    model.compile(keras.optimizers.SGD(1.0), lambda y, prediction: prediction[..., 0])
    index = np.arange(samples)
    model.fit(index, index, batch_size=samples, epochs=1, verbose=0, shuffle=False)
    return -samples * model.get_weights()[0][:, 0].astype("float64")


def test_noise_has_the_mean_and_the_covariance_of_a_small_batch():
    """40 000 draws against the closed form: mean, and covariance cov(g) / B_S at a minimum."""
    large_batch, small_batch, draws = 32, 8, 40_000
    z = drawn_weights(large_batch * draws, gradient_noise=large_batch / small_batch - 1, seed=7)
    assert z.std() == pytest.approx(np.sqrt(3), rel=0.01)
    x = RNG.normal(size=(500, 3))
    y = x.sum(1) + RNG.normal(size=500)
    residual = y - x @ np.linalg.lstsq(x, y)[0]
    gradients = -2 * residual[:, None] * x  # Their sum is zero.
    drawn = np.einsum(
        "dm,dmp->dp",
        z.reshape(draws, large_batch) / large_batch,
        gradients[RNG.integers(0, 500, (draws, large_batch))],
    )
    assert np.all(np.abs(drawn.mean(0)) < 3 * drawn.std(0) / np.sqrt(draws))
    covariance = gradients.T @ gradients / 500
    assert np.trace(np.cov(drawn.T)) == pytest.approx(np.trace(covariance) / small_batch, rel=0.05)


def test_noise_is_seeded_and_new_in_each_step():
    def steps(seed):
        model = large(gradient_noise=3.0, seed=seed)
        return [one_step(model)[0], one_step(model)[0]]

    first, again, other = steps(1), steps(1), steps(2)
    assert_close(first, again, rtol=0, atol=0)
    assert np.abs(first[0] - other[0]).max() > 1e-3
    regular = one_step(plain_model())[0]
    assert np.abs(first[0] - regular).max() > 1e-3


def test_each_replica_draws_its_own(monkeypatch):
    """Under TensorFlow's and torch's replicas, which have the same state of the random numbers."""
    drawn = []
    for index in (0, 1):
        place = (index, 2)
        monkeypatch.setattr(_backend.active().replicas, "rank_and_count", lambda place=place: place)
        drawn.append(drawn_weights(4000, gradient_noise=3.0, seed=5))
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.06
    assert drawn[1].std() == pytest.approx(np.sqrt(3), rel=0.05)


def test_noise_and_discarding_together():
    both = drawn_weights(10_000, gradient_noise=3.0, discard_small_loss=0.3, seed=3)
    assert np.sum(both == 0) == 3000
    kept = both[both != 0]
    assert kept.mean() == pytest.approx(1 / 0.7, rel=0.05)
    assert kept.std() == pytest.approx(np.sqrt(3) / 0.7, rel=0.05)


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


OUTPUTS = ["list", "dictionary"]


def two_outputs(kind, **options):
    keras.utils.set_random_seed(2)
    inputs = keras.layers.Input((5,))
    first = keras.layers.Dense(2, name="first")(inputs)
    second = keras.layers.Dense(2, name="second")(inputs)
    outputs = [second, first] if kind == "list" else {"b": second, "a": first}
    if options:
        return LargeBatchModel(inputs, outputs, **options)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("kind", OUTPUTS)
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
