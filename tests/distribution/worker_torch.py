"""What two and four ranks of a torch DDP training over gloo find; printed as JSON.

The ranks are forks of one process, which has imported everything and trained on one device.
"""

import datetime
import functools
import itertools
import multiprocessing
import tempfile
from pathlib import Path

import keras
import numpy as np
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import keras_bigbatch as kbb
from keras_bigbatch import _backend
from keras_bigbatch._backend import active
from reproduction.replicated_model import ReplicatedModel, leave_group
from tests.distribution import cases
from tests.oracles import ghost_batch_norm, moving_statistics

RANK, RANKS = 0, 1  # `of_rank` sets them in its process
average = kbb.distribution.average_statistics


def loop(model, forward, steps=4, batches=None, optimizer=None, reduce=False):
    """A custom training loop on this rank's part of each batch, of all of it without a wrapper."""
    optimizer = optimizer or cases.sgd()
    optimizer.build(model.trainable_variables)
    x, y = cases.images()
    for step in range(steps):
        here = slice(step % 2 * cases.BATCH, (step % 2 + 1) * cases.BATCH)
        part = batches or whole
        xb, yb = (torch.as_tensor(part(each[here])) for each in (x, y))
        model.zero_grad()
        # The sum: Keras leaves the loss of no samples a vector.
        cases.loss()(yb, forward(xb, training=True)).sum().backward()
        gradients = [v.value.grad for v in model.trainable_variables]
        if reduce:
            for gradient in gradients:
                distributed.all_reduce(gradient)
                gradient /= RANKS
        with torch.no_grad():
            optimizer.apply(gradients, model.trainable_variables)
    return model


def whole(batch):
    return batch


def own(batch):
    share = len(batch) // RANKS
    return batch[RANK * share : (RANK + 1) * share]


@functools.cache
def single(mode):
    """The weights of the same training on one device; made before the ranks fork."""
    model = cases.conv_model(mode)
    return loop(model, model).get_weights()


def spread(model):
    """How far the ranks' weights are apart, moving statistics included."""
    flat = np.concatenate([w.ravel() for w in model.get_weights()])
    everyone = [None] * RANKS
    distributed.all_gather_object(everyone, flat)
    return max(float(np.abs(flat - other).max()) for other in everyone)


def equality():
    found = {}
    for mode in cases.MODES:
        model = cases.conv_model(mode)
        loop(model, DistributedDataParallel(model), batches=own)
        before = model.get_weights()
        found[mode] = [cases.apart(single(mode), model), spread(model)]
        average(model)
        found[mode].append(cases.apart(before, model))
    return found


def controls():
    """What the comparison says where the exchange is left out, or made in another order."""
    backend = _backend.active().replicas
    honest, found = backend.gather_rows, {}
    for name, gather in (("own", lambda row: row[None]), ("order", lambda r: honest(r).flip(0))):
        backend.gather_rows = gather
        model = cases.conv_model()
        loop(model, DistributedDataParallel(model), batches=own)
        backend.gather_rows = honest
        found[name] = [cases.apart(single("sequential"), model), spread(model)]
    return found


def averaging():
    """Statistics that the ranks kept for themselves."""
    found = {}
    model = cases.conv_model(norm=keras.layers.BatchNormalization)
    loop(model, DistributedDataParallel(model), batches=own)
    found["keras"] = [spread(model)]
    mean = torch.tensor(cases.moving(model)[0])
    distributed.all_reduce(mean)
    average(model)
    found["keras"] += [
        spread(model),
        float(np.abs(cases.moving(model)[0] - mean.numpy() / RANKS).max()),
    ]
    for mode in cases.MODES:
        model = cases.conv_model(mode)
        loop(model, model, batches=own, reduce=True)  # gradients reduced by hand: no DDP
        found[mode] = [spread(model)]
        average(model)
        found[mode] += [spread(model), cases.apart(single(mode), model)]
    model = cases.conv_model()
    loop(model, torch.compile(DistributedDataParallel(model), backend="eager"), batches=own)
    found["compiled"] = [spread(model)]
    average(model)
    found["compiled"].append(spread(model))
    return found


