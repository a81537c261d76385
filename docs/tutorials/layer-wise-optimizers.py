# %% [markdown]
# # Layer-wise optimizers
#
# SGD multiplies every gradient by the same rate, however large the weights are that it moves. At a
# large batch there are few updates to make up for a rate that suits one layer and not the other.
# This page gives each layer a rate of its own, and then asks where the gain comes from.

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
seeds, epochs, kernels = ([1], 1, (5,)) if quick else ([1, 2, 3], 50, (5, 3, 3))

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# ## One training
#
# The network is the one of [the first page](generalization-gap.md), at a batch of 1000. Every
# training below has this warm-up and cosine decay and differs in the optimizer only.

# %%
batch = 1000


def train(make, rate, seed, x, y, test, callbacks=()):
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
# LARS (You, Gitman & Ginsburg, 2017) takes the gradient's size out of the step. With a layer's
# weights $w$, its gradient $g$, the weight decay $\beta$, the momentum $m$ and the rate $\eta$:
#
# $$ \lambda = \frac{\|w\|}{\|g\| + \beta \|w\|}, \quad v \leftarrow m v - \eta \lambda (g + \beta w), \quad w \leftarrow w + v $$
#
# The first step has a length of about $\eta \|w\|$ in every layer: $\eta$ is a fraction instead of
# a rate. MCLR (Gao & Zhong) has the medians of absolute values in place of the norms, and
# PercentDelta (Abu-El-Haija, 2017) has one over the mean of $|g / w|$ in place of the quotient.
#
# Steps that do not shrink with the gradient let the weights grow without bound. So all three get a
# little weight decay, and a rate that falls. [LARS](../methods/lars.md) has a table of what happens
# otherwise.


# %%
def layerwise(optimizer, **arguments):
    """A trust coefficient of 1 makes the rate the relative step itself."""
    return lambda rate: optimizer(
        rate, trust_coefficient=1.0, weight_decay=1e-4, global_clipnorm=5.0, **arguments
    )


lars = layerwise(kbb.optimizers.LARS)

# %% [markdown]
# ## How fast each layer moves
#
# [`LayerStrides`][keras_bigbatch.callbacks.LayerStrides] measures, layer by layer and without any
# effect on the training, what one update does.

# %%
strides = {}
for name, make, rate in (("SGD", sgd, 0.5), ("LARS", lars, 0.1)):
    strides[name] = kbb.callbacks.LayerStrides(x, y, batch, "log", batches=2)
    _, model = train(make, rate, 0, x, y, (test_x, test_y), [strides[name]])

# %% alt="Mean step over mean weight of each kernel, over the updates: under SGD they start apart and fall by four orders of magnitude, under LARS they are close together and fall with the rate only"
styles = ["o-", "s--", "^-.", "x:"]
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for panel, (name, measured) in zip(panels, strides.items(), strict=True):
    layers = [part for path, part in measured.history["layers"].items() if "norm" not in path]
    for number, columns in enumerate(layers):
        label = "dense" if number == len(kernels) else f"convolution {number + 1}"
        updates, values = measured.history["update"], columns["relative_stride"]
        panel.plot(updates, values, styles[number], markersize=4, label=label)
    panel.set(xscale="log", yscale="log", xlabel="updates", title=name)
panels[0].set_ylabel("mean of abs(step) / mean of abs(weight)")
panels[0].legend(frameon=False)
plt.show()

# %% [markdown]
# Under SGD the first convolution moves several times as fast at first, for its size, as the second
# and third: a rate that is high for one is low for the others. Then two things happen. The kernels
# come closer to each other by themselves. (A kernel before a batch norm grows when it moves fast,
# and so slows down.) And *all* of them slow down, by orders of magnitude, as the training set is
# fitted and the gradient vanishes. Under LARS, with the same warm-up and cosine, the kernels keep
# step, and fall at the end only as the rate does.
#
# Biases, and batch norm's scales and shifts (gamma and beta), do not adapt: `exclude` leaves them
# to plain SGD. Many of them start at zero, and a fraction of zero is no step. What the rates of the
# others were multiplied by in LARS's last update:

# %%
for path, ratio in model.optimizer.trust_ratios.items():
    print(f"{path.split('/', 1)[-1]:<16} {ratio:>8.0f}")

