"""Each layer's gradient and step beside NumPy's, in `fit`, and which layer is stuck."""

import json

import keras
import numpy as np
import pytest

from keras_bigbatch.callbacks import LayerStrides
from keras_bigbatch.callbacks._layer_numbers import GradientNumbers, LayerParts, radius
from tests.callbacks.fits import fit
from tests.diagnostics.models import X, Y, dense, everything_of, flat_weights, numpy_gradient

WIDTH = 12
# The two layers' parts of the flat vector: kernel and bias each.
PARTS = {"dense": slice(0, 5 * WIDTH), "dense_1": slice(5 * WIDTH, None)}


def trained(*callbacks, optimizer=None, epochs=2, batch=10, **compile_arguments):
    """Two epochs of 5 updates."""
    model = dense(WIDTH)
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", **compile_arguments)
    history = model.fit(
        X, Y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks)
    )
    return model, history.history


class WeightsAt(keras.callbacks.Callback):
    """The flat weights after each update."""

    def on_train_begin(self, logs=None):
        self.seen = {}

    def on_train_batch_begin(self, batch, logs=None):
        model = self.model
        self.seen[int(model.optimizer.iterations + 0)] = flat_weights(model)

    def on_epoch_end(self, epoch, logs=None):
        self.on_train_batch_begin(0)


def layers_of(strides):
    """Under the names of a model that is the first of its process."""
    return dict(zip(PARTS, strides.history["layers"].values(), strict=True))


def last(strides, column):
    return [values[column][-1] for values in strides.history["layers"].values()]


# --- the numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_numbers_are_those_of_numpy(optimizer):
    reference = WeightsAt()
    strides = LayerStrides(X, Y, batch_size=8, frequency=1, batches=4, seed=3)
    trained(reference, strides, optimizer=optimizer(0.05))
    assert strides.history["update"] == list(range(1, 11))
    assert list(strides.history["layers"]) == sorted(strides.history["layers"])
    random = np.random.default_rng(3)
    for at, update in enumerate(strides.history["update"]):
        before, after = reference.seen[update - 1], reference.seen[update]
        rows = [random.integers(len(X), size=8) for _ in range(4)]
        gradients = np.array([numpy_gradient(before, WIDTH, X[r], Y[r])[1] for r in rows])
        step = after - before
        for name, part in PARTS.items():
            g, d, w = gradients[:, part], step[part], before[part]
            ratios = np.median(np.abs(w / g), axis=1)
            noise = ((g - g.mean(0)) ** 2).sum() / 3
            signal = max((g.mean(0) ** 2).sum() - noise / 4, 0)
            expected = {
                "gradient": np.abs(g).mean(),
                "squared_gradient": (g**2).mean(),
                "stride": np.abs(d).mean(),
                "relative_stride": np.abs(d).mean() / np.abs(w).mean(),
                "loss_stride": -(g.mean(0) * d).sum(),
                "radius": np.median(ratios),
                "signal": np.sqrt(signal / noise),
            }
            found = {column: values[at] for column, values in layers_of(strides)[name].items()}
            assert found == pytest.approx(expected, rel=2e-3, abs=1e-6), (update, name)