def fitting():
    """`fit` of a wrapped model, which does not synchronize, and of the example's, which does."""
    x, y = cases.images()
    order = np.arange(len(x)).reshape(-1, RANKS, cases.BATCH // RANKS)[:, RANK].ravel()
    options = {"x": x[order], "y": y[order], "batch": cases.BATCH // RANKS}
    regime = kbb.Regime(batch=8, epochs=2, examples=64, learning_rate={0: 0.05, 1: 0.01})
    plan = regime.at(batch=cases.BATCH, stretch=1)

    def made():
        plain = cases.conv_model()
        model = ReplicatedModel(plain.inputs, plain.outputs)
        return cases.compiled(model, cases.sgd(plan.learning_rate))

    wrapped = cases.compiled(cases.conv_model())
    DistributedDataParallel(wrapped)
    cases.fit(wrapped, **options)
    alone_distance = kbb.WeightDistance(frequency=1)
    alone = cases.compiled(cases.conv_model(), cases.sgd(plan.learning_rate))
    cases.fit(alone, callbacks=[alone_distance])
    model = made()
    model.replicate()
    distance = kbb.WeightDistance(frequency=1)
    averaging = keras.callbacks.LambdaCallback(
        on_test_begin=lambda *_: average(model), on_epoch_end=lambda *_: average(model)
    )
    callbacks = [plan.callback(), averaging, distance]
    history = cases.fit(model, **options, callbacks=callbacks, validation_data=(x, y))
    ratio = np.array(distance.history["distance"]) / alone_distance.history["distance"]
    return {
        "wrapped": spread(wrapped),
        "replicated": [cases.apart(alone, model), spread(model)],
        "distance": float(np.abs(ratio - 1).max()),
        "updates": [plan.updates, distance.history["update"] == alone_distance.history["update"]],
        "validated": "val_loss" in history.history,
        "parts": active().replicas.parts_of_a_batch(model),
    }


def ragged():
    """Parts of unequal size: less than a ghost batch, and nothing."""
    found = {}
    for name, first in (("unequal", 20), ("few", 29), ("none", 32)):
        cuts = np.linspace(first, cases.BATCH, RANKS).astype(int)
        here = slice(0 if RANK == 0 else cuts[RANK - 1], cuts[RANK])
        parts = [slice(0, first), *(slice(a, b) for a, b in itertools.pairwise(cuts))]
        for mode in cases.MODES:
            keras.utils.set_random_seed(2)
            stack = [keras.layers.Flatten(), keras.layers.Dense(8, use_bias=False)]
            model = keras.Sequential(
                [keras.Input((8, 8, 3)), *stack, cases.ghost(mode, 8), keras.layers.Dense(5)]
            )
            kernel = model.layers[1].get_weights()[0].astype("float64")
            still = cases.sgd(0.0)
            loop(model, DistributedDataParallel(model), 2, lambda b, h=here: b[h], still)
            x, _ = cases.images()
            wanted = (np.zeros(8), np.ones(8))
            for start in (0, cases.BATCH):
                hidden = x[start : start + cases.BATCH].reshape(cases.BATCH, -1) @ kernel
                moments = []
                for part in (hidden[p] for p in parts):
                    if len(part):
                        moments += ghost_batch_norm(part, 1.0, 0.0, 8, -1, 1e-3)[1]
                wanted = moving_statistics(wanted, moments, 0.9, mode)
            moving = cases.moving(model)
            error = max(
                np.abs((a - b) / (1 + np.abs(b))).max() for a, b in zip(moving, wanted, strict=True)
            )
            found[f"{name} {mode}"] = [float(error), spread(model), cases.finite(model)]
    return found


def of_rank(rank, ranks, meeting, found):
    """What one rank does; the first one's results go into the queue."""
    global RANK, RANKS
    RANK, RANKS = rank, ranks
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=ranks,
        timeout=datetime.timedelta(seconds=120),
    )
    checks = [equality]
    if ranks == 2:
        checks += [controls, averaging, fitting, ragged]
    results = {check.__name__: check() for check in checks}
    if rank == 0:
        found.put(results)
    distributed.barrier()
    leave_group()


def main():
    torch.set_num_threads(1)
    for mode in cases.MODES:
        single(mode)
    context, results = multiprocessing.get_context("fork"), {}
    for ranks in (2, 4):
        found = context.SimpleQueue()
        with tempfile.TemporaryDirectory() as folder:
            meeting = Path(folder) / "meeting"
            started = [
                context.Process(target=of_rank, args=(rank, ranks, meeting, found), daemon=True)
                for rank in range(ranks)
            ]
            for process in started:
                process.start()
            for process in started:
                process.join()
        assert all(process.exitcode == 0 for process in started), "a rank failed: see above"
        results[ranks] = found.get()
    cases.report(results)


if __name__ == "__main__":
    main()
