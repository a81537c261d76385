"""Training on all devices of the machine: `Setting.case` makes the same training on each engine.

An engine shares every global batch among the devices; plans and rates are those of one device, and
so are the results, but for the last samples of an epoch that the devices cannot share evenly.

`mirrored` and `data_parallel` are one process. `ddp` is a process a device, which torchrun starts:

    torchrun --nproc-per-node 8 -m reproduction figure NAME --backend torch --distribute ddp
"""

import atexit
import contextlib
import dataclasses
import os
import sys

import keras

import keras_bigbatch as kbb
from reproduction import training
from reproduction.data.shares import Shares

DISTRIBUTIONS = {"mirrored": "tensorflow", "data_parallel": "jax", "ddp": "torch"}


def distributed(setting, engine):
    """The setting, with trainings that go over the devices; itself without an engine.

    Args:
        setting: Of one device.
        engine: `"data_parallel"` (JAX), `"mirrored"` (TensorFlow), `"ddp"` (torch), or None.
    """
    if engine is None:
        return setting
    _check(engine)
    engines = {"data_parallel": _data_parallel, "mirrored": _mirrored, "ddp": _ddp}
    train, *shares = engines[engine]()
    data = Shares(setting.data, *shares)
    for batch in (setting.regime.batch, setting.large_batch):
        data.check(batch)  # before hours of training, and not in their midst
    return dataclasses.replace(setting, data=data, train=train)


def _check(engine):
    if engine not in DISTRIBUTIONS:
        raise ValueError(f"the engine {engine!r} is none of {', '.join(DISTRIBUTIONS)}")
    backend = DISTRIBUTIONS[engine]
    if keras.backend.backend() != backend:
        raise ValueError(
            f"{engine} is {backend}'s, and the backend is {keras.backend.backend()}: "
            f"pass --backend {backend}"
        )
    if engine == "ddp" and "RANK" not in os.environ:
        raise ValueError(
            "ddp is a process a device, and RANK is not set: start it with "
            "torchrun --nproc-per-node DEVICES -m reproduction ..."
        )


def _data_parallel():
    """JAX: a batch is one array that lies on all devices."""
    devices = keras.distribution.list_devices()
    # This is the only process, and it brings whole batches.
    distribution = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    return _training(distribution.scope), len(devices)


def _mirrored():
    """TensorFlow: every device has a copy of the model, and all variables are made in one scope."""
    import tensorflow as tf

    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    devices = [device.name for device in tf.config.list_logical_devices(kind)]
    # One for all trainings: of CPUs, TensorFlow cannot make a second one in a process.
    strategy = tf.distribute.MirroredStrategy(devices)

    # --8<-- [start:clip]
    def clipped_together(make_optimizer):
        # Keras clips on each device its own share of the gradient, and sums what is left. Here the
        # sum is clipped, as on one device, and each device hands on an equal share of that.
        def make(rate):
            optimizer = make_optimizer(rate)
            clip = optimizer._clip_gradients

            def clip_sum(shares):
                context = tf.distribute.get_replica_context()
                total = context.all_reduce(tf.distribute.ReduceOp.SUM, shares)
                return [gradient / len(devices) for gradient in clip(total)]

            optimizer._clip_gradients = clip_sum
            return optimizer

        return make

    # --8<-- [end:clip]
    return _training(strategy.scope, [OneStatistics()], optimizer=clipped_together), len(devices)


def _ddp():
    """torch: every process has a model, and its own part of each batch; the first one prints."""
    import torch
    from torch import distributed as group

    from reproduction.replicated_model import ReplicatedModel, leave_group

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    group.init_process_group("nccl" if cuda else "gloo")
    atexit.register(leave_group)
    rank, ranks = group.get_rank(), group.get_world_size()
    if rank > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process

    def replicated(make_model):
        def make(*arguments):
            plain = make_model(*arguments)
            model = ReplicatedModel(plain.inputs, plain.outputs)
            model.replicate()
            return model

        return make

    def mean(logs):
        values = torch.tensor([logs[name] for name in logs], device="cuda" if cuda else "cpu")
        group.all_reduce(values)
        logs.update(zip(logs, (values / ranks).tolist(), strict=True))

    # The parts of a batch are of one size, so that the means of their losses are the batch's.
    means = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: mean(logs))
    train = _training(contextlib.nullcontext, [means, OneStatistics()], model=replicated)
    return train, ranks, rank


class OneStatistics(keras.callbacks.Callback):
    """At the end one set of moving statistics, where each device has moved its own."""

    def on_train_end(self, logs=None):  # noqa: ARG002 - Keras calls it so
        kbb.distribution.average_statistics(self.model)


def _as_it_is(make):
    return make


def _training(scope, callbacks=(), model=_as_it_is, optimizer=_as_it_is):
    """What takes the place of `training.train`.

    Args:
        scope: Makes the context in which a model is made and trained.
        callbacks: Of the engine.
        model: Turns what makes a model into what makes the engine's.
        optimizer: The same of an optimizer.
    """

    def train(data, arm, seed, progress, make_model, make_optimizer):
        makers = model(make_model), optimizer(make_optimizer)
        with scope():
            trained, result = training.fit(data, arm, seed, [*callbacks, progress], *makers)
        # One device scores, and measures what an experiment measures after its training: JAX and
        # TensorFlow refuse batches that the devices do not divide, and no test sample may miss.
        plain = make_model(data.shape, data.classes, arm.norm)
        plain.set_weights(trained.get_weights())
        plain.compile(loss=trained.loss, metrics=["accuracy"])
        for callback in keras.tree.flatten([progress]):
            callback.set_model(plain)
        return {**result, **training.all_scores(plain, data)}

    return train
