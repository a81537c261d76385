# %% [markdown]
# # Batch stages and warm start
#
# **Ten epochs at a batch of 40, followed by forty at a batch of 1000, reach about 95 % test
# accuracy. With the same number of epochs, the large batch alone reaches about 91 %.**
#
# If training at a large batch goes wrong at the start, a few epochs at a small batch first should
# help. This page trains in such stages. It then asks whether the gain comes from the small batch or
# only from its many additional updates (optimizer steps).

# %% tags=["notebook"]
# In a notebook of your own, install the package from a clone, as Getting started says.
# %pip install -q mnist1d matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

import keras
import matplotlib.pyplot as plt
import numpy as np
from mnist1d.data import get_dataset_args, make_dataset

import keras_bigbatch as kbb

seeds, epochs, small, large = [1, 2, 3], 50, 40, 1000  # quick: [1], 3, 40, 500
warm_epochs, kernels = (1, 10), (5, 3, 3)  # quick: (1,), (5,)

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# The network and the recipe are those of [The generalization gap](generalization-gap.md): a batch
# of 40, and a learning rate of 0.05 that drops twice. The large batch is 1000, and its learning
# rate is scaled by the square root of the batch ratio.


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
    """The recipe for a number of epochs: the rate drops at one half and at three quarters."""
    rates = {0: 0.05, epochs // 2: 0.005, epochs * 3 // 4: 0.0005}
    regime = kbb.Regime(small, epochs=epochs, examples=len(x), learning_rate=rates)
    return regime.at(batch, rule="sqrt", stretch=1)


# %% [markdown]
# ## Stages
#
# A [`BatchStage`][keras_bigbatch.training.BatchStage] is a batch size, a number of epochs and a
# learning rate. `fit_stages` trains the stages as a single run. There is one history and one count
# of updates, momentum carries over from stage to stage, and callbacks begin and end only once.

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
# If there are $n$ samples and stage $i$ has $e_i$ epochs at a batch of $B_i$, training processes
#
# $$ \sum_i e_i n \;\; \text{samples in} \;\; \sum_i e_i \lceil n / B_i \rceil \;\; \text{updates.} $$
#
# So an epoch at the small batch processes the same number of samples but makes many times as many
# updates. Two papers propose starting with the small batch. Keskar et al. (2017, [Figure
# 5](../evidence/keskar.md#keskar-warm-start)) train for some epochs at the small batch and continue
# with the large one (`warm_start`). Gao & Zhong ([Figures 11 to
# 14](../evidence/gao-zhong.md#gao-11)) train only the first epoch at a small batch, with a small
# rate (`small_first_epoch`). Neither paper compares runs with the same number of updates.
#
# ## The same number of samples or updates
#
# The table compares several arms (training settings). All except the last two have the same number
# of epochs, and so of samples. The last two train at the large batch alone, for as many *updates*
# as a warm-started run makes.


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


arms = {"small batch": alone(small, epochs), "large batch": alone(large, epochs)}
for small_epochs in warm_epochs:
    arms[f"{small_epochs} small, then large"] = warm_started(small_epochs)
for small_epochs in warm_epochs:
    updates = updates_of(warm_started(small_epochs))
    arms[f"large, updates as {small_epochs} small"] = alone(large, updates // -(-len(x) // large))

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
    spread = np.std(results[name], 0, ddof=1)[1]
    samples = sum(stage.epochs for stage in stages) * len(x)
    counts = f"{samples:>11,} {updates_of(stages):>8,}"
    print(f"{name:>27} {counts} {training:>9.1f} {test:>8.1f} ± {spread:.1f}")

# %% alt="Test accuracy over optimizer updates, mean and each seed: the warm-started trainings lie above the large batch alone, and ten small epochs come near the small batch in a quarter of its updates"
groups = {
    "large batch alone": ["large batch", *(name for name in arms if "as" in name)],
    "small, then large": [name for name in arms if "then" in name],
    "small batch alone": ["small batch"],
}
figure, ax = plt.subplots()
for (label, names), style in zip(groups.items(), ("o-", "s--", "^"), strict=True):
    at = [updates_of(arms[name]) for name in names]
    ax.plot(at, [np.mean(results[name], 0)[1] for name in names], style, label=label)
    for updates, name in zip(at, names, strict=True):
        tests = [test for _, test in results[name]]
        ax.plot([updates] * len(tests), tests, style[0], color="gray", alpha=0.5, zorder=0)
ticks = [200, 500, 1000, 2000, 5000]
ax.set(xscale="log", xticks=ticks, xticklabels=ticks)
ax.set(xlabel="optimizer updates", ylabel="test accuracy, %")
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# Means are shown in color or black, and single seeds in gray.
#
# - **One small epoch makes no clear difference.** The result is within the spread of the large
#   batch alone, and no better than the large batch with the same number of updates. Apart from the
#   learning rate, this is Gao & Zhong's proposal.
# - **Ten small epochs close most of the gap,** with as many samples as the large batch alone and a
#   quarter of the small batch's updates. The remaining gap is within the spread.
# - **It is not only the updates.** The large batch with as many updates, and nearly six times as
#   many samples, gains much less. In this network, the weights keep some effect of the small batch
#   after the batch has grown. Keskar et al. explain this as follows: the small batch finds another
#   basin, and the large batch stays in it.
#
# This page tried only two lengths of the small stage and did not tune the rates for the stages. It
# does not measure time either, and small batches use a device inefficiently.
#
# ## What to take away
#
# - If you train in stages, report updates and samples. With the same number of epochs, a run that
#   starts with a small batch makes many more updates, and that alone helps.
# - Starting with one epoch at the small batch had no clear effect here. Starting with a fifth of
#   the epochs did.
# - `fit_stages` is a single run: schedules and callbacks see one count of updates.
#
# ## Next
#
# - [Batch stages](../methods/batch-stages.md) describes the method.
# - [Converting a pretrained network](pretrained-network.md) starts from a trained model.
