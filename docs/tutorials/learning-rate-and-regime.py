# %% [markdown]
# # Learning rate and regime
#
# **With the square-root rule for the learning rate, ghost batches and 4 times the epochs, a batch
# of 1000 comes within about half a point of the small batch's test accuracy, with a sixth of its
# updates.**
#
# A recipe's learning rates and number of epochs were tuned at a small batch. At a larger batch,
# updates (optimizer steps) are less noisy and an epoch has fewer of them. This page shows what
# scaling by the square root of the batch ratio preserves, how to adapt a whole recipe, and how much
# more epochs help.

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

seeds, epochs, stretches = [0, 1, 2], 20, [1, 2, 4]  # quick: [0], 4, [1]

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# ## What the square root preserves
#
# An update of SGD with learning rate $\eta$ is $\Delta w = -\eta \, g$, where $g$ is the mean
# gradient of $B$ samples drawn from $N$. Let $\bar g$ be the mean gradient of all samples, and $S$
# the mean of $g_n g_n^T$ over the samples $n$. The covariance of the update is
#
# $$ \mathrm{cov}(\Delta w) = \frac{\eta^2}{B} \, \frac{N - B}{N - 1} \, ( S - \bar g \bar g^T ) $$
#
# If the batch is small compared with the data set, the middle factor is 1. To keep the rest
# constant, Hoffer, Hubara & Soudry (2017, equation 7) make $\eta^2$ proportional to $B$. The
# subscripts $S$ and $L$ stand for the small and the large batch:
#
# $$ \eta_L = \sqrt{ B_L / B_S } \, \eta_S $$
#
# We check this by drawing batches. The model is softmax regression, whose gradient takes one line
# of code.

# %%
samples, targets = x[..., 0].astype("float64"), np.eye(10)[y]
weights = np.zeros((40, 10))


def errors(weights):
    scores = np.exp(samples @ weights)
    return scores / scores.sum(1, keepdims=True) - targets


for _ in range(200):  # on the way, where the mean gradient does not dominate
    weights -= 0.05 * samples.T @ errors(weights) / len(samples)
error = errors(weights)
mean_gradient = samples.T @ error / len(samples)
spread = np.mean((samples**2).sum(1) * (error**2).sum(1)) - (mean_gradient**2).sum()

rng = np.random.default_rng(0)
draws = 1000  # quick: 100


def drawn(batch, rate):
    """The variance of an update, summed over the weights, from drawn batches."""
    chosen = (rng.choice(len(x), batch, replace=False) for _ in range(draws))
    updates = [rate * samples[some].T @ error[some] / batch for some in chosen]
    return np.var(updates, axis=0).sum()


small, rate = 40, 0.05
before = drawn(small, rate)
print("batch   rule     rate   variance   formula   path of an epoch")
for batch in (200, 1000):
    for rule in ("none", "sqrt", "linear"):
        scaled = kbb.schedules.scale_learning_rate(rate, small, batch, rule)
        variance = drawn(batch, scaled) / before
        formula = scaled**2 / batch * (len(x) - batch) / (len(x) - 1) * spread / before
        path = (scaled * len(x) / batch) / (rate * len(x) / small)
        print(f"{batch:>5}   {rule:<6}{scaled:>7.2f}{variance:>11.2f}{formula:>10.2f}{path:>19.2f}")

# %% [markdown]
# All numbers except the rates are relative to the batch of 40. The last column is the rate times
# the number of updates. It shows how far the mean gradient would move the weights in an epoch if it
# stayed constant.
#
# - `sqrt` keeps the noise of *one update*. The variance is not quite 1, because a batch of 1000 is
#   a quarter of these 4000 samples. The middle factor of the formula accounts for this.
# - `linear` keeps the path of *an epoch* but makes each update much noisier.
# - No rule keeps both. An epoch at the large batch has too few updates for that, whatever the rate.
#
# ## In a schedule
#
# `scale_learning_rate` scales a float. `LearningRateScaler` wraps a float or any Keras schedule and
# scales each of its rates. It can warm up from the tuned rate to the scaled one. (If a schedule
# counts small-batch updates, `RegimeStretch` rescales it to large-batch updates.)

# %%
cosine = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=2000)
scaled = kbb.LearningRateScaler(cosine, small_batch=40, large_batch=1000, warmup_updates=10)
for update in (0, 5, 10, 1000):
    print(f"update {update:>4}: {float(cosine(update)):.4f} becomes {float(scaled(update)):.4f}")

# %% [markdown]
# ## A regime
#
# With fewer updates per epoch, a schedule that counts updates ends too late. A
# [`Regime`][keras_bigbatch.schedules.Regime] describes the recipe in epochs. Its method `at`
# returns a plan for another batch size: it scales the rates by a rule, moves the drops to the right
# updates, and multiplies the epochs by `stretch`. `plan.fit_arguments` gives `fit` the batch size,
# the epochs and a callback. The callback raises an error before the first update if `fit` would
# train differently, for example because of a `validation_split`.

