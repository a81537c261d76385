"""Everything that one process with 8 fake devices can say about `keras.distribution` on JAX."""

# ruff: noqa: E402 (`jax.jit` is watched while Keras is imported)

import collections
import re
import warnings
from unittest.mock import patch

import jax

TRAIN_STEP = {"wanted": False, "text": ""}
jit = jax.jit


def recording_jit(*args, **options):
    """`jax.jit`, which keeps the compiled text of Keras's next train step when it is wanted."""
    compiled = jit(*args, **options)
    if not args or getattr(args[0], "__name__", "") != "train_step":
        return compiled

    def run(*inputs):
        if TRAIN_STEP["wanted"]:  # a training of one step: it is compiled only here
            program = compiled.lower(*inputs).compile()
            TRAIN_STEP.update(wanted=False, text=program.as_text())
            return program(*inputs)
        return compiled(*inputs)

    return run


jax.jit = recording_jit  # Keras takes the name when it is imported
import keras

jax.jit = jit

import jax.export
import numpy as np

import keras_bigbatch as kbb
from keras_bigbatch._backend import active
from keras_bigbatch._backend.jax.ghost_norm import dense
from keras_bigbatch.layers import _group_alignment as _alignment
from tests.distribution import cases

BATCH = 64
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|collective-permute|all-to-all|reduce-scatter|collective-broadcast)"
    r"(?:-start)?\("
)
# A kernel in StableHLO, with its first operand's shape.
KERNEL = re.compile(r"@tpu_custom_call\(.*: \(tensor<(\w+)>")


def collectives(text):
    return dict(collections.Counter(COLLECTIVE.findall(text)))


def data_parallel(devices=8):
    distribution = keras.distribution.DataParallel(
        devices=keras.distribution.list_devices()[:devices]
    )
    keras.distribution.set_distribution(distribution)
    return distribution


def model_parallel(layouts=()):
    mesh = keras.distribution.DeviceMesh(
        (4, 2), ["batch", "model"], keras.distribution.list_devices()
    )
    layout_map = keras.distribution.LayoutMap(mesh)
    for pattern, layout in layouts:
        layout_map[pattern] = layout
    distribution = keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name="batch")
    keras.distribution.set_distribution(distribution)
    return distribution


def state(model):
    return [
        [v.value for v in each]
        for each in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    ]


def forward(model, batch):
    """Collectives of the training forward pass alone: what the loss is made of."""
    x, _ = cases.images(batch)
    distribution = keras.distribution.distribution()
    layouts = [distribution.get_data_layout(shape) for shape in (x.shape, (batch, 5))]
    x = jax.device_put(x, layouts[0].backend_layout)
    run = jit(
        lambda trainable, moving, x: model.stateless_call(trainable, moving, x, training=True)[0],
        out_shardings=layouts[1].backend_layout,
    )
    return collectives(run.lower(*state(model)[:2], x).compile().as_text())


def trained(model, batch=BATCH):
    """Collectives of the train step that `fit` runs."""
    TRAIN_STEP.update(wanted=True, text="")
    cases.fit(model, *cases.images(batch), epochs=1, batch=batch)
    return collectives(TRAIN_STEP["text"])


def equality():
    """Two and four and eight devices, and a mesh with a model axis, against one."""
    found = {}
    x, y = cases.images(2 * BATCH)
    for mode in cases.MODES:
        keras.distribution.set_distribution(None)
        single = cases.compiled(cases.conv_model(mode, 8))
        cases.fit(single, x, y, batch=BATCH)
        for n in (2, 4, 8, "mesh"):
            model_parallel() if n == "mesh" else data_parallel(n)
            model = cases.compiled(cases.conv_model(mode, 8))
            cases.fit(model, x, y, batch=BATCH)
            found[f"{mode}-{n}"] = cases.apart(single, model)
    return found


def alignment():
    """Collectives, and what is warned of, by batch and size of a ghost batch."""
    data_parallel()
    found = {}
    for batch, size in ((64, 8), (64, 4), (64, 16), (64, 64), (96, 8), (64, 12), (64, 24)):
        _alignment._warn.cache_clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = cases.compiled(cases.conv_model("sequential", size, blocks=2))
            entry = {"forward": forward(model, batch), "train": trained(model, batch)}
        entry["warnings"] = [str(w.message) for w in caught if "Ghost batches" in str(w.message)]
        found[f"{batch}-{size}"] = entry
    for mode in cases.MODES[1:]:
        model = cases.compiled(cases.conv_model(mode, 8, blocks=2))
        found[mode] = {"forward": forward(model, BATCH), "train": trained(model)}
    with_plain = cases.compiled(cases.conv_model(norm=keras.layers.BatchNormalization, blocks=2))
    found["keras"] = {"forward": forward(with_plain, BATCH)}
    # Twice as many samples as devices can hold whole groups of: the numbers are right all the same.
    results = []
    for devices in (None, 8):
        keras.distribution.set_distribution(None) if devices is None else data_parallel(devices)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = cases.compiled(cases.conv_model("sequential", 12))
            cases.fit(model, *cases.images(BATCH), batch=BATCH)
        results.append(model.get_weights())
    found["misaligned, apart"] = cases.apart(*results)
    return found


