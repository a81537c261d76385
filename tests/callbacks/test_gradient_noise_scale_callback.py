"""The noise scale in the course of `fit`: when, of which weights, and how it is averaged."""

import json
import math

import keras
import numpy as np
import pytest

from keras_bigbatch.callbacks import GradientNoiseScale
from keras_bigbatch.diagnostics import gradient_noise_scale
from tests.callbacks.fits import dense_model, fit
from tests.diagnostics.models import everything_of

rng = np.random.default_rng(2)
X = rng.normal(size=(200, 6)).astype("float32")
Y = (X[:, :3] + rng.normal(size=(200, 3))).astype("float32")


def callback(**options):
    options = {"small_batch": 8, "large_batch": 64, "verbose": 0, **options}
    return GradientNoiseScale(X, Y, **options)


class WeightsAt(keras.callbacks.Callback):
    """The model's weights after each update."""

    def on_train_begin(self, logs=None):
        self.seen = {}

    def on_train_batch_begin(self, batch, logs=None):
        model = self.model
        self.seen[int(model.optimizer.iterations + 0)] = model.get_weights()

    def on_epoch_end(self, epoch, logs=None):
        self.on_train_batch_begin(0)


def estimate_at(weights, draws, **options):
    """As the callback's first measurement with this seed, by the function."""
    model = dense_model()
    model.set_weights(weights)
    return gradient_noise_scale(model, X, Y, 8, 64, draws=draws, mode="training", **options)


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [("epoch", [10, 20, 30]), ("log", [*range(1, 11), 13, 16, 20, 25, 30]), (8, None)],
)
def test_frequency(frequency, expected):
    noise = callback(frequency=frequency, draws=2, large_batch=16)
    history = fit(dense_model(), noise)
    assert noise.history["update"] == (expected or [8, 10, 16, 20, 24, 30])
    assert {len(column) for column in noise.history.values()} == {len(noise.history["update"])}
    logged = history.history["gradient_noise_scale"]
    at = [noise.history["update"].index(update) for update in (10, 20, 30)]
    np.testing.assert_array_equal(logged, [noise.history["noise_scale"][i] for i in at])


@pytest.mark.parametrize("frequency", ["epoch", 3])
def test_is_that_of_the_present_weights(frequency):
    noise, reference = callback(frequency=frequency, seed=4, draws=12), WeightsAt()
    fit(dense_model(), reference, noise, epochs=1)
    first = noise.history["update"][0]
    assert first == {"epoch": 10, 3: 3}[frequency]
    found = estimate_at(reference.seen[first], draws=12, seed=4)
    assert noise.history["trace"][0] == pytest.approx(found.trace, rel=1e-5)
    assert noise.history["gradient_norm_squared"][0] == pytest.approx(
        found.gradient_norm_squared, rel=1e-4
    )
    assert noise.history["noise_scale"][0] == pytest.approx(found.value, rel=1e-4)
    low, high = found.interval
    assert noise.history["low"][0] == pytest.approx(low, rel=1e-4)
    assert noise.history["high"][0] == pytest.approx(high, rel=1e-4)


def test_numerator_and_denominator_are_averaged_separately():
    noise = callback(frequency=2, smoothing=0.6, draws=12)
    fit(dense_model(), noise, epochs=1)
    trace = square = weight = 0.0
    for measured in zip(
        noise.history["trace"], noise.history["gradient_norm_squared"], strict=True
    ):
        trace, square = (
            0.6 * average + 0.4 * new
            for average, new in zip((trace, square), measured, strict=True)
        )
        weight = 0.6 * weight + 0.4
    assert len(noise.history["update"]) == 5
    assert noise.noise_scale.trace == pytest.approx(trace / weight, rel=1e-9)
    assert noise.noise_scale.gradient_norm_squared == pytest.approx(square / weight, rel=1e-9)
    assert noise.history["noise_scale"][-1] == noise.noise_scale.value
    assert noise.noise_scale.value == pytest.approx(trace / square, rel=1e-9)
    assert noise.noise_scale.draws == 60


def test_more_measurements_narrow_the_interval_as_their_number_says():
    """At a rate of zero all measure the same, and nine are as good as one of nine times."""
    sizes = {"small_batch": 16, "large_batch": 64}
    one, many = (
        callback(draws=90, **sizes),
        callback(draws=10, frequency=1, smoothing=0.999, **sizes),
    )
    model = dense_model(keras.optimizers.SGD(0.0))
    fit(model, one, many, epochs=1, steps=9)
    assert many.history["update"] == list(range(1, 10))
    widths = [
        (noise.history["high"][-1] - noise.history["low"][-1]) / noise.history["noise_scale"][-1]
        for noise in (one, many)
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.35)
    values = [noise.history["noise_scale"][-1] for noise in (one, many)]
    assert values[0] == pytest.approx(values[1], rel=widths[0])
    alone = callback(draws=10, frequency=3, smoothing=0, **sizes)
    fit(model, alone, epochs=1, steps=9)
    np.testing.assert_allclose(
        alone.history["noise_scale"],
        np.array(alone.history["trace"]) / alone.history["gradient_norm_squared"],
    )


