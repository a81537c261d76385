# %% [markdown]
# # Learning rate and regime
#
# A recipe has rates and a length, both tuned at a small batch. At a larger batch an update is less
# noisy and an epoch has fewer updates. This page looks at what the square root of the batch ratio
# keeps, how to carry a whole recipe over, and what more epochs buy.

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
seeds, epochs, stretches = ([0], 4, [1]) if quick else ([0, 1, 2], 20, [1, 2, 4])

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]
if quick:
    x, y = x[:1000], y[:1000]

# %% [markdown]
# ## What the square root keeps
#
# An update of SGD is $\Delta w = -\eta \, g$, where $g$ is the mean gradient of $B$ samples, drawn
# from $N$. With $\bar g$ the mean gradient of all samples, and $S$ the mean of $g_n g_n^T$ over the
# samples $n$, its covariance is
#
# $$ \mathrm{cov}(\Delta w) = \frac{\eta^2}{B} \, \frac{N - B}{N - 1} \, ( S - \bar g \bar g^T ) $$
#
# For batches that are small beside the data set the middle factor is 1. To keep the rest, Hoffer,
# Hubara & Soudry (2017, equation 7) let $\eta^2$ grow with $B$:
#
# $$ \eta_L = \sqrt{ B_L / B_S } \, \eta_S $$
#
# It can be checked by drawing batches. Softmax regression is a model whose gradient is one line of
# NumPy.

# %%
samples, targets = x[..., 0].astype("float64"), np.eye(10)[y]
weights = np.zeros((40, 10))


def errors(weights):
    scores = np.exp(samples @ weights)
    return scores / scores.sum(1, keepdims=True) - targets


for _ in range(200):  # to a place on the way, where the mean gradient does not dominate
    weights -= 0.05 * samples.T @ errors(weights) / len(samples)
error = errors(weights)
mean_gradient = samples.T @ error / len(samples)
spread = np.mean((samples**2).sum(1) * (error**2).sum(1)) - (mean_gradient**2).sum()

rng = np.random.default_rng(0)


def drawn(batch, rate):
    """The variance of an update, summed over the weights, from batches that are drawn."""
    chosen = (rng.choice(len(x), batch, replace=False) for _ in range(100 if quick else 1000))
    updates = [rate * samples[some].T @ error[some] / batch for some in chosen]
    return np.var(updates, axis=0).sum()


small, rate = 40, 0.05
before = drawn(small, rate)
print("batch   rule     rate   variance   formula   way of an epoch")
for batch in (200, 1000):
    for rule in ("none", "sqrt", "linear"):
        scaled = kbb.schedules.scale_learning_rate(rate, small, batch, rule)
        variance = drawn(batch, scaled) / before
        formula = scaled**2 / batch * (len(x) - batch) / (len(x) - 1) * spread / before
        way = (scaled * len(x) / batch) / (rate * len(x) / small)
        print(f"{batch:>5}   {rule:<6}{scaled:>7.2f}{variance:>11.2f}{formula:>10.2f}{way:>18.2f}")

# %% [markdown]
# All numbers but the rates are relative to the batch of 40. The last column is rate times updates,
# which is how far the mean gradient takes the weights in an epoch as long as it stays the same.
#
# - `sqrt` keeps the noise of *one update*. It is not quite 1, since a batch of 1000 is a quarter of
#   these 4000 samples: that is the middle factor, and it is in the formula.
# - `linear` keeps the way of *an epoch*, and makes an update many times noisier.
# - No rule keeps both. An epoch at the large batch has too few updates for that, whatever the rate.
#
# ## In a schedule
#
# `scale_learning_rate` turns a float into a float. `LearningRateScaler` wraps a float or any
# schedule of Keras, so that each rate of a recipe is scaled, and warms up: from the rate that was
# tuned to the scaled one.

# %%
cosine = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=2000)
scaled = kbb.LearningRateScaler(cosine, small_batch=40, large_batch=1000, warmup_updates=10)
for update in (0, 5, 10, 1000):
    print(f"update {update:>4}: {float(cosine(update)):.4f} becomes {float(scaled(update)):.4f}")

# %% [markdown]
# ## A regime
#
# A schedule in updates ends too late when an epoch has fewer of them. `Regime` describes the recipe
# in epochs, and `at` carries it over: the rates by a rule, the drops to the updates where they
# belong. `stretch` multiplies the epochs. `plan.fit_arguments` hands the plan to `fit`: batch size,
# epochs, and a callback that raises before the first update if `fit` is about to do another
# training, with a `validation_split`, say, that the regime did not count.