def layouts():
    """Sharded convolution kernels, with and without layouts for the normalization."""
    kernels = [(".*conv2d.*kernel", (None, None, None, "model"))]
    vectors = [(".*(gamma|beta|moving_mean|moving_variance)", ("model",))]
    keras.distribution.set_distribution(None)
    single = cases.compiled(cases.conv_model("sequential", 16, blocks=2))
    trained(single)
    found = {}
    for name, rules in (("kernels", kernels), ("all", kernels + vectors)):
        model_parallel(rules)
        model = cases.compiled(cases.conv_model("sequential", 16, blocks=2))
        sharded = [str(v.value.sharding.spec) for v in model.weights]
        found[name] = {
            "train": trained(model),
            "apart": cases.apart(single, model),
            "sharded": sum("model" in spec for spec in sharded),
        }
    return found


def distances():
    """`WeightDistance` and a plan's rates under each distribution."""
    regime = kbb.Regime(batch=16, epochs=2, examples=128, learning_rate={0: 0.05, 1: 0.01})
    plan = regime.at(batch=BATCH)
    runs, parts = [], []
    vectors = [(".*conv2d.*kernel", (None, None, None, "model")), (".*gamma", ("model",))]
    places = (
        lambda: keras.distribution.set_distribution(None),
        data_parallel,
        lambda: model_parallel(vectors),
    )
    for place in places:
        place()
        model = cases.compiled(cases.conv_model("sequential", 8), cases.sgd(plan.learning_rate))
        distance = kbb.WeightDistance(frequency=1)
        x, y = cases.images(2 * BATCH)
        callbacks = [plan.callback(), distance]
        cases.fit(model, x, y, epochs=plan.epochs, batch=plan.batch, callbacks=callbacks)
        parts.append(active().replicas.parts_of_a_batch(model))
        runs.append([distance.history["update"], distance.history["distance"]])
    first, *others = (np.array(run) for run in runs)
    return {
        "updates": [plan.updates, *(len(run[0]) for run in runs)],
        "parts": parts,
        "distance": max(float(np.abs(run / first - 1).max()) for run in others),
    }


def ragged():
    """A last batch that the devices divide but groups do not fit; one that they do not divide."""
    data_parallel()
    found, results = {}, []
    for devices in (None, 8):
        keras.distribution.set_distribution(None) if devices is None else data_parallel(devices)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = cases.compiled(cases.conv_model("sequential", 8))
            cases.fit(model, *cases.images(BATCH + 40), batch=BATCH, epochs=1)
        results.append(model.get_weights())
    found["104 samples, apart"] = cases.apart(*results)
    model = cases.compiled(cases.conv_model("sequential", 8))
    try:
        cases.fit(model, *cases.images(BATCH + 33), batch=BATCH, epochs=1)
        found["97 samples"] = "trained"
    except Exception as error:
        found["97 samples"] = f"{type(error).__name__}: {error}"[:300]
    return found


def renewal():
    """Statistics of 97 samples: a batch that the devices divide, and one that they do not."""
    vectors = [(".*conv2d.*kernel", (None, None, None, "model")), (".*moving_mean", ("model",))]
    places = (
        lambda: keras.distribution.set_distribution(None),
        data_parallel,
        lambda: model_parallel(vectors),
    )
    models = []
    for place in places:
        place()
        models.append(cases.conv_model("sequential", 8, blocks=2))
        kbb.layers.renew_statistics(models[-1], cases.images(97)[0], batch_size=64)
    first, *others = models
    return [cases.apart(first, model) for model in others]


def export():
    """Keras's train step for TPU and CUDA: lowered, serialized, and run back on the CPU."""
    found = {}
    for devices in (1, 8):
        distribution = data_parallel(devices)
        model = cases.compiled(cases.conv_model("sequential", 8))
        x, y = cases.images(BATCH)
        model.train_on_batch(x, y)  # makes the metrics' variables
        data = [
            jax.device_put(a, distribution.get_data_layout(a.shape).backend_layout) for a in (x, y)
        ]
        step = jit(model.train_step)
        exported = jax.export.export(step, platforms=["cpu", "tpu", "cuda"])(state(model), data)
        blob = exported.serialize()
        _, direct = step(state(model), data)
        call = jit(jax.export.deserialize(blob).call)
        _, again = call(state(model), data)
        found[str(devices)] = {
            "platforms": list(exported.platforms),
            "devices": exported.nr_devices,
            "bytes": len(blob),
            "apart": max(
                float(np.abs(np.asarray(a, "float64") - np.asarray(b, "float64")).max())
                for a, b in zip(jax.tree.leaves(direct), jax.tree.leaves(again), strict=True)
            ),
        }
    return found


def kernels():
    """A dense network, by size of a ghost batch: lowered for TPU, and run with the formula here."""
    found, (x, y) = {}, cases.images(BATCH)
    x = x.reshape(BATCH, -1)
    for size in (4, 8, 16):
        keras.distribution.set_distribution(None)
        single = cases.compiled(cases.dense_model(size))
        cases.fit(single, x, y, epochs=1, batch=BATCH)
        layout = data_parallel().get_data_layout
        with patch.object(dense, "fast_memory", lambda: 2**27):
            model = cases.compiled(cases.dense_model(size))
            TRAIN_STEP.update(wanted=True, text="")
            cases.fit(model, x, y, epochs=1, batch=BATCH)
            data = [jax.device_put(a, layout(a.shape).backend_layout) for a in (x, y)]
            step = jax.export.export(jit(model.train_step), platforms=["tpu"])
            text = step(state(model), data).mlir_module()
        found[str(size)] = {
            "apart": cases.apart(single, model),
            "train": collectives(TRAIN_STEP["text"]),
            "inputs": KERNEL.findall(text),
        }
    return found


if __name__ == "__main__":
    checks = (equality, alignment, layouts, distances, ragged, renewal, export, kernels)
    cases.report({check.__name__: check() for check in checks})
