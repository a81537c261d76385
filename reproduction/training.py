"""One training: an ordinary compile and fit, and what is kept of it."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

import keras_bigbatch as kbb
from reproduction.networks.small import network
from reproduction.runs import six_digits

# Keras's momentum of 0.99 looks back over 100 updates, and a large batch has only a few hundred:
# its moving statistics would lag behind its weights. 0.9 is fair to every arm.
MOMENTUM = 0.9


@dataclass(frozen=True)
class Arm:
    """What to train with: sizes and rates in the plan, and what makes a normalization layer."""

    plan: Any
    norm: Any


def plain_norm():
    """What makes Keras's batch norm."""
    return partial(keras.layers.BatchNormalization, momentum=MOMENTUM)


def ghost_norm(virtual_batch):
    """What makes ghost batch norm."""
    return partial(kbb.GhostBatchNormalization, virtual_batch, momentum=MOMENTUM)


def sgd(rate):
    """Momentum and clipping, the same for every arm."""
    return keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=5.0)


def warmed_cosine(rate, updates):
    """Up to the rate in the first twentieth, then down to 0 along a cosine."""
    warmup = max(1, updates // 20)
    return keras.optimizers.schedules.CosineDecay(
        rate / warmup, updates - warmup, warmup_target=rate, warmup_steps=warmup
    )


def compiled(model, optimizer):
    """The model, compiled for classes."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def train(data, arm, seed, progress, make_model=network, make_optimizer=sgd):
    """A training, and the scores of the model at its end."""
    model, result = fit(data, arm, seed, progress, make_model, make_optimizer)
    return {**result, **all_scores(model, data)}


def fit(data, arm, seed, progress, make_model, make_optimizer):
    """An ordinary compile and fit, with the four parts in their places; the model and numbers."""
    keras.utils.set_random_seed(seed)  # every arm of a seed starts from the same weights
    start = time.perf_counter()
    model = make_model(data.shape, data.classes, arm.norm)
    compiled(model, make_optimizer(arm.plan.learning_rate))
    distance = kbb.WeightDistance()
    curve = model.fit(
        **data.training(arm.plan.batch, seed),
        epochs=arm.plan.epochs,
        callbacks=keras.tree.flatten([distance, progress]),  # `progress` may be several
        verbose=0,
    ).history
    seconds = time.perf_counter() - start
    return model, {
        "updates": updates_of(model),
        "samples": arm.plan.samples,
        "seconds": seconds,
        "weight_distance": distance.history,
        "curve": {name: curve[name] for name in ("loss", "accuracy")},
    }


def measured(model, data, fit, samples):
    """Calls `fit`; returns what `train` does, less the weight distance."""
    start = time.perf_counter()
    curve = fit().history
    return {
        "updates": updates_of(model),
        "samples": samples,
        "seconds": time.perf_counter() - start,
        **all_scores(model, data),
        "curve": {name: [six_digits(v) for v in curve[name]] for name in ("loss", "accuracy")},
    }


def updates_of(model):
    """The optimizer updates that a model has made."""
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


def scores(model, data, part):
    """Loss and accuracy in inference mode, with the moving statistics."""
    loss, accuracy = model.evaluate(**data.scoring(part), verbose=0)
    return {f"{part}_loss": loss, f"{part}_accuracy": accuracy}


def all_scores(model, data):
    """The scores on what was trained on, and on what was not."""
    return {**scores(model, data, "train"), **scores(model, data, "test")}


def recipe(arm):
    """What an arm trains with, in plain types: it is kept, and compared on a second run."""
    plan = arm.plan
    return {
        "batch": plan.batch,
        "epochs": plan.epochs,
        "rates_from_update": {str(update): rate for update, _, rate in plan.drops},
        "normalization": arm.norm.func.__name__,
        "virtual_batch": arm.norm.args[0] if arm.norm.args else None,
    }