def test_plain_gradient_steps_on_all_data_are_the_papers():
    """One batch of all samples, in the data's order: the stride is rate times gradient."""

    class Whole(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return X, Y

    strides = LayerStrides(Whole(), batch_size=len(X), frequency=1)
    reference = WeightsAt()
    _, history = trained(strides, reference, batch=len(X), epochs=6)
    descent = np.zeros(6)
    for (name, values), part in zip(layers_of(strides).items(), PARTS.values(), strict=True):
        size = len(reference.seen[0][part])
        np.testing.assert_allclose(
            values["stride"], 0.1 * np.array(values["gradient"]), rtol=1e-3, err_msg=name
        )
        # The sum over the layer, and the mean over its weights.
        np.testing.assert_allclose(
            values["loss_stride"], 0.1 * size * np.array(values["squared_gradient"]), rtol=1e-3
        )
        assert np.isnan(values["signal"]).all()
        descent += values["loss_stride"]
    # To first order, what the loss falls by.
    np.testing.assert_allclose(descent[:-1], -np.diff(history["loss"]), rtol=0.2)


@pytest.mark.parametrize("samples", [16, 64])
def test_mean_gradient_of_pure_noise_has_the_corrected_constant(samples):
    """`sigma * sqrt(2 / (pi * n))`, where the paper has `2 * sigma / sqrt(pi * n)`."""
    random = np.random.default_rng(0)
    kernel = keras.Variable(np.ones((200, 100)), name="kernel")
    parts = LayerParts([kernel])
    noise = (random.normal(0, 2, (samples, 20_000)).mean(0) for _ in range(5))
    found = GradientNumbers(parts, np.ones(20_000), noise)
    assert found.gradient[0] == pytest.approx(2 * np.sqrt(2 / (np.pi * samples)), rel=0.01)
    assert found.signal[0] < 0.05
    strong = (1 + random.normal(0, 2, 20_000) for _ in range(5))
    assert GradientNumbers(parts, np.ones(20_000), strong).signal[0] == pytest.approx(0.5, rel=0.05)


def test_radius_of_weights_without_a_gradient_is_infinite():
    weights = np.array([3.0, -2.0, 0.0, 5.0, 1.0])
    assert radius(weights, np.array([1.0, 1.0, 1.0, -1.0, 1.0])) == 2
    assert radius(weights, np.array([1.0, 0.0, 0.0, 0.0, 1.0])) == np.inf
    assert radius(np.zeros(3), np.zeros(3)) == np.inf
    assert radius(np.float32([1, 1, 1]), np.float32([1e-44, 1e-44, 1])) == np.inf


# --- when ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ("epoch", [1, 6, 11, 16]),
        ("log", [*range(1, 12), 13, 16, 20]),
        (3, [1, 3, 6, 9, 11, 12, 15, 16, 18]),
        (5, [1, 5, 6, 10, 11, 15, 16, 20]),
    ],
)
def test_frequency(frequency, expected):
    strides = LayerStrides(X, Y, 8, frequency, batches=1)
    _, history = trained(strides, epochs=4)
    assert strides.history["update"] == expected
    relative = np.array([v["relative_stride"] for v in strides.history["layers"].values()])
    ends = [max(i for i, u in enumerate(expected) if u <= 5 * e) for e in range(1, 5)]
    np.testing.assert_allclose(history["relative_stride"], np.median(relative, axis=0)[ends])
    np.testing.assert_allclose(history["least_relative_stride"], relative.min(axis=0)[ends])


@pytest.mark.parametrize(("frequency", "expected"), [(1, [1, 2, 3, 4, 5]), ("epoch", [1, 3])])
def test_accumulated_steps_are_one_update(frequency, expected):
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    strides, reference = LayerStrides(X, Y, 8, frequency, batches=2), WeightsAt()
    trained(strides, reference, optimizer=optimizer)
    # Five steps an epoch: the third update is of both epochs, and measured in the second.
    assert strides.history["update"] == expected
    for at, update in enumerate(expected):
        step = reference.seen[update] - reference.seen[update - 1]
        for name, part in PARTS.items():
            found = layers_of(strides)[name]["stride"][at]
            assert found == pytest.approx(np.abs(step[part]).mean(), rel=1e-4)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras takes one step a call there")
def test_steps_per_execution_divide_the_way():
    strides, reference = LayerStrides(X, Y, 8, 1, batches=2), WeightsAt()
    trained(strides, reference, steps_per_execution=2)
    assert strides.history["update"] == [2, 4, 5, 7, 9, 10]
    step = (reference.seen[4] - reference.seen[2]) / 2
    expected = [np.abs(step[part]).mean() for part in PARTS.values()]
    found = [values["stride"][1] for values in strides.history["layers"].values()]
    assert found == pytest.approx(expected, rel=1e-4)


