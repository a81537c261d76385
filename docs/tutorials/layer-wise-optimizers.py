# %% [markdown]
# # Layer-wise optimizers
#
# **At a batch of 1000, a separate learning rate for each layer raises the test accuracy from about
# 92 % to more than 94 %. If these rates are capped, about half of that gain is lost.**
#
# SGD multiplies every gradient by the same learning rate, however large the layer's weights are. If
# the rate suits one layer but not another, a large batch has few updates (optimizer steps) to make
# up for that. This page gives each layer its own rate and then asks where the gain comes from.

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

seeds, epochs, kernels = [1, 2, 3], 50, (5, 3, 3)  # quick: [1], 1, (5,)

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# ## The training setup
#
# The network is that of [The generalization gap](generalization-gap.md), at a batch of 1000. Every
# run below uses the same warm-up and cosine decay. Only the optimizer differs.

# %%
batch = 1000  # quick: 100


def train(make, rate, seed, x, y, test, callbacks=()):
    """Training and test accuracy in percent, and the model."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((40, 1))])
    for kernel in kernels:
        model.add(keras.layers.Conv1D(32, kernel, strides=2, padding="same", use_bias=False))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))

    updates = epochs * -(-len(x) // batch)
    warmup = updates // 20 + 1
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / warmup, updates - warmup, warmup_target=rate, warmup_steps=warmup
    )
    model.compile(
        make(schedule),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=batch, epochs=epochs, callbacks=list(callbacks), verbose=0)
    scores = [100 * model.evaluate(*of, batch_size=1000, verbose=0)[1] for of in ((x, y), test)]
    return scores, model


def sgd(rate):
    return keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=5.0)


# %% [markdown]
# ## The trust ratio
#
# LARS (You, Gitman & Ginsburg, 2017) makes the step independent of the gradient's size. With a
# layer's weights $w$, its gradient $g$, the weight decay $\beta$, the momentum $m$ and the learning
# rate $\eta$, it computes a trust ratio $\lambda$ and a velocity $v$:
#
# $$ \lambda = \frac{\|w\|}{\|g\| + \beta \|w\|}, \quad v \leftarrow m v - \eta \lambda (g + \beta w), \quad w \leftarrow w + v $$
#
# The first step has a length of about $\eta \|w\|$ in every layer, so $\eta$ is the step's size as
# a fraction of the weights. [MCLR](../methods/mclr.md) (Gao & Zhong) replaces the norms by medians
# of absolute values. [PercentDelta](../methods/percent-delta.md) (Abu-El-Haija, 2017) replaces the
# quotient by the inverse of the mean of $|g / w|$.
#
# If steps do not shrink with the gradient, the weights grow without bound. We therefore use a
# little weight decay and a decaying rate for all three. [LARS](../methods/lars.md) shows what
# happens otherwise.


# %%
def layerwise(optimizer, **arguments):
    """With a trust coefficient of 1 the rate is the relative step itself."""
    return lambda rate: optimizer(
        rate, trust_coefficient=1.0, weight_decay=1e-4, global_clipnorm=5.0, **arguments
    )


lars = layerwise(kbb.optimizers.LARS)

# %% [markdown]
# ## How fast each layer moves
#
# [`LayerStrides`][keras_bigbatch.callbacks.LayerStrides] measures how far one update moves each
# layer. It does not affect training.

# %%
strides = {}
for name, make, rate in (("SGD", sgd, 0.5), ("LARS", lars, 0.1)):
    strides[name] = kbb.callbacks.LayerStrides(x, y, batch, "log", batches=2)
    _, model = train(make, rate, 0, x, y, test, [strides[name]])


def draw(name):
    _, ax = plt.subplots()
    history = strides[name].history
    layers = [columns for path, columns in history["layers"].items() if "norm" not in path]
    styles = ("o-", "s--", "^-.", "x:")
    for number, (columns, style) in enumerate(zip(layers, styles, strict=False)):
        label = f"convolution {number + 1}" if number < len(kernels) else "dense"
        ax.plot(history["update"], columns["relative_stride"], style, markersize=4, label=label)
    ax.set(xscale="log", yscale="log", xlabel="updates", title=name, ylim=(1e-6, 1))
    ax.set_ylabel("mean of abs(step) / mean of abs(weight)")
    ax.legend(loc="lower left")
    plt.show()


# %% alt="Mean step over mean weight of each kernel over the updates under SGD: the kernels start apart and fall by four orders of magnitude"
draw("SGD")

# %% alt="The same under LARS: the kernels stay close together and fall with the rate only"
draw("LARS")

# %% [markdown]
# Under SGD, the first convolution initially moves several times as fast relative to its size as the
# second and third. A rate that is high for one is low for the others. Then two things happen. The
# relative steps of the kernels become more similar by themselves. (A kernel before a batch norm
# grows when it moves fast, and so slows down.) Also, *all* of them slow down by orders of
# magnitude, because the gradient vanishes as the training set is fitted. Under LARS, with the same
# warm-up and cosine, the steps of the kernels stay similar and fall only with the rate.
#
# Biases and batch norm's gamma and beta do not get such ratios: by default, `exclude` makes LARS
# use plain SGD for them. Many of them start at zero, and a step that is a fraction of zero is zero.
# In its last update, LARS multiplied the rates of the other variables by these ratios:

# %%
for path, ratio in model.optimizer.trust_ratios.items():
    print(f"{path.split('/', 1)[-1]:<16} {ratio:>8.0f}")

# %% [markdown]
# ## Does it train better?
#
# We try three learning rates for each method, each twice the one before. We choose the rate that
# does best on a held-out quarter of the *training* samples. (The grids come from [a larger
# table](../methods/index.md#one-table).) Then we train on all 4000 samples with three other seeds.
# Only then do we look at the test set.

# %%
methods = {
    "SGD": (sgd, 0.25),
    "LARS": (lars, 0.05),
    "MCLR": (layerwise(kbb.optimizers.MCLR), 0.025),
    "PercentDelta": (layerwise(kbb.optimizers.PercentDelta), 0.1),
}
compared = list(methods)  # quick: ["LARS"]
factors = (1, 2, 4)  # quick: (1,)
held_out, chosen, results = {}, {}, {}


def choose(name, make, lowest):
    split = len(x) * 3 // 4
    held_out[name] = {
        rate: train(make, rate, 0, x[:split], y[:split], (x[split:], y[split:]))[0][1]
        for rate in (factor * lowest for factor in factors)
    }
    chosen[name] = max(held_out[name], key=held_out[name].get)
    tries = "".join(f"{rate:>8g}: {score:4.1f} %" for rate, score in held_out[name].items())
    print(f"{name:>12}{tries}")


print("held-out accuracy by rate")
for name in compared:
    choose(name, *methods[name])


# %%
def score(name, make, rate):
    results[name] = [train(make, rate, seed, x, y, test)[0] for seed in seeds]
    training, tested = np.mean(results[name], 0)
    spread = np.std(results[name], 0, ddof=1)[1]
    print(f"{name:>12} {rate:>6g} {training:>10.1f} {tested:>8.1f} ± {spread:.1f}")


print("      method   rate   training     test")
for name in compared:
    score(name, methods[name][0], chosen[name])

# %% [markdown]
# All methods fit the training set, or nearly so. With the same number of updates, the three
# layer-wise rules end about three points above SGD, well beyond the spread. There is no clear
# difference between the three.
#
# Look at the choice of rates as well. With one seed and 1000 samples, the noise is about a point.
# SGD's three rates do equally well, so the highest was chosen by chance. For LARS, the chosen rate
# is the lowest in its grid. In the larger table, with five rates for each method and a different
# number of epochs, the three rules also end above SGD.
#
# If the step does not shrink with the gradient, nothing corrects a rate that is too high. SGD
# tolerates a factor of four. LARS and MCLR break down within a factor of four of the chosen rate,
# and PercentDelta loses a lot of accuracy.
#
# ## A rule of your own
#
# Does LARS gain because all layers move at the same relative speed, or because the steps stay
# large? A rule of two lines can answer this. The ratios above are in the thousands because the
# gradient has almost vanished. With a cap of 20, the layers have different ratios only while their
# gradients are large. Later every ratio is at the cap, and the rule is equivalent to SGD. To write
# a rule, subclass [`LayerwiseOptimizer`][keras_bigbatch.optimizers.LayerwiseOptimizer] and define
# one method. Momentum, decay, exclusions and saving are already implemented.


# %%
class CappedLARS(kbb.optimizers.LayerwiseOptimizer):
    def trust_ratio(self, weight, gradient, weight_decay):
        size, slope = (
            keras.ops.sqrt(keras.ops.sum(keras.ops.square(each))) for each in (weight, gradient)
        )
        return keras.ops.minimum(size / (slope + weight_decay * size), 20.0)


print("held-out accuracy by rate")
choose("CappedLARS", layerwise(CappedLARS), 0.025)
print("      method   rate   training     test")
score("CappedLARS", layerwise(CappedLARS), chosen["CappedLARS"])
# LARS with nothing excluded, at the rate that was best with its exclusions.
score("LARS, all", layerwise(kbb.optimizers.LARS, exclude=()), chosen["LARS"])

# %% [markdown]
# With the cap, about half of the gain is lost. So part of the gain does not come from adapting to
# differences between layers, which even out by themselves, as the figure for SGD shows. It comes
# from steps that stay large after the training set is fitted. This is an indication, not a proof:
# there are only three seeds, and we tried only one cap.
#
# In the last row nothing is excluded, which makes no clear difference. A variable that is all zeros
# first moves by plain SGD, so it does not get stuck. It is common practice to exclude such
# variables. This row does not support that practice, but it says nothing about other networks.
#
# ## What to take away
#
# - The learning rate of a layer-wise optimizer is a fraction of the weights. Do not use the rate of
#   SGD.
# - Use weight decay and a decaying rate. Try at least three rates: training may break down at a
#   rate only slightly above the best one.
# - Find out where a gain comes from. `LayerStrides` and a rule of your own take only a few lines.
#
# ## Next
#
# - [LARS](../methods/lars.md) describes LARS in detail. For recipes with Adam, see
#   [LAMB](../methods/lamb.md).
# - [Batch stages and warm start](batch-stages.md) changes the batch size during training.
