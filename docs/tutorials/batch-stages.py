# %% [markdown]
# # Batch stages and warm start
#
# If it is the start that a large batch gets wrong, a few epochs at a small batch should put it right.
# This page trains in such stages, and then asks whether the gain is the small batch's or only that
# of its many more updates.

# %% tags=["notebook"]
# In a notebook of your own: the package comes from a clone, as Getting started says.
# %pip install -q mnist1d matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

import keras
import matplotlib.pyplot as plt
import numpy as np
from mnist1d.data import get_dataset_args, make_dataset

import keras_bigbatch as kbb

quick = "KBB_QUICK" in os.environ  # our tests run this page in seconds
seeds, epochs, examples, large = ([1], 3, 1000, 500) if quick else ([1, 2, 3], 50, 4000, 1000)
small, kernels = 40, (5,) if quick else (5, 3, 3)

data = make_dataset(get_dataset_args())
x, y = data["x"][:examples, :, None].astype("float32"), data["y"][:examples]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# The network and the recipe are those of [the first page](generalization-gap.md): a batch of 40, a
# rate of 0.05 that drops twice. The large batch is 1000, at the rate of the square-root rule.


# %%
def compiled(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((40, 1))])
    for kernel in kernels:
        model.add(keras.layers.Conv1D(32, kernel, strides=2, padding="same", use_bias=False))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def plan(batch, epochs):
    """The recipe for so many epochs: drops at one half and at three quarters."""
    rates = {0: 0.05, epochs // 2: 0.005, epochs * 3 // 4: 0.0005}
    rates = rates if len(rates) == 3 else {0: 0.05}  # one epoch or two have no room for drops
    regime = kbb.Regime(small, epochs=epochs, examples=len(x), learning_rate=rates)
    return regime.at(batch, rule="sqrt", stretch=1)


# %% [markdown]
# ## Stages
#
# A [`BatchStage`][keras_bigbatch.training.BatchStage] is a batch, a number of epochs and a rate, and
# `fit_stages` trains one after the other as if they were one training: one history, one count of
# updates, momenta that go on, callbacks that begin and end once.

# %%
stages = [
    kbb.training.BatchStage(small, epochs=1, learning_rate=0.05),
    kbb.training.BatchStage(large, epochs=2, learning_rate=0.25),
]
model = compiled(seed=0)
history = kbb.training.fit_stages(model, x, y, stages, verbose=0)
print("epochs ", history.epoch)
print("loss   ", np.round(history.history["loss"], 2))
print("updates", int(model.optimizer.iterations))

# %% [markdown]
# With $n$ samples, and stage $i$ of $e_i$ epochs at a batch of $B_i$, the training sees
#
# $$ \sum_i e_i n \;\; \text{samples in} \;\; \sum_i e_i \lceil n / B_i \rceil \;\; \text{updates.} $$
#
# So an epoch at the small batch costs the same samples and makes many times the updates. Two papers
# propose it as a start. Keskar et al. (2017, Figure 5) train for some epochs at the small batch and go
# on with the large one (`warm_start`). Gao & Zhong have just the first epoch at a small batch and a small
# rate (`small_first_epoch`). Neither compares at equal updates.
#
# ## At equal samples, and at equal updates
#
# Each arm below has the same number of epochs, hence of samples, but for the two last. Those are the
# large batch alone for as many *updates* as a warm-started training makes.


# %%
def warm_started(small_epochs):
    later = plan(large, epochs - small_epochs)
    return kbb.training.warm_start(
        small, large, small_epochs, later.epochs, 0.05, later.learning_rate
    )


def alone(batch, epochs):
    return [kbb.training.BatchStage(batch, epochs, plan(batch, epochs).learning_rate)]


def updates_of(stages):
    return sum(stage.epochs * -(-len(x) // stage.batch) for stage in stages)


warm_epochs = [1] if quick else [1, 10]
arms = {"small batch": alone(small, epochs), "large batch": alone(large, epochs)}
for small_epochs in warm_epochs:
    arms[f"{small_epochs} small, then large"] = warm_started(small_epochs)
for small_epochs in warm_epochs:
    updates = updates_of(warm_started(small_epochs))
    arms[f"large, updates as {small_epochs} small"] = alone(large, updates // -(-len(x) // large))

if quick:
    del arms["small batch"], arms["large batch"]
results = {}
print(f"{'arm':>27}    samples  updates  training  test, %")
for name, stages in arms.items():
    results[name] = []
    for seed in seeds:
        model = compiled(seed)
        kbb.training.fit_stages(model, x, y, stages, verbose=0)
        results[name].append(
            [
                100 * model.evaluate(*split, batch_size=1000, verbose=0)[1]
                for split in ((x, y), (test_x, test_y))
            ]
        )
    training, test = np.mean(results[name], 0)
    spread = np.std([one[1] for one in results[name]], ddof=1) if len(seeds) > 1 else 0
    samples = sum(stage.epochs for stage in stages) * len(x)
    counts = f"{samples:>11,} {updates_of(stages):>8,}"
    print(f"{name:>27} {counts} {training:>9.1f} {test:>8.1f} ± {spread:.1f}")

# %% alt="Test accuracy over optimizer updates: the large batch alone, warm-started trainings and the small batch"
groups = {
    "large batch alone": ["large batch", *(name for name in arms if "as" in name)],
    "small, then large": [name for name in arms if "then" in name],
    "small batch alone": ["small batch"],
}
groups = {label: [name for name in names if name in arms] for label, names in groups.items()}
figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
for (label, names), style in zip(groups.items(), ("o-", "s--", "^"), strict=True):
    at = [updates_of(arms[name]) for name in names]
    axes.plot(at, [np.mean(results[name], 0)[1] for name in names], style, label=label)
    for updates, name in zip(at, names, strict=True):
        tests = [test for _, test in results[name]]
        axes.plot([updates] * len(tests), tests, style[0], color="gray", alpha=0.5, zorder=0)
ticks = [200, 500, 1000, 2000, 5000]
axes.set(xscale="log", xticks=ticks, xticklabels=ticks, xlabel="optimizer updates")
axes.minorticks_off()
axes.set_ylabel("test accuracy, %")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# In colour the means, in grey each seed.
#
# - **One small epoch changes nothing clear.** It is inside the spread of the large batch alone, and no
#   better than the large batch with as many updates. This is Gao & Zhong's proposal but for its rate.
# - **Ten small epochs bring most of the gap back,** at the same samples as the large batch alone, and in
#   a quarter of the small batch's updates. What is missing to the small batch is not clear of the spread.
# - **It is not only the updates.** The large batch that makes as many of them, on nearly six times the
#   samples, gains much less. In this network something of the small batch stays in the weights after
#   the batch has grown. That is Keskar et al.'s reading: the small batch finds another basin, and the
#   large one stays in it.
#
# What this does not tell: how long the small stage must be (two lengths were tried), or what it saves
# in time, since small batches use a device badly. The rates were not tuned for the stages.
#
# ## What to take away
#
# - Report updates and samples of staged trainings. At equal epochs a small start has many more updates,
#   and that alone is worth something.
# - A start of one epoch did nothing here; a fifth of the epochs did.
# - `fit_stages` is one training: schedules and callbacks see one count of updates.
#
# The method card is [Batch stages](../methods/batch-stages.md), the larger measurements are
# [Keskar et al.'s Figure 5](../evidence/keskar.md#keskar-warm-start), with the sharpness, and
# [Gao & Zhong's Figures 11 to 14](../evidence/gao-zhong.md#gao-11). API:
# [Training](../api/training.md). Next: [a network that is trained already](pretrained-network.md).