# %%
regime = kbb.Regime(
    batch=40,
    epochs=epochs,
    examples=len(x),
    learning_rate={0: 0.05, epochs // 2: 0.005, epochs * 3 // 4: 0.0005},
)
print(regime.at(1000, stretch=2, warmup_epochs=epochs / 10))

# %% [markdown]
# Without `stretch` the plan keeps the number of updates. That is what the paper's *regime
# adaptation* means to do. It multiplies the epochs by the batch ratio, which is not quite the same
# where batches do not divide the data: with 50 000 samples it makes more updates.

# %%
paper = kbb.Regime(128, 200, examples=50_000, learning_rate=0.1)
for stretch in (None, 32):
    plan = paper.at(4096, stretch=stretch)
    more = plan.updates / paper.updates - 1
    print(f"stretch={stretch}: {plan.epochs} epochs, {plan.updates} updates, {more:+.1%}")

# %% [markdown]
# A schedule of your own, in small-batch updates, is read at the new pace by `RegimeStretch`.

# %%
paced = kbb.RegimeStretch(cosine, small_batch=40, large_batch=1000, stretch=4)
print(f"update 1000 of the old: {float(cosine(1000)):.4f}, 160 of the new: {float(paced(160)):.4f}")

# %% [markdown]
# ## Measured: the rate
#
# The network is that of [the first page](generalization-gap.md). The recipe is shorter, 20 epochs,
# in which the small batch all but fits its training set. Gradients are clipped at a norm of 5, in all arms.


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


def ghost_norm():
    return kbb.GhostBatchNormalization(virtual_batch=8, momentum=0.9)


def train(plan, norm):
    """Training and test accuracy of each seed."""
    model = network(norm)
    model.compile(
        keras.optimizers.SGD(plan.learning_rate, momentum=0.9, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    for seed in seeds:
        # To compile once for all seeds: new weights, and an optimizer that starts over.
        keras.utils.set_random_seed(seed)
        model.set_weights(network(norm).get_weights())
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        model.fit(x, y, verbose=0, **plan.fit_arguments(x))
        yield [
            100 * model.evaluate(*split, batch_size=1000, verbose=0)[1]
            for split in ((x, y), (test_x, test_y))
        ]


def measure(name, plan, norm=batch_norm):
    scores = list(train(plan, norm))
    training, test = np.mean(scores, 0)
    sd = np.std(scores, 0, ddof=1)[1] if len(seeds) > 1 else 0
    print(f"{name:<20}{plan.updates:>8}{training:>10.1f}{test:>9.1f} ± {sd:.1f}")
    return [score for _, score in scores]


arms = {
    "rate unscaled": regime.at(1000, rule="none", stretch=1),
    "linear": regime.at(1000, rule="linear", stretch=1),
    "linear, warm-up": regime.at(1000, rule="linear", stretch=1, warmup_epochs=epochs / 5),
    "sqrt": regime.at(1000, rule="sqrt", stretch=1),
}
print("                     updates  training     test")
small_batch = measure("batch 40", regime.at(40))
tests = {name: measure(name, arms[name]) for name in (["sqrt"] if quick else arms)}

# %% [markdown]
# ## Measured: the stretch
#
# With the square-root rate, 1, 2 and 4 times the epochs, with batch norm and with ghost batches of
# 8. The small batch keeps its 20 epochs.

# %%
print("                     updates  training     test")
curves = {"batch norm": [tests["sqrt"]], "ghost batches of 8": []}
for stretch in stretches:
    plan = regime.at(1000, rule="sqrt", stretch=stretch)
    if stretch > 1:
        curves["batch norm"].append(measure(f"plain, stretch {stretch}", plan))
    curves["ghost batches of 8"].append(measure(f"ghosts, stretch {stretch}", plan, ghost_norm))

# %% alt="Left: four learning rates over the updates. Right: test accuracy grows with the stretch, with ghost batches further than with batch norm"
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for (name, plan), style in zip(arms.items(), (":", "--", "-.", "-"), strict=True):
    steps = range(plan.updates)
    rates = [float(plan.learning_rate(step)) for step in steps]
    left.step(steps, rates, style, where="post", label=name)
left.set(yscale="log", xlabel="update", ylabel="learning rate")
left.legend(frameon=False, fontsize="small")
for (name, scores), style in zip(curves.items(), ("s--", "o-"), strict=True):
    (line,) = right.plot(stretches, np.mean(scores, 1), style, label=name)
    right.plot(stretches, scores, style[0], color=line.get_color(), alpha=0.35)
right.axhline(np.mean(small_batch), color="0.3", linestyle=":", label="batch 40")
right.set(xscale="log", xticks=stretches, xticklabels=stretches)
right.set(xlabel="stretch, times the epochs", ylabel="test accuracy, %")
right.minorticks_off()
right.legend(frameon=False, fontsize="small")
plt.show()

# %% [markdown]
# - **Not all of this is a generalization gap.** At a stretch of 1 the
#   large batch makes 80 updates and has not fitted its training set. Both rules do better than the
#   unscaled rate, because the training is short, and none of it comes near the small batch.
# - **Warm-up is what the linear rule lives by.** 25 times the rate from the first update on does worse
#   than with a warm-up. With one it is level with the square root here: the spreads overlap.
# - **More updates bring most,** with either norm.
# - **Ghost batches pay once the training set is fitted,** not before. At a stretch of 1 they are no help;
#   at 4 they are two points ahead, at the same training accuracy, and level with the small batch in less
#   than a sixth of its updates.
#
# Two things to keep in mind: the small batch was not given the longer training, which favours the large
# one; and the square root is an argument about the covariance of plain SGD's updates, which promises
# nothing about test accuracy.
#
# [A larger measurement](../evidence/hoffer.md#stretch), with a longer recipe and 10,000 test samples,
# goes on to a stretch of 25: from 4 to 25 half a point is gained.
#
# ## What to take away
#
# - Scale by the square root to keep the noise of an update, and warm up when the factor is large.
# - Write the recipe as a `Regime` and print the plan: it says what the large batch costs.
# - Look at the training accuracy before the test accuracy. If the training set is not fitted, stretch.
#
# The method cards: [square-root rate](../methods/square-root-rate.md) and [regime
# adaptation](../methods/regime-adaptation.md). API: [Regime][keras_bigbatch.schedules.Regime] and its
# neighbours on [Schedules](../api/schedules.md). Next: [a random walk](random-walk.md).
