"""Everything that one process can say about TensorFlow's MirroredStrategy; printed as JSON."""

# ruff: noqa: E402 (the devices are made before anything uses them)

import functools
import itertools

import tensorflow as tf

DEVICES = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(DEVICES[0], [tf.config.LogicalDeviceConfiguration()] * 4)

import keras
import numpy as np
from keras import ops

import keras_bigbatch as kbb
from keras_bigbatch import _backend
from keras_bigbatch._backend import active
from tests import fast_graphs  # noqa: F401 (graphs are run a few times: not optimized)
from tests.distribution import cases
from tests.oracles import ghost_batch_norm, moving_statistics

# The collectives of TensorFlow's CPU take one strategy a process; this reduction takes any number.
STRATEGIES = {
    n: tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(n)], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    for n in (2, 4)
}


def mirrored(replicas, make):
    with STRATEGIES[replicas].scope():
        return make()


@functools.cache
def single(mode):
    """The same training on one device; others only read it."""
    model = cases.compiled(cases.conv_model(mode))
    cases.fit(model)
    return model


def spread(model):
    """How far the replicas' own moving statistics are apart."""
    copies = [layer.moving_variance.value.values for layer in model.layers if "norm" in layer.name]
    return max(
        float(np.abs(a.numpy() - b.numpy()).max())
        for values in copies
        for a, b in itertools.combinations(values, 2)
    )


def compared(alone, model):
    """A training on replicas against the same on one device."""
    x, y = cases.images()
    evaluations = [float(each.evaluate(x, y, verbose=0)) for each in (alone, model)]
    return [cases.apart(alone, model), spread(model), abs(evaluations[0] - evaluations[1])]


def equality():
    """The modes that `callbacks` does not train."""
    found = {}
    for mode in cases.MODES[1:]:
        for n in STRATEGIES:
            model = mirrored(n, lambda mode=mode: cases.compiled(cases.conv_model(mode)))
            cases.fit(model)
            found[f"{mode}-{n}"] = compared(single(mode), model)
    return found


def controls():
    """What the comparison above says when something is wrong on purpose."""
    plain = keras.layers.BatchNormalization
    found, backend = {}, _backend.active().replicas
    honest = backend.gather_rows

    def own_row(row):
        return row[None]

    def wrong_order(row):
        return honest(row)[::-1]

    for name, gather in (("own", own_row), ("order", wrong_order)):
        backend.gather_rows = gather
        model = mirrored(2, lambda: cases.compiled(cases.conv_model()))
        cases.fit(model)
        backend.gather_rows = honest
        found[name] = [cases.apart(single("sequential"), model), spread(model)]

    model = mirrored(2, lambda: cases.compiled(cases.conv_model(norm=plain)))
    cases.fit(model)
    norm = next(layer for layer in model.layers if isinstance(layer, plain))
    wanted = np.mean([v.numpy() for v in norm.moving_mean.value.values], axis=0)
    found["keras"] = spread(model)
    kbb.distribution.average_statistics(model)
    averaged = [v.numpy() for v in norm.moving_mean.value.values]
    found["keras averaged"] = [spread(model), max(np.abs(v - wanted).max() for v in averaged)]
    found["keras averaged"] = [float(value) for value in found["keras averaged"]]
    return found


def options():
    """Several steps an execution, bfloat16, float16."""
    model = mirrored(2, lambda: cases.compiled(cases.conv_model(), steps_per_execution=2))
    cases.fit(model)
    found = {"steps_per_execution": [cases.apart(single("sequential"), model), spread(model)]}
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        alone = cases.compiled(cases.conv_model())
        cases.fit(alone)
        model = mirrored(2, lambda: cases.compiled(cases.conv_model()))
        cases.fit(model)
        found[policy] = [cases.apart(alone, model), spread(model), cases.finite(model)]
        # One replica's part overflows in float16: its gradients are not finite.
        x, y = cases.images()
        x[16:32] *= 3e4
        cases.fit(model, x[:32], y[:32], epochs=1)
        trainable = all(np.isfinite(w.numpy()).all() for w in model.trainable_variables)
        found[f"overflow {policy}"] = [
            bool(trainable),
            all(bool(np.isfinite(w).all()) for w in cases.moving(model)),
        ]
    keras.config.set_dtype_policy("float32")
    return found


