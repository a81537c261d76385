"""Sharpness-aware models as models: classes, files, precision, conversions, refusals."""

import keras
import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch._private_api import flatten_layers
from keras_bigbatch.layers import GhostBatchNormalization, to_ghost, to_plain
from keras_bigbatch.training import LargeBatchModel, sharpness_aware
from tests.training.sharpness import RATE, X, Y, assert_close, network, oracle, step, trainable

BACKEND = keras.backend.backend()


@keras.saving.register_keras_serializable("keras_bigbatch_tests")
class OwnCall(keras.Model):
    """A subclass whose code makes a batch norm, with a loss of its own, and Keras's step."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)
        self.norm = keras.layers.BatchNormalization()

    def call(self, x):
        return self.norm(self.dense(x))

    def compute_loss(self, x, y, y_pred, sample_weight):
        return 3.0 * super().compute_loss(x, y, y_pred, sample_weight)


class OwnStep(OwnCall):
    def train_step(self, *arguments):
        return super().train_step(*arguments)


def own_call(kind=OwnCall):
    keras.utils.set_random_seed(4)
    model = kind()
    model(X)
    return model


def test_a_radius_of_zero_takes_it_back():
    model = network(radius=0.3)
    named = type(model).__name__, type(model).__module__
    assert (keras.Sequential.__name__, keras.Sequential.__module__) == named
    assert sharpness_aware(model, radius=0) is model
    assert type(model) is keras.Sequential
    _, wanted = oracle(trainable(model), 1e-9, False, None, np.ones(len(X)))
    assert_close(step(model)[0], wanted)


def test_a_second_call_replaces_the_first_and_forgets_what_was_compiled():
    model = network(radius=5.0, adaptive=True)
    step(model)
    assert isinstance(sharpness_aware(model, radius=0.3), keras.Sequential)
    before = trainable(model)
    _, wanted = oracle(before, 0.3, False, None, np.ones(len(X)))
    model.fit(X, Y, batch_size=len(X), verbose=0)  # without `compile` in between
    assert_close([(a - b) / RATE for a, b in zip(before, trainable(model), strict=True)], wanted)


def test_what_a_subclass_computes_counts_in_both_passes():
    plain, model = own_call(), sharpness_aware(own_call(), radius=1e-12)
    wanted, history = step(plain)
    gradient, own = step(model)
    assert_close(gradient, wanted)
    np.testing.assert_allclose(own["loss"], history["loss"], rtol=1e-5)
    np.testing.assert_allclose(plain.norm.moving_mean, model.norm.moving_mean, rtol=1e-5)


def test_evaluation_and_prediction_are_the_plain_models_to_the_bit():
    plain, model = network(radius=0), network(radius=0.3)
    for each in (plain, model):
        each.compile("sgd", "mse", metrics=["mae"])
    assert plain.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    np.testing.assert_array_equal(plain.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("virtual_batch", [None, 4])
def test_mixed_float16_perturbs_by_the_gradient_without_its_scale(virtual_batch):
    keras.config.set_dtype_policy("mixed_float16")
    constant = keras.initializers.Constant(0.5)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=constant, dtype="float16")
    for layer in (dense, keras.layers.Dense(1, use_bias=False, kernel_initializer=constant)):
        model = keras.Sequential([keras.Input((1,)), layer])
        model = sharpness_aware(model, radius=0.25, virtual_batch=virtual_batch)
        ones = np.ones((8, 1), "float32")
        (gradient,), history = step(model, ones, 0 * ones)
        np.testing.assert_allclose(gradient, 1.5, rtol=2e-3)
        assert history["loss"] == [0.25]


def test_a_first_gradient_that_overflows_is_a_step_that_is_skipped():
    keras.config.set_dtype_policy("mixed_float16")
    model = network(radius=0.3)
    model.compile(keras.optimizers.SGD(RATE), "mse")
    before = trainable(model)
    model.fit(3e4 * X, 3e4 * Y, batch_size=len(X), verbose=0)
    assert_close(trainable(model), before, rtol=0, atol=0)
    assert float(keras.ops.convert_to_numpy(model.optimizer.dynamic_scale)) == 2.0**14
    model.fit(X, Y, batch_size=len(X), verbose=0)
    assert all(np.isfinite(w).all() for w in trainable(model))
    assert np.abs(trainable(model)[0] - before[0]).max() > 0


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no `steps_per_execution` on torch")
def test_several_steps_an_execution():
    weights = []
    for steps in (1, 2):
        model = network(radius=0.3)
        step(model, batch_size=3, compiled={"steps_per_execution": steps})
        weights.append(trainable(model))
    assert_close(*weights)


def functional():
    keras.utils.set_random_seed(4)
    inputs = keras.Input((3,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(4)(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(hidden))


def large_batch():
    plain = functional()
    return LargeBatchModel(plain.inputs, plain.outputs, discard_small_loss=0.3)


@pytest.mark.parametrize("make", [network, functional, own_call, large_batch])
# Keras 3.10 warns of any Functional model that was loaded and is called on one array.
@pytest.mark.filterwarnings("ignore:[^.]*The structure of `inputs` doesn't match")
def test_comes_back_from_a_file_and_goes_on(make, tmp_path):
    model = sharpness_aware(make(), radius=0.3, adaptive=True, virtual_batch=6)
    step(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    config = loaded.get_config()
    assert [config[name] for name in ("radius", "adaptive", "virtual_batch")] == [0.3, True, 6]
    for each in (model, loaded):
        each.fit(X, Y, batch_size=len(X), shuffle=False, verbose=0)
    assert_close(loaded.get_weights(), model.get_weights())


def test_clones():
    model = sharpness_aware(functional(), radius=0.3)
    assert type(keras.models.clone_model(model)) is type(model)
    subclass = sharpness_aware(own_call(), radius=0.3)
    assert type(keras.models.clone_model(subclass)) is type(subclass)
    assert type(keras.models.clone_model(network(radius=0.3))) is keras.Sequential


@pytest.mark.parametrize("make", [functional, own_call])
@pytest.mark.parametrize("ghost_first", [False, True])
@pytest.mark.filterwarnings("ignore:[^.]*The structure of `inputs` doesn't match")
def test_ghost_batches_before_or_after(make, ghost_first, tmp_path):
    model = make()
    model = to_ghost(model, 4) if ghost_first else sharpness_aware(model, radius=0.3)
    model = sharpness_aware(model, radius=0.3) if ghost_first else to_ghost(model, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        norms = [part for part in flatten_layers(each) if isinstance(part, GhostBatchNormalization)]
        assert [norm.virtual_batch for norm in norms] == [4]
        assert type(each).train_step is not keras.Model.train_step
    plain = sharpness_aware(to_plain(loaded, in_place=True), radius=0)
    assert type(plain).train_step is keras.Model.train_step
    np.testing.assert_allclose(plain.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"radius": -0.1},
            "`radius` must be a finite number of 0 or more.*0 makes the model plain",
        ),
        ({"radius": "0.1"}, "`radius` must be"),
        ({"adaptive": 1}, "`adaptive` must be True or False"),
        ({"virtual_batch": 0}, "`virtual_batch` must be a positive integer"),
    ],
)
def test_bad_arguments(options, message):
    model = network(radius=0)
    with pytest.raises(ValueError, match=message):
        sharpness_aware(model, **options)
    assert type(model) is keras.Sequential


def test_models_that_are_refused():
    with pytest.raises(ValueError, match=r"`model` must be a `keras.Model`\. Received: .*Dense"):
        sharpness_aware(keras.layers.Dense(1))
    model = own_call(OwnStep)
    with pytest.raises(ValueError, match="class OwnStep has its own `train_step`"):
        sharpness_aware(model)
    frozen = network(radius=0.3)
    frozen.trainable = False
    with pytest.raises(ValueError, match="no trainable variables"):
        step(frozen)


@pytest.mark.skipif(BACKEND != "torch", reason="a torch module")
def test_a_torch_module_is_refused():
    import torch

    wrapped = keras.layers.TorchModuleWrapper(torch.nn.Linear(3, 2))
    with pytest.raises(ValueError, match="TorchModuleWrapper"):
        sharpness_aware(keras.Sequential([keras.Input((3,)), wrapped]))


def test_groups_on_several_devices_are_refused(monkeypatch):
    replicas = _backend.active().replicas
    monkeypatch.setattr(replicas, "parts_of_a_batch", lambda model: 2)
    with pytest.raises(ValueError, match="`virtual_batch` is for one device"):
        step(network(radius=0.3, virtual_batch=4))


def test_an_output_without_samples_is_refused_in_groups():
    inputs = keras.Input((3,))
    outputs = keras.layers.Lambda(keras.ops.mean, output_shape=())(keras.layers.Dense(2)(inputs))
    model = sharpness_aware(keras.Model(inputs, outputs), virtual_batch=4)
    with pytest.raises(ValueError, match="An output is a single number"):
        step(model, loss=lambda y, y_pred: y_pred)
