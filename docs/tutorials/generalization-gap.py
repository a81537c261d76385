# %% [markdown]
# # The generalization gap
#
# A model is trained with the same recipe at one batch size after the other. Each fits its training
# set, and the larger the batch, the worse it does on the test set. That is the *generalization gap*.
# This page makes one in two minutes, looks at what it is made of, and closes most of it.

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
seeds, epochs = ([0], 2) if quick else ([0, 1, 2], 100)

# %% [markdown]
# ## Data that needs no download
#
# MNIST-1D is a generator: ten one-dimensional digits, shifted, sheared and full of noise. It gives
# 4000 training and 1000 test samples of 40 points. A test accuracy on 1000 samples has a standard
# error of 0.6 to 0.9 points, so look at differences beyond that.

# %%
data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]
if quick:
    x, y = x[:1000], y[:1000]
print("training", x.shape, "test", test_x.shape)

# %% [markdown]
# ## One network, one recipe
#
# Three strided convolutions with batch normalization. The recipe is momentum SGD with a rate that
# drops by ten at one half and at three quarters of the epochs. It was tuned at a batch of 40.


# %%
def network(norm):
    model = keras.Sequential([keras.Input((40, 1))])
    for kernel in (5, 3, 3):
        model.add(keras.layers.Conv1D(32, kernel, strides=2, padding="same", use_bias=False))
        model.add(norm())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    return model


def batch_norm():
    return keras.layers.BatchNormalization(momentum=0.9)


regime = kbb.Regime(
    batch=40,
    epochs=epochs,
    examples=len(x),
    learning_rate={0: 0.05, epochs // 2: 0.005, epochs * 3 // 4: 0.0005},
)


def train(plan, norm, seed):
    keras.utils.set_random_seed(seed)
    model = network(norm)
    model.compile(
        keras.optimizers.SGD(plan.learning_rate, momentum=0.9, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, verbose=0, **plan.fit_arguments(x))
    return [
        100 * model.evaluate(*split, batch_size=1000, verbose=0)[1]
        for split in ((x, y), (test_x, test_y))
    ]


# %% [markdown]
# `regime.at` carries the recipe over to another batch. With `rule="none"` and `stretch=1` it changes
# nothing but the batch: the same epochs, the same rates, drops at the same epochs.

# %%
batches = [40, 1000] if quick else [40, 200, 1000]
plans = {batch: regime.at(batch, rule="none", stretch=1) for batch in batches}
plain = {batch: [train(plan, batch_norm, seed) for seed in seeds] for batch, plan in plans.items()}


def line(name, plan, scores):
    training, test = np.mean(scores, 0)
    spread = np.std([score[1] for score in scores], ddof=1) if len(seeds) > 1 else 0
    print(f"{name:>12} {plan.updates:>8} {training:>10.1f} {test:>8.1f} ± {spread:.1f}")


print("       batch  updates   training     test")
for batch, scores in plain.items():
    line(batch, plans[batch], scores)

# %% [markdown]
# The training column is what makes this a *generalization* gap: if the large batch had not learned
# its training set, it would simply be short of training. Look at the updates as well. The same
# epochs at a batch 25 times larger are 25 times fewer steps, and Hoffer, Hubara & Soudry (2017) argue
# that this, not the batch itself, is what the large batch suffers from.
#
# ## Four changes
#
# Their remedy in three lines: the rate times the square root of the ratio, ghost batch
# normalization, and a regime stretched in epochs. (The fourth is an instrument,
# [the weight distance](random-walk.md).)


# %%
def ghost_norm():
    return kbb.GhostBatchNormalization(virtual_batch=8, momentum=0.9)


large = batches[-1]
arms = {
    "LB": (plans[large], batch_norm),
    "+LR": (regime.at(large, rule="sqrt", stretch=1), batch_norm),
    "+GBN": (regime.at(large, rule="sqrt", stretch=1), ghost_norm),
    "+RA": (regime.at(large, rule="sqrt", stretch=3), ghost_norm),
}
closed = {"LB": plain[large]}
for name in ("+LR", "+GBN", "+RA"):
    closed[name] = [train(*arms[name], seed) for seed in seeds]

print("         arm  updates   training     test")
line("SB", plans[40], plain[40])
for name, scores in closed.items():
    line(name, arms[name][0], scores)

# %% alt="Left: test accuracy falls as the batch grows. Right: each of the changes, up to the small batch's accuracy"
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for batch, scores in plain.items():
    left.plot([batch] * len(seeds), [test for _, test in scores], "o", color="C0", alpha=0.5)
left.plot(batches, [np.mean(scores, 0)[1] for scores in plain.values()], color="C0")
left.set(
    xscale="log", xticks=batches, xticklabels=batches, xlabel="batch", ylabel="test accuracy, %"
)
left.minorticks_off()
for place, scores in enumerate(closed.values()):
    right.plot([place] * len(seeds), [test for _, test in scores], "o", color="C1", alpha=0.5)
right.plot([np.mean(scores, 0)[1] for scores in closed.values()], color="C1")
right.axhline(np.mean(plain[40], 0)[1], color="C0", linestyle="--", label="batch 40")
right.set(xticks=range(len(closed)), xticklabels=closed, xlabel=f"batch {large}, what was added")
right.legend(frameon=False)
plt.show()

# %% [markdown]
# What it costs: the stretched regime trains on more samples, and that is a price. The plan says how
# many.

# %%
print(arms["+RA"][0])

# %% [markdown]
# ## What to take away
#
# - Compare at equal training accuracy, or you compare under-training.
# - Say the updates beside the epochs. The batch decides how many updates an epoch has.
# - Three seeds are the least: the spread is of the size of some of the effects.
#
# `make demo` does the same with 10,000 test samples, and [Evidence](../evidence/index.md) has the
# table for other data and networks. Next: [what ghost batches do](ghost-batches.md).