def test_epoch_without_an_update_logs_nan():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=8)
    strides = LayerStrides(X, Y, 8)
    _, history = trained(strides, optimizer=optimizer)
    assert np.isnan(history["relative_stride"]).tolist() == [True, False]
    assert strides.history["update"] == [1]


def test_what_happens_between_epochs_is_no_stride():
    class Shake(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model = self.model
            model.set_weights([weight + 10 for weight in model.get_weights()])

    strides = LayerStrides(X, Y, 8, 1)
    trained(strides, Shake(), optimizer=keras.optimizers.SGD(1e-6))
    assert strides.history["update"] == list(range(1, 11))
    assert max(max(values["stride"]) for values in strides.history["layers"].values()) < 1


# --- which layer -----------------------------------------------------------------------------


def test_a_layer_with_a_small_gradient_is_stuck():
    layers = keras.layers
    slow = layers.Rescaling(1e-4)
    inputs = outputs = keras.Input((6,))
    for name in ("first", "second", "third", "fourth"):
        following = layers.Dense(3, name=name)(outputs)
        # What comes of it is added in so small a part that its gradient is small as well.
        outputs = outputs + slow(following) if name == "second" else following
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 6)), rng.normal(size=(64, 3))
    strides = LayerStrides(x, y, batch_size=16)
    assert strides.table() == "No update has been measured yet."
    assert strides.stuck() == []
    fit(model, strides)
    assert strides.stuck() == ["second"]
    table = strides.table().splitlines()
    assert table[0].split()[0] == "layer"
    assert [line.split()[0] for line in table[1:-1]] == ["first", "second", "third", "fourth"]
    assert [line.endswith("stuck") for line in table[1:-1]] == [False, True, False, False]
    assert table[-1] == f"update {strides.history['update'][-1]}"
    # Of the same layer the radius is the largest.
    assert np.argmax(last(strides, "radius")) == 1


# --- the rest --------------------------------------------------------------------------------


def test_training_is_the_same_to_the_bit_and_nothing_else_changes():
    def run(*callbacks):
        keras.utils.set_random_seed(3)
        model, _ = trained(*callbacks, optimizer=keras.optimizers.Adam(1e-2))
        return everything_of(model)

    plain, watched = run(), run(LayerStrides(X, Y, 8, 2))
    for key in ("values", "python", "numpy", *(["torch"] if "torch" in plain else [])):
        assert plain[key] == watched[key], key


def test_each_fit_starts_afresh():
    strides = LayerStrides(X, Y, 8)
    trained(strides)
    trained(strides, epochs=1)
    assert strides.history["update"] == [1]
    assert all(len(values["stride"]) == 1 for values in strides.history["layers"].values())


def test_history_is_json_and_is_drawn():
    plt = pytest.importorskip("matplotlib.pyplot")
    strides = LayerStrides(X, Y, 8)
    trained(strides)
    assert json.loads(json.dumps(strides.history)) == strides.history
    axes = strides.plot("radius")
    assert axes.get_ylabel() == "radius"
    labels = [line.get_label() for line in axes.lines]
    assert labels == list(strides.history["layers"])
    np.testing.assert_array_equal(
        axes.lines[0].get_ydata(), strides.history["layers"][labels[0]]["radius"]
    )
    assert strides.plot(ax=axes) is axes
    plt.close(axes.figure)
    with pytest.raises(ValueError, match="`column` must be one of"):
        strides.plot("speed")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"batches": 0}, "`batches` must be a positive integer"),
        ({"frequency": "batch"}, "`frequency` must be"),
        ({"mode": "test"}, "`mode` must be one of"),
    ],
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        LayerStrides(X, Y, **options)


def test_bad_data():
    with pytest.raises(ValueError, match="same number of samples"):
        LayerStrides(X, Y[:-1])

    class Short(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return X[:5], Y[:5]

    with pytest.raises(ValueError, match="a whole batch or more"):
        trained(LayerStrides(Short(), batch_size=8))