# %%
rates = {0: 0.05, epochs // 2: 0.005, epochs * 3 // 4: 0.0005}
regime = kbb.Regime(batch=40, epochs=epochs, examples=len(x), learning_rate=rates)
print(regime.at(1000, stretch=2, warmup_epochs=epochs / 10))

# %% [markdown]
# Without `stretch` the plan keeps the number of updates, as the paper's *regime adaptation*
# intends. The paper itself multiplies the epochs by the batch ratio. With 50 000 samples, this
# gives more updates.

# %%
paper = kbb.Regime(128, 200, examples=50_000, learning_rate=0.1)
for stretch in (None, 32):
    plan = paper.at(4096, stretch=stretch)
    more = plan.updates / paper.updates - 1
    print(f"stretch={stretch}: {plan.epochs} epochs, {plan.updates} updates, {more:+.1%}")

# %% [markdown]
# ## Measured: the rate
#
# The network is that of [The generalization gap](generalization-gap.md). The recipe is shorter: in
# its 20 epochs, the small batch almost fits its training set. Each row of the table is one arm
# (training setting). All arms clip gradients at a norm of 5.


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
ghost_norm = partial(kbb.GhostBatchNormalization, virtual_batch=8, momentum=0.9)


def train(plan, norm):
    """Training and test accuracy of each seed, in percent."""
    model = network(norm)
    model.compile(
        keras.optimizers.SGD(plan.learning_rate, momentum=0.9, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    for seed in seeds:
        # One compilation for all seeds: new weights, and an optimizer that starts over.
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
    sd = np.std(scores, 0, ddof=1)[1]
    print(f"{name:<20}{plan.updates:>8}{training:>10.1f}{test:>9.1f} ± {sd:.1f}")
    return [score for _, score in scores]


arms = {
    "rate unscaled": regime.at(1000, rule="none", stretch=1),
    "linear": regime.at(1000, rule="linear", stretch=1),
    "linear, warm-up": regime.at(1000, rule="linear", stretch=1, warmup_epochs=epochs / 5),
    "sqrt": regime.at(1000, rule="sqrt", stretch=1),
}
compared = list(arms)  # quick: ["sqrt"]
print("                     updates  training     test")
small_batch = measure("batch 40", regime.at(40))
tests = {name: measure(name, arms[name]) for name in compared}

# %% alt="The learning rate of each arm over the updates: it falls in two drops, and the arm with warm-up rises to the linear rate first"
figure, ax = plt.subplots()
for (name, plan), style in zip(arms.items(), (":", "--", "-.", "-"), strict=True):
    steps = range(plan.updates)
    ax.step(steps, [float(plan.learning_rate(i)) for i in steps], style, where="post", label=name)
ax.set(yscale="log", xlabel="update", ylabel="learning rate")
ax.legend()
plt.show()

# %% [markdown]
# ## Measured: the stretch
#
# With the square-root rule, we now train for 1, 2 and 4 times the epochs, with batch norm and with
# ghost batches of 8 (groups of 8 samples that are normalized separately). The small batch keeps its
# 20 epochs.

# %%
print("                     updates  training     test")
curves = {"batch norm": [tests["sqrt"]], "ghost batches of 8": []}
for stretch in stretches:
    plan = regime.at(1000, rule="sqrt", stretch=stretch)
    if stretch > 1:
        curves["batch norm"].append(measure(f"plain, stretch {stretch}", plan))
    curves["ghost batches of 8"].append(measure(f"ghosts, stretch {stretch}", plan, ghost_norm))

# %% alt="Test accuracy over the stretch, mean and each seed: it grows, with ghost batches further than with batch norm"
figure, ax = plt.subplots()
for (name, scores), style in zip(curves.items(), ("s--", "o-"), strict=True):
    (line,) = ax.plot(stretches, np.mean(scores, 1), style, label=name)
    ax.plot(stretches, scores, style[0], color=line.get_color(), alpha=0.35)
ax.axhline(np.mean(small_batch), color="gray", linestyle=":", label="batch 40")
ax.set(xscale="log", xticks=stretches, xticklabels=stretches)
ax.set(xlabel="stretch, times the epochs", ylabel="test accuracy, %")
ax.minorticks_off()
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# - **Not all of this is a generalization gap.** At a stretch of 1 the large batch makes 80 updates
#   and has not fitted its training set. Both rules do better than the unscaled rate, because the
#   run is short. Neither comes close to the small batch.
# - **The linear rule depends on warm-up.** Starting at 25 times the rate does worse than warming up
#   to it. With warm-up, the linear rule is on a par with the square-root rule here: the spreads
#   overlap.
# - **Most of the gain comes from more updates,** with either norm.
# - **Ghost batches help once the training set is fitted,** not before. At a stretch of 1 they do
#   not help. At 4, where the training set is fitted, they gain two points.
#
# Only the large batch was trained for longer, which favors it. Also, the argument for the square
# root concerns the covariance of plain SGD's updates. It does not imply anything about test
# accuracy.
#
# ## What to take away
#
# - Scale the rate by the square root to keep the noise of an update. Use a warm-up if the factor is
#   large.
# - Write the recipe as a `Regime` and print the plan. It shows what the large batch costs.
# - Look at the training accuracy first. If the training set is not fitted, train for more epochs
#   (`stretch`).
#
# ## Next
#
# - [Square-root rate](../methods/square-root-rate.md) and [regime
#   adaptation](../methods/regime-adaptation.md) describe the methods. [A larger
#   experiment](../evidence/hoffer.md#stretch) goes up to a stretch of 25.
# - [A random walk](random-walk.md) examines the paper's argument for longer training.
