"""GhostBatchNormalization inside real models: fit, jit, tracing, saving."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bigbatch.layers import GhostBatchNormalization
from tests.oracles import ghost_batch_norm, moving_statistics
from tests.problems import JIT

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.filterwarnings("ignore:.*all of the batch is one group")


def data(samples, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 6)) * rng.uniform(0.3, 3, (samples, 1))
    return x.astype("float32"), rng.integers(0, 3, samples)


def dense_model(norm, **options):
    layers = [keras.Input((6,), **options), keras.layers.Dense(8, use_bias=False), norm]
    model = keras.Sequential([*layers, keras.layers.ReLU(), keras.layers.Dense(3)])
    return model


def compiled(model, jit="auto", **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, **options), loss, jit_compile=jit)
    return model


@pytest.mark.parametrize("jit", JIT)
@pytest.mark.parametrize("batch", [1, 31, 64, 83])
def test_fit_moves_the_statistics_as_the_oracle(batch, jit):
    if BACKEND == "jax" and not jit and batch != 83:
        pytest.skip("compiles each operation for each size: the sizes are those of the program")
    x, y = data(89)  # a last batch of another size for each of the sizes
    layer = GhostBatchNormalization(32, momentum=0.9)
    model = compiled(dense_model(layer), jit)
    model.optimizer.learning_rate = 0.0  # so that the oracle needs no training of its own
    kernel = model.layers[0].get_weights()[0].astype("float64")
    model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)
    moving = (np.zeros(8), np.ones(8))
    for start in range(0, 89, batch):
        hidden = x[start : start + batch].astype("float64") @ kernel
        _, moments, _ = ghost_batch_norm(hidden, 1.0, 0.0, 32, -1, 1e-3)
        moving = moving_statistics(moving, moments, 0.9, "sequential")
    for actual, wanted in zip(layer.get_weights()[2:], moving, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=2e-5, atol=2e-6)


def test_static_and_unknown_batch_train_alike():
    x, y = data(96)
    results = []
    for options in ({}, {"batch_size": 96}):
        keras.utils.set_random_seed(3)
        model = compiled(dense_model(GhostBatchNormalization(20), **options))
        model.fit(x, y, batch_size=96, epochs=3, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_accumulated_micro_batches_equal_the_whole_batch():
    # With a size that divides the micro-batch, ghost batch norm cannot tell the two apart.
    x, y = data(96)
    results = []
    for batch, steps in ((96, None), (48, 2)):
        keras.utils.set_random_seed(3)
        model = compiled(
            dense_model(GhostBatchNormalization(16)), gradient_accumulation_steps=steps
        )
        model.fit(x, y, batch_size=batch, epochs=2, shuffle=False, verbose=0)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def traced_size(groups, training):
    """The number of operations in the traced layer, for 8 samples a group."""
    layer = GhostBatchNormalization(8)
    x = np.ones((8 * groups + 3, 4, 5), "float32")  # with a tail: the longer program
    layer.build(x.shape)
    if BACKEND == "jax":
        import jax

        def run(values, moving, inputs):
            return layer.stateless_call(values, moving, inputs, training=training)

        values = [v.value for v in layer.trainable_variables]
        moving = [v.value for v in layer.non_trainable_variables]
        return jax.jit(run).lower(values, moving, x).as_text().count(" = ")
    if BACKEND == "tensorflow":
        import tensorflow as tf

        run = tf.function(lambda inputs: layer(inputs, training=training))
        graph = run.get_concrete_function(tf.TensorSpec(x.shape)).graph.as_graph_def()
        # Much of a layer is in functions of its own.
        return len(graph.node) + sum(len(each.node_def) for each in graph.library.function)
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            Count.calls += 1
            return function(*args, **(kwargs or {}))

    inputs = ops.convert_to_tensor(x)
    with Count():
        layer(inputs, training=training)
    return Count.calls


def test_the_program_does_not_grow_with_the_groups():
    assert traced_size(4, True) == traced_size(128, True)


def test_inference_has_no_ghost_operations():
    ghost = traced_size(4, False)
    assert ghost < traced_size(4, True) / 2
    assert ghost == traced_size(128, False)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow traces for any batch size")
@pytest.mark.parametrize("jit", [True, False])
def test_one_trace_serves_every_batch_size(jit):
    import tensorflow as tf

    layer = GhostBatchNormalization(32)
    layer.build((None, 5, 3))
    run = tf.function(
        lambda inputs: layer(inputs, training=True),
        input_signature=[tf.TensorSpec((None, None, 3))],
        jit_compile=jit,
    )
    rng = np.random.default_rng(0)
    moving = layer.get_weights()[2:]
    for batch in (1, 31, 32, 33, 63, 65, 83, 89, 848):
        x = rng.normal(size=(batch, 5, 3)).astype("float32")
        expected, moments, _ = ghost_batch_norm(x, 1.0, 0.0, 32, -1, 1e-3)
        np.testing.assert_allclose(run(x), expected, rtol=1e-5, atol=1e-5)
        moving = moving_statistics(moving, moments, 0.99, "sequential")
        np.testing.assert_allclose(layer.get_weights()[2:], moving, rtol=2e-6, atol=2e-6)
    # A replica of a strategy may get no sample at all: nothing moves.
    before = layer.get_weights()
    assert run(np.zeros((0, 5, 3), "float32")).shape == (0, 5, 3)
    for a, b in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has symbolic booleans")
def test_a_tensor_training_does_what_keras_does():
    import tensorflow as tf

    x = tf.random.normal((64, 3))
    for flag in (True, False):
        outputs = []
        for layer in (GhostBatchNormalization(64), keras.layers.BatchNormalization()):
            layer.build(x.shape)
            outputs.append(layer(x, training=tf.constant(flag)))
        np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)
    for layer in (GhostBatchNormalization(64), keras.layers.BatchNormalization()):
        layer.build(x.shape)
        symbolic = tf.function(
            lambda inputs, flag, layer=layer: layer(inputs, training=flag), autograph=False
        )
        with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
            symbolic(x, tf.constant(True))


@pytest.mark.skipif(BACKEND != "torch", reason="torch's own compiler")
def test_dynamo_traces_the_training_forward_whole():
    import torch

    layer = GhostBatchNormalization(8)
    x = torch.randn(35, 3)
    layer.build(x.shape)
    expected = ops.convert_to_numpy(layer(x, training=True))
    compiled_call = torch.compile(
        lambda inputs: layer.call(inputs, training=True), backend="eager", fullgraph=True
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(compiled_call(x)), expected, rtol=1e-6, atol=1e-6
    )
    # A first batch that is one group, of which a compiler cannot be told to warn.
    new = GhostBatchNormalization(64)
    new.build(x.shape)
    first_call = lambda inputs: new.call(inputs, training=True)  # noqa: E731
    torch.compile(first_call, backend="eager", fullgraph=True)(x)


@pytest.mark.parametrize("extension", ["keras", "weights.h5"])
def test_files_come_back(tmp_path, extension):
    x, y = data(96)
    model = compiled(dense_model(GhostBatchNormalization(20, statistics="mean", name="ghost")))
    model.fit(x, y, batch_size=96, verbose=0)
    path = tmp_path / f"model.{extension}"
    if extension == "keras":
        model.save(path)
        loaded = keras.models.load_model(path)
    else:
        model.save_weights(path)
        loaded = dense_model(GhostBatchNormalization(20, statistics="mean", name="ghost"))
        loaded.load_weights(path)
    ghost = loaded.get_layer("ghost")
    assert type(ghost) is GhostBatchNormalization
    assert (ghost.virtual_batch, ghost.statistics) == (20, "mean")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_clone_and_from_config_after_build():
    model = dense_model(GhostBatchNormalization(20, axis=-1))
    x, _ = data(10)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(x, verbose=0), model.predict(x, verbose=0))
    config = model.layers[1].get_config()
    assert config["axis"] == -1
    assert GhostBatchNormalization.from_config(config).get_config() == config


def test_weights_interchange_with_plain_batch_norm():
    x, _ = data(10)
    ghost = dense_model(GhostBatchNormalization(4))
    plain = dense_model(keras.layers.BatchNormalization())
    ghost(x, training=True)
    plain.set_weights(ghost.get_weights())
    np.testing.assert_array_equal(plain.predict(x, verbose=0), ghost.predict(x, verbose=0))
    names = [[w.name for w in model.layers[1].weights] for model in (ghost, plain)]
    assert names[0] == names[1]
    ghost.set_weights(plain.get_weights())
    np.testing.assert_array_equal(plain.predict(x, verbose=0), ghost.predict(x, verbose=0))


def test_regularizers_and_constraints_act():
    x, y = data(64)
    layer = GhostBatchNormalization(
        16,
        gamma_regularizer=keras.regularizers.L2(0.5),
        beta_constraint=keras.constraints.NonNeg(),
        beta_initializer=keras.initializers.Constant(0.01),
    )
    model = compiled(dense_model(layer))
    assert float(ops.convert_to_numpy(model.losses[0])) == pytest.approx(0.5 * 8)
    model.fit(x, y, batch_size=64, epochs=5, verbose=0)
    assert (layer.get_weights()[1] >= 0).all()