# %% [markdown]
# ## Does it train better?
#
# Every method gets three rates, each twice the one before, and the one that does best on 1000
# held-out *training* samples is taken. (Where the grids lie comes from [a larger
# table](../methods/index.md#one-table).) Then all 4000 samples are trained on with three other
# seeds, and only then the test set is looked at.

# %%
methods = {
    "SGD": (sgd, 0.25),
    "LARS": (lars, 0.05),
    "MCLR": (layerwise(kbb.optimizers.MCLR), 0.025),
    "PercentDelta": (layerwise(kbb.optimizers.PercentDelta), 0.1),
}
if quick:
    methods.clear()  # the rule further down takes the same way
held_out, chosen, results = {}, {}, {}


def choose(name, make, lowest):
    split = len(x) - 1000
    held_out[name] = {
        rate: train(make, rate, 0, x[:split], y[:split], (x[split:], y[split:]))[0][1]
        for rate in ((lowest,) if quick else (lowest, 2 * lowest, 4 * lowest))
    }
    chosen[name] = max(held_out[name], key=held_out[name].get)
    tries = "".join(f"{rate:>8g}: {score:4.1f} %" for rate, score in held_out[name].items())
    print(f"{name:>12}{tries}")


print("held-out accuracy by rate")
for name, (make, lowest) in methods.items():
    choose(name, make, lowest)


# %%
def score(name, make, rate):
    results[name] = [train(make, rate, seed, x, y, (test_x, test_y))[0] for seed in seeds]
    training, test = np.mean(results[name], 0)
    spread = np.std([one[1] for one in results[name]], ddof=1) if len(seeds) > 1 else 0
    print(f"{name:>12} {rate:>6g} {training:>10.1f} {test:>8.1f} ± {spread:.1f}")


print("      method   rate   training     test")
for name, (make, _) in methods.items():
    score(name, make, chosen[name])

# %% [markdown]
# All have fitted the training set, or all but. The three layer-wise rules end some three points
# above SGD in as many updates, well beyond the spread; between the three there is no clear
# difference.
#
# Look at the choice as well. One seed and 1000 samples leave about a point of noise, so SGD's three
# rates are level, and that the highest was taken is chance. LARS's choice is the lowest of its
# grid. The larger table, with five rates each and another number of epochs, puts the three above
# SGD too.
#
# The price of a step that does not shrink with the gradient is that nothing heals too high a rate.
# SGD takes a factor of four without harm. LARS and MCLR break down within a factor of four of what
# was chosen, and PercentDelta loses much.
#
# ## A rule of your own
#
# Does LARS gain because the layers keep step, or because the steps stay large? A rule of two lines
# can tell. The ratios above are in the thousands, since the gradient has all but vanished. With a
# cap of 20, layers have ratios of their own only as long as their gradients are large; later every
# ratio is at the cap, and the rule is SGD again.
# [`LayerwiseOptimizer`][keras_bigbatch.optimizers.LayerwiseOptimizer] asks for one method;
# momentum, decay, exclusions and saving are there.


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
if not quick:  # LARS with nothing excluded, at the rate that was best with its exclusions
    score("LARS, all", layerwise(kbb.optimizers.LARS, exclude=()), chosen["LARS"])

# %% [markdown]
# With the cap nearly all of the gain is gone: what is left over SGD is inside the spread. So on
# this network it does not seem to be the layers that count. They even out by themselves, as the
# left panel shows. What seems to count is that the steps stay large after the training set is
# fitted. (The cap was not varied, and its best rate is the lowest of its grid: an indication, no
# proof.)
#
# The last row is a surprise too: nothing excluded, and no clear difference. A variable that is all
# zeros moves by plain SGD at first, so it is not stuck. To exclude them is common practice; this
# row neither supports it nor says anything of other networks.
#
# ## What to take away
#
# - The rate of a layer-wise optimizer is a fraction of the weights. Rates for SGD do not carry
#   over.
# - Give it weight decay and a rate that falls, and try at least three rates: the best one is near
#   the edge of a cliff.
# - Ask what a gain comes from. `LayerStrides` and a rule of your own cost a few lines.
#
# The method cards: [LARS](../methods/lars.md), [MCLR](../methods/mclr.md),
# [PercentDelta](../methods/percent-delta.md), and [LAMB](../methods/lamb.md) for recipes with Adam.
# API: [`LARS`][keras_bigbatch.optimizers.LARS]. Next: [a batch that changes within the
# training](batch-stages.md).
