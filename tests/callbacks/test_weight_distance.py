"""WeightDistance against NumPy in real fits, and its promises: no effect, true updates."""

import json

import keras
import numpy as np
import pytest

from keras_bigbatch import WeightDistance, _backend
from tests.callbacks.fits import SlowReference, assert_like_reference, dense_model, fit

BACKEND = keras.backend.backend()
compiled = pytest.mark.skipif(
    BACKEND == "torch", reason="Keras has no steps_per_execution, and no quick jit, on torch"
)


def test_whole_trainable_vector_in_a_real_fit():
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(4, 3, name="convolution"),
            layers.BatchNormalization(name="norm"),  # The moving statistics do not count.
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(8, name="frozen", trainable=False),
            layers.Dense(300, name="wide"),
            layers.Dense(5, name="output"),
        ],
        name="net",
    )
    model.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(True))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 8, 8, 2)), rng.integers(0, 5, 60)
    callback, reference = WeightDistance(per_layer=True), SlowReference()
    history = model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[callback, reference])

    log_spaced = [*range(1, 11), 13, 16, 20, 25, 32, 40]
    assert callback.history["update"] == sorted({*log_spaced, 15, 30, 45})
    assert_like_reference(callback, reference)
    at_ends = [reference.distance(update) for update in (15, 30, 45)]
    np.testing.assert_allclose(history.history["weight_distance"], at_ends, rtol=1e-6)

    names = ["convolution", "norm", "wide", "output"]
    assert [path.rpartition("/")[2] for path in callback.history["layers"]] == names
    for layer, distances in callback.history["layers"].items():
        expected = [reference.distance(update, layer) for update in callback.history["update"]]
        np.testing.assert_allclose(distances, expected, rtol=1e-6)
    squares = sum(np.square(part) for part in callback.history["layers"].values())
    np.testing.assert_allclose(callback.history["distance"], np.sqrt(squares), rtol=1e-12)
    assert json.loads(json.dumps(callback.history)) == callback.history


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ("log", [*range(1, 11), 13, 16, 20, 25, 30]),
        ("epoch", [10, 20, 30]),
        (7, [7, 10, 14, 20, 21, 28, 30]),
    ],
)
def test_frequency(frequency, expected):
    callback, reference = WeightDistance(frequency), SlowReference()
    fit(dense_model(), callback, reference)
    assert callback.history["update"] == expected
    assert_like_reference(callback, reference)


@pytest.mark.parametrize(("frequency", "expected"), [("log", range(1, 11)), (4, (3, 4, 6, 8, 10))])
def test_accumulated_steps_are_one_update(frequency, expected):
    # 10 micro-steps an epoch: the ends of the first two fall between updates.
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    callback, reference = WeightDistance(frequency), SlowReference()
    fit(dense_model(optimizer), callback, reference)
    assert callback.history["update"] == list(expected)
    assert_like_reference(callback, reference)


@compiled
@pytest.mark.parametrize(
    ("frequency", "expected"),
    [(1, [4, 8, 10, 14, 18, 20, 24, 28, 30]), (15, [10, 18, 20, 30])],
)
def test_steps_per_execution_records_the_update_it_reached(frequency, expected):
    callback, reference = WeightDistance(frequency), SlowReference()
    fit(dense_model(steps_per_execution=4), callback, reference)
    assert callback.history["update"] == expected
    assert_like_reference(callback, reference)


@compiled
def test_jit_compile():
    callback, reference = WeightDistance(), SlowReference()
    fit(dense_model(jit_compile=True), callback, reference)
    assert_like_reference(callback, reference)


@pytest.mark.parametrize("accumulation", [None, 2])
def test_skipped_steps_of_mixed_float16_are_no_updates(accumulation):
    keras.config.set_dtype_policy("mixed_float16")
    inner = keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulation)
    # Overflows float16 until it has been halved some times.
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**22)
    callback, reference = WeightDistance(1), SlowReference()
    fit(dense_model(optimizer), callback, reference)
    made = int(optimizer.iterations)
    assert 30 // (accumulation or 1) - 12 < made < 30 // (accumulation or 1)
    assert callback.history["update"] == list(range(1, made + 1))
    assert_like_reference(callback, reference)


def test_epoch_without_an_update_is_logged_but_has_no_point():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=8)
    callback = WeightDistance()
    history = fit(dense_model(optimizer), callback, steps=5, epochs=3)
    assert history.history["weight_distance"][0] == 0.0
    assert callback.history["update"] == [1]  # The third epoch's end has no new update.


@pytest.mark.parametrize("accumulation", [None, 4])
def test_reads_nothing_between_measurements(monkeypatch, accumulation):
    reads = []
    meter = _backend.active().weights.WeightMeter
    updates = meter.updates
    monkeypatch.setattr(meter, "updates", lambda self: reads.append(1) or updates(self))
    callback = WeightDistance()
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulation)
    fit(dense_model(optimizer), callback, steps=150, epochs=2)
    # One a measurement, one an epoch's begin, and one for the file of an earlier run.
    assert len(reads) == len(callback.history["update"]) + 3
    # To override this one would take asynchronous dispatch from all callbacks of the list.
    assert "on_train_batch_end" not in vars(WeightDistance)