def test_nan_where_there_is_no_telling():
    """All noise: random targets, and weights at the mean of them."""
    model = dense_model(keras.optimizers.SGD(0.0))
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    noise = GradientNoiseScale(X, Y - Y.mean(0), 4, 8, verbose=1)
    history = fit(model, noise, epochs=2)
    assert np.isnan(history.history["gradient_noise_scale"]).any()
    unknown = np.isnan(noise.history["noise_scale"])
    assert np.isinf(noise.history["high"])[unknown].all()
    assert np.isfinite(noise.history["low"]).all()


def test_weights_that_diverge_spoil_no_average():
    model = dense_model(keras.optimizers.SGD(0.1))

    class Diverge(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            weights = self.model.get_weights()
            factor = np.nan if epoch == 1 else 0.0
            if epoch:
                self.model.set_weights([np.nan_to_num(w) + factor for w in weights])

    noise = callback(draws=20)
    fit(model, Diverge(), noise)
    assert np.isfinite(noise.history["trace"]).tolist() == [True, False, True]
    assert noise.history["noise_scale"][1] == noise.history["noise_scale"][0]
    assert math.isfinite(noise.noise_scale.trace)


def test_accumulated_steps_are_one_update():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    noise = callback(frequency=2, draws=2, large_batch=16)
    fit(dense_model(optimizer), noise)
    assert noise.history["update"] == [2, 3, 4, 6, 8, 10]


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras takes one step a call there")
def test_steps_per_execution():
    noise = callback(frequency=6, draws=2, large_batch=16)
    fit(dense_model(steps_per_execution=4), noise)
    assert noise.history["update"] == [8, 10, 14, 18, 20, 24, 30]


def test_each_fit_starts_afresh_and_takes_the_new_loss():
    model = dense_model()
    noise = callback(draws=12)
    fit(model, noise, epochs=2)
    assert noise.history["update"] == [10, 20]
    model.compile(keras.optimizers.SGD(0.0), "mae")
    fit(model, noise, epochs=1)
    assert noise.history["update"] == [10]
    assert noise.noise_scale.draws == 12
    # A gradient of the mean error is as long everywhere, that of its square is not.
    expected = callback(draws=12)
    fit(model, expected, epochs=1)
    assert noise.history["trace"][0] == pytest.approx(expected.history["trace"][0], rel=0.3)


def test_training_is_the_same_to_the_bit_and_nothing_else_changes():
    def trained(*callbacks):
        keras.utils.set_random_seed(3)
        model = dense_model(keras.optimizers.Adam(1e-2), dropout=0.5)
        fit(model, *callbacks, shuffle=True)
        return model

    plain, watched = trained(), trained(callback(frequency=3, draws=2, large_batch=16))
    before, after = everything_of(plain), everything_of(watched)
    for key in ("values", "python", "numpy", *(["torch"] if "torch" in before else [])):
        assert before[key] == after[key], key


def test_history_is_json_and_is_drawn():
    plt = pytest.importorskip("matplotlib.pyplot")
    noise = callback(draws=12)
    fit(dense_model(), noise)
    assert json.loads(json.dumps(noise.history)) == noise.history
    noise.history["high"][1] = math.inf
    axes = noise.plot()
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), noise.history["noise_scale"])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert noise.plot(axes) is axes
    plt.close(axes.figure)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"small_batch": 0}, "`small_batch` must be a positive integer"),
        ({"large_batch": 6}, "at least twice"),
        ({"frequency": "batch"}, "`frequency` must be"),
        ({"draws": 1}, "`draws` must be 2 or more"),
        ({"smoothing": 1.0}, "`smoothing` must be less than 1"),
        ({"smoothing": -0.1}, "`smoothing` must be a finite number of 0 or more"),
        ({"mode": "test"}, "`mode` must be one of"),
        ({"verbose": "yes"}, "`verbose` must be 'auto', 0, 1 or 2"),
    ],
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        callback(**options)


def test_bad_data():
    with pytest.raises(ValueError, match="same number of samples"):
        GradientNoiseScale(X, Y[:-1])
    short = [(X[:10], Y[:10])]

    class Short(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return short[index]

    with pytest.raises(ValueError, match="fewer than 128 samples"):
        fit(dense_model(), GradientNoiseScale(Short(), small_batch=4, large_batch=64), epochs=1)