def ragged():
    """Last batches that leave a replica fewer samples than a ghost batch, or none at all."""
    found = {}
    for mode in cases.MODES:

        def make(mode=mode):
            keras.utils.set_random_seed(2)
            stack = [keras.layers.Dense(8, use_bias=False), cases.ghost(mode, 8)]
            model = keras.Sequential([keras.Input((6,)), *stack, keras.layers.Dense(3)])
            return cases.compiled(model, cases.sgd(0.0))  # so that the oracle needs no training

        model = mirrored(2, make)
        initial = model.get_weights()
        kernel = initial[0].astype("float64")
        for samples in (33, 40, 63):
            x = np.random.default_rng(1).normal(size=(samples, 6))
            x = (x * np.arange(1, samples + 1)[:, None] / 16).astype("float32")
            model.set_weights(initial)
            cases.fit(model, x, np.zeros(samples, int), epochs=1)
            wanted = (np.zeros(8), np.ones(8))
            for start in range(0, samples, cases.BATCH):
                hidden = x[start : start + cases.BATCH].astype("float64") @ kernel
                half = -(-len(hidden) // 2)  # the first replica gets the odd sample
                moments = []
                for part in (hidden[:half], hidden[half:]):
                    if len(part):
                        moments += ghost_batch_norm(part, 1.0, 0.0, 8, -1, 1e-3)[1]
                wanted = moving_statistics(wanted, moments, 0.9, mode)
            found[f"{mode}-{samples}"] = [
                max(
                    float((np.abs(a - b) / (1 + np.abs(b))).max())
                    for a, b in zip(cases.moving(model), wanted, strict=True)
                ),
                spread(model),
            ]

        if mode == "sequential":  # and with a learning rate, nothing is poisoned
            model.set_weights(initial)
            model.optimizer.learning_rate = 0.1
            for samples in (33, 40):
                x = np.random.default_rng(1).normal(size=(samples, 6)).astype("float32")
                cases.fit(model, x, np.zeros(samples, int))
                moved = float(np.abs(model.get_weights()[0] - initial[0]).max())
                found[f"trains on {samples}"] = moved > 0 and cases.finite(model)
    return found


def renewal():
    """Statistics of a model on replicas, called outside the strategy's scope and inside."""
    x, _ = cases.images(49)

    def renew(model):
        kbb.layers.renew_statistics(model, x, batch_size=16)

    found = {}
    for name, norm in (("outside", keras.layers.BatchNormalization), ("inside", None)):
        alone = cases.conv_model(norm=norm, blocks=2)
        before = alone.get_weights()
        renew(alone)
        model = mirrored(2, lambda norm=norm: cases.compiled(cases.conv_model(norm=norm, blocks=2)))
        if name == "outside":
            cases.fit(model, epochs=1)  # the replicas' own statistics are then apart
            model.set_weights(before)
            renew(model)
        else:
            mirrored(2, lambda model=model: renew(model))
        found[name] = [cases.apart(alone, model), spread(model)]
    return found


def callbacks():
    """Distances and scaled rates of a plan for the global batch, and the equality under it."""
    regime = kbb.Regime(batch=8, epochs=2, examples=64, learning_rate={0: 0.05, 1: 0.01})
    plan = regime.at(batch=cases.BATCH, rule="linear", warmup_epochs=1)
    models, runs = [], []
    for make in (lambda f: f(), lambda f: mirrored(2, f), lambda f: mirrored(4, f)):
        model = make(lambda: cases.compiled(cases.conv_model(), cases.sgd(plan.learning_rate)))
        distance = kbb.WeightDistance(frequency=1, per_layer=True)
        cases.fit(model, epochs=plan.epochs, callbacks=[plan.callback(), distance])
        models.append(model)
        layers = distance.history["layers"]
        runs.append(
            {
                "update": distance.history["update"],
                "distance": [*distance.history["distance"], *itertools.chain(*layers.values())],
                "iterations": int(ops.convert_to_numpy(model.optimizer.iterations + 0)),
                "rate": float(ops.convert_to_numpy(model.optimizer.learning_rate + 0.0)),
            }
        )
    first, *others = runs
    return {
        "updates": [plan.updates, *(run["iterations"] for run in runs)],
        "parts": [active().replicas.parts_of_a_batch(model) for model in models],
        "same updates": all(run["update"] == first["update"] for run in others),
        "equality": [compared(models[0], model) for model in models[1:]],
        "distance": max(
            float(np.abs(np.array(run["distance"]) / np.array(first["distance"]) - 1).max())
            for run in others
        ),
        "rates": [run["rate"] for run in runs],
    }


def accumulation():
    """Keras's own accumulation, with and without a layer of ours."""
    found = {}
    for name, norm in (("ghost", None), ("no norm", keras.layers.Identity)):

        def make(norm=norm):
            optimizer = cases.sgd(gradient_accumulation_steps=2)
            return cases.compiled(cases.conv_model(norm=norm), optimizer)

        model = mirrored(2, make)
        try:
            cases.fit(model, epochs=1)
            found[name] = "trained"
        except RuntimeError as error:
            found[name] = str(error)[:60]
    return found


def sharpness():
    """Replicas with perturbations of their own, against groups; and ghost batches below them."""
    x, y = cases.images()

    def make(virtual_batch=None):
        model = cases.two_outputs()
        model = kbb.training.sharpness_aware(model, radius=0.3, virtual_batch=virtual_batch)
        return cases.compiled(model, metrics=[["accuracy"], ["accuracy"]])

    def make_ghost():
        return cases.compiled(kbb.training.sharpness_aware(cases.conv_model(), radius=1e-12))

    alone, model, ghost = make(cases.BATCH // 2), mirrored(2, make), mirrored(2, make_ghost)
    reported, wanted = (cases.fit(each, x, [y, y]).history for each in (model, alone))
    cases.fit(ghost)
    lines = [np.array([history[name] for name in wanted]) for history in (reported, wanted)]
    return {
        "apart": cases.apart(alone, model),
        "reported": float(np.abs(lines[0] - lines[1]).max()),
        "ghost": [cases.apart(single("sequential"), ghost), spread(ghost)],
    }


if __name__ == "__main__":
    checks = (equality, controls, options, ragged, renewal, callbacks, accumulation, sharpness)
    results = {check.__name__: check() for check in checks}
    for n, found in zip(STRATEGIES, results["callbacks"].pop("equality"), strict=True):
        results["equality"][f"sequential-{n}"] = found
    cases.report(results)