@pytest.mark.parametrize("kind", ["plain", "scaled", "accumulated", "several steps a call"])
def test_without_callbacks_that_synchronize(kind):
    """`SlowReference` makes JAX's trainer fill the variables; alone, the callback does without."""

    several = kind == "several steps a call"
    if several and keras.backend.backend() == "torch":
        pytest.skip("Keras on torch takes one step a call")

    def distances(*callbacks):
        keras.utils.set_random_seed(5)
        optimizer = keras.optimizers.SGD(
            0.1, momentum=0.9, gradient_accumulation_steps=2 if kind == "accumulated" else None
        )
        if kind == "scaled":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model = dense_model(optimizer, steps_per_execution=3 if several else 1)
        callback = WeightDistance(1)
        fit(model, callback, *callbacks, steps=12, epochs=2)
        return callback.history

    assert distances() == distances(SlowReference())


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's trainer holds the values")
def test_synchronizes_no_more_than_the_epochs_do(monkeypatch):
    model = dense_model(keras.optimizers.SGD(0.1))
    synchronize, synchronized = model.jax_state_sync, []

    def count():
        if model._jax_state and not model._jax_state_synced:
            synchronized.append(1)
        synchronize()

    monkeypatch.setattr(model, "jax_state_sync", count)
    fit(model, epochs=2)
    fit(model, WeightDistance(1), epochs=2)
    assert len(synchronized) == 2 * 2


def test_training_is_the_same_to_the_bit():
    def weights(*callbacks):
        keras.utils.set_random_seed(3)
        model = dense_model(keras.optimizers.Adam(1e-2), dropout=0.5)
        fit(model, *callbacks, shuffle=True)
        return model.get_weights()

    plain, watched = weights(), weights(WeightDistance(3, per_layer=True))
    for a, b in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(a, b)


def test_long_tensors_lose_nothing():
    rng = np.random.default_rng(0)
    shapes = [(2_000_003,), (1024, 512), (3, 3, 8, 8), ()]
    old = [rng.normal(size=shape).astype("float32") for shape in shapes]
    new = [a + rng.normal(0.02, 0.01, a.shape).astype("float32") for a in old]
    expected = [np.square(b.astype("float64") - a).sum() for a, b in zip(old, new, strict=True)]
    backend = _backend.active().weights
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    variables = [keras.Variable(array) for array in new]
    restored = backend.restored(old, [variable.value for variable in variables])
    squares = backend.WeightMeter(model, variables).squared_distances(restored)
    np.testing.assert_allclose(squares, expected, rtol=5e-7)


def test_layers_that_are_nested_shared_or_none():
    layers = keras.layers
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(6, name="dense")], name="inner")

    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.inner = inner
            self.head = layers.Dense(3, name="head")
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, inputs):
            return self.head(self.inner(self.inner(inputs)) * self.scale)

    model = Net()
    model(np.zeros((1, 6)))
    model.compile("sgd", "mse")
    callback, reference = WeightDistance(per_layer=True), SlowReference()
    fit(model, callback, reference)
    assert sorted(callback.history["layers"]) == ["inner/dense", "net", "net/head"]
    assert_like_reference(callback, reference)
    update = callback.history["update"][-1]
    assert callback.history["layers"]["net"][-1] == pytest.approx(
        reference.distance(update, "net/scale"), rel=1e-6
    )
    assert callback.history["layers"]["inner/dense"][-1] == pytest.approx(
        reference.distance(update, "inner/dense"), rel=1e-6
    )


def test_loggers_see_it_if_they_come_after(tmp_path):
    def header(logger_first):
        path = str(tmp_path / f"{logger_first}.csv")
        callbacks = [WeightDistance(), keras.callbacks.CSVLogger(path)]
        history = fit(dense_model(), *(reversed(callbacks) if logger_first else callbacks))
        assert len(history.history["weight_distance"]) == 3
        with open(path) as file:
            return file.read().splitlines()[0].split(",")

    assert "weight_distance" in header(logger_first=False)
    assert "weight_distance" not in header(logger_first=True)


@pytest.mark.parametrize("frequency", ["linear", 0, -5, 2.5, True, None])
def test_frequency_is_checked(frequency):
    with pytest.raises(ValueError, match=r"`frequency` must be a positive integer.*Pass 'log'"):
        WeightDistance(frequency)


@pytest.mark.parametrize("path", ["folder", b"d.npz", 3, "d.npy"])
def test_path_is_checked(path):
    with pytest.raises(ValueError, match=r"`path` must be None or the name of one \.npz file"):
        WeightDistance(path=path)


def test_per_layer_is_checked():
    with pytest.raises(ValueError, match="`per_layer` must be True or False"):
        WeightDistance(per_layer="yes")


def test_nothing_to_train():
    model = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dense(3, trainable=False)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no trainable variables"):
        fit(model, WeightDistance(), epochs=1)


def test_model_that_fit_builds_in_its_first_step():
    model = keras.Sequential([keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    callback, reference = WeightDistance("epoch"), SlowReference()
    if BACKEND == "tensorflow":
        with pytest.raises(ValueError, match="Give the model an `Input`, or call it on a batch"):
            fit(model, callback, epochs=1)
    else:
        fit(model, callback, reference, epochs=1)
        assert_like_reference(callback, reference)
