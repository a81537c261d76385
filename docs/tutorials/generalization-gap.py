# %% [markdown]
# # The generalization gap
#
# **With the same number of epochs, a batch of 1000 reaches a test accuracy about 5 points lower
# than a batch of 40 does. Three changes recover more than 4 of these points.**
#
# If you train a model with the same recipe at several batch sizes, each run fits its training set,
# but the larger the batch, the lower the test accuracy. This difference is the *generalization
# gap*. This page produces a gap, looks at its causes, and closes most of it.

# %% tags=["notebook"]
# In a notebook of your own, install the package from a clone, as Getting started says.
# %pip install -q mnist1d matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

from functools import partial

import keras
import matplotlib.pyplot as plt
import numpy as np
from mnist1d.data import get_dataset_args, make_dataset

import keras_bigbatch as kbb

seeds, epochs = [0, 1, 2], 100  # quick: [0], 2

# %% [markdown]
# ## Data that needs no download
#
# MNIST-1D generates shifted, sheared and noisy one-dimensional versions of the ten digits: 4000
# training and 1000 test samples of 40 values each. A test accuracy measured on 1000 samples has a
# standard error of 0.6 to 0.9 points, so only larger differences are meaningful.

# %%
data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]
print("training", x.shape, "test", test_x.shape)

# %% [markdown]
# ## One network, one recipe
#
# The network has three strided convolutions with batch normalization. The recipe is SGD with
# momentum. Its learning rate drops by a factor of ten after half of the epochs and again after
# three quarters. The recipe was tuned at a batch of 40.


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


batch_norm = partial(keras.layers.BatchNormalization, momentum=0.9)
regime = kbb.Regime(
    batch=40,
    epochs=epochs,
    examples=len(x),
    learning_rate={0: 0.05, epochs // 2: 0.005, epochs * 3 // 4: 0.0005},
)


def train(plan, norm, seed):
    """Training and test accuracy, in percent."""
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
# A `Regime` describes the training schedule that was tuned at the small batch. `regime.at` converts
# it into a plan for another batch size. With `rule="none"` and `stretch=1` it changes only the
# batch size. Epochs and rates stay the same, and the rate drops at the same epochs.

# %%
batches = [40, 200, 1000]  # quick: [40, 1000]
plans = {batch: regime.at(batch, rule="none", stretch=1) for batch in batches}
plain = {batch: [train(plan, batch_norm, seed) for seed in seeds] for batch, plan in plans.items()}


def line(name, plan, scores):
    training, test = np.mean(scores, 0)
    spread = np.std(scores, 0, ddof=1)[1]
    print(f"{name:>12} {plan.updates:>8} {training:>10.1f} {test:>8.1f} ± {spread:.1f}")


print("       batch  updates   training     test")
for batch, scores in plain.items():
    line(batch, plans[batch], scores)

# %% [markdown]
# The training column shows that this is a *generalization* gap. If the large batch had not fitted
# its training set, it would only be undertrained. Look at the updates (optimizer steps) as well:
# with the same number of epochs, a batch 25 times as large makes a 25th of the updates. Hoffer,
# Hubara & Soudry (2017) argue that this causes the gap, not the batch size itself.
#
# ## Three changes
#
# Their remedy has three parts: multiply the learning rate by the square root of the batch ratio,
# use ghost batch normalization, which normalizes small groups of samples separately, and train for
# more epochs. Below, SB is the small batch and LB the large one. The arms (training settings) +LR,
# +GBN and +RA add these changes one after the other.

# %%
ghost_norm = partial(kbb.GhostBatchNormalization, virtual_batch=8, momentum=0.9)
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

# %% alt="Test accuracy over the batch size, mean and each seed: it falls as the batch grows"
figure, ax = plt.subplots()
for batch, scores in plain.items():
    ax.plot([batch] * len(seeds), [test for _, test in scores], "o", color="C1", alpha=0.5)
ax.plot(batches, [np.mean(scores, 0)[1] for scores in plain.values()], color="C1")
ax.set(xscale="log", xticks=batches, xticklabels=batches)
ax.set(xlabel="batch", ylabel="test accuracy, %")
ax.minorticks_off()
plt.show()

# %% alt="Test accuracy of the large batch as each change is added, mean and each seed: it rises nearly to the small batch's"
figure, ax = plt.subplots()
for place, scores in enumerate(closed.values()):
    ax.plot([place] * len(seeds), [test for _, test in scores], "o", color="C1", alpha=0.5)
ax.plot([np.mean(scores, 0)[1] for scores in closed.values()], color="C1")
ax.axhline(np.mean(plain[40], 0)[1], color="C0", linestyle="--", label="batch 40")
ax.set(xticks=range(len(closed)), xticklabels=closed)
ax.set(xlabel=f"batch {large}, and what was added", ylabel="test accuracy, %")
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# The longer training costs more, because it processes more samples. The plan shows how many.

# %%
print(arms["+RA"][0])

# %% [markdown]
# ## What to take away
#
# - Compare at equal training accuracy. Otherwise you compare undertrained models.
# - Report updates as well as epochs. The batch size determines how many updates an epoch has.
# - Use at least three seeds. The spread between seeds is as large as some of the effects. See
#   [Evidence](../evidence/index.md) for results on other data and networks.
#
# ## Next
#
# - [Ghost batches](ghost-batches.md) explains the change that helped most here.
# - [My large batch is worse](../large-batch-is-worse.md) helps you find the cause in your own
#   training.
