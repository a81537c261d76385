# %% [markdown]
# # How large is large?
#
# **On this network, the turning point between saving updates and wasting samples is a batch of
# about 20 to 40. The gradient noise scale, measured at a good learning rate, predicts it within a
# factor of two.**
#
# Doubling the batch size is worth it as long as it nearly halves the number of updates (optimizer
# steps). The gradient noise scale of McCandlish et al. (2018) predicts where this ends, from
# gradients alone. This page measures it and compares the prediction with training runs at many
# batch sizes.

# %% tags=["notebook"]
# In a notebook of your own, install the package from a clone, as Getting started says.
# %pip install -q scikit-learn matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

seeds = [0, 1, 2]  # quick: [0]
targets = (0.3, 0.1)  # quick: (2.2, 1.8)
batches = [8, 16, 32, 64, 128, 256, 512]  # quick: [32, 512]
rates = [0.3, 0.4, 0.55, 0.8, 1.2]  # quick: [0.8]
most = 1000  # quick: 40

x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")

# %% [markdown]
# ## Signal and noise
#
# Let $G$ be the gradient of the loss over all data and $\Sigma$ the covariance of the gradients of
# single samples. The gradient of a batch of $B$ samples is $G$ plus noise of covariance
# $\Sigma / B$. Signal and noise have the same mean square at the *simple noise scale*
#
# $$B_{\mathrm{noise}} = \frac{\mathrm{tr}(\Sigma)}{\lVert G \rVert^2}$$
#
# Well below this batch size, a larger batch averages out noise. Well above it, the gradient of a
# batch is already close to $G$. If the loss had the same curvature in all directions and each batch
# size used its best learning rate, the number of updates needed to reach a given loss would be
#
# $$S(B) = S_{\min} \left( 1 + \frac{B_{\mathrm{noise}}}{B} \right)$$
#
# So a batch of $B_{\mathrm{noise}}$ takes twice the minimum number of updates and twice the minimum
# number of samples.
#
# ## The noise scale during training
#
# The network has no batch norm, because with batch norm the gradient of a batch is not the mean of
# its samples' gradients. [`gradient_noise_scale`][keras_bigbatch.diagnostics.gradient_noise_scale]
# takes one measurement, from large batches of 512 samples, each split into small batches of 32. The
# callback [`GradientNoiseScale`][keras_bigbatch.callbacks.GradientNoiseScale] measures repeatedly
# while `fit` runs, here at a batch of 64. It does not affect training.


# %%
def network(seed, rate=0.8):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((64,))])
    model.add(keras.layers.Dense(32, activation="relu"))
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss)
    return model


once = kbb.diagnostics.gradient_noise_scale(network(seed=0), x, y, 32, 512, draws=10, verbose=0)
print("at the start:", once, sep="\n")


def watch(seed, rate, updates, every):
    noise = kbb.callbacks.GradientNoiseScale(
        x, y, 32, 512, frequency=every, draws=4, smoothing=0.8, seed=seed, verbose=0
    )
    drawn = np.random.default_rng(seed).integers(len(x), size=64 * updates)
    network(seed, rate).fit(x[drawn], y[drawn], batch_size=64, verbose=0, callbacks=[noise])
    return noise


updates = 200  # quick: 10
watched = {0.8: [watch(seed, 0.8, updates, 5) for seed in seeds]}
print("at the end, averaged:", watched[0.8][0].noise_scale, sep="\n")

# %% alt="The gradient noise scale over the updates, with its 95 % interval: at first it falls to below 20 samples, then it grows to about 100"
figure, ax = plt.subplots()
watched[0.8][0].plot(ax)
plt.show()

# %% [markdown]
# The noise scale is not constant. At this learning rate it falls in the first updates to less than
# half of its initial value. Then, as the loss falls, it becomes several times larger. Here the
# callback averages over about five measurements, so the curve lags a little.
#
# ## The check: updates to a given loss
#
# To check the prediction, we train at each batch size with several learning rates and three seeds,
# and count the updates until the loss over all data is below a target. For each batch size and
# target, only the best rate counts. As the theory assumes, samples are drawn with replacement and
# the rate is constant. A run ends after 1000 updates at the latest.

# %%
model = network(seed=0)  # one for all runs: SGD without momentum keeps no state
starts = [network(seed).get_weights() for seed in seeds]


def updates_to_targets(batch, rate, seed):
    draw = np.random.default_rng(seed)
    model.set_weights(starts[seed])
    model.optimizer.learning_rate = rate
    needed, check = [], 1
    for update in range(1, most + 1):
        drawn = draw.integers(len(x), size=batch)
        model.train_on_batch(x[drawn], y[drawn])
        if update < check:
            continue
        check = update + 1 + update // 25  # checking costs time; this is exact to 4 %
        model.reset_metrics()
        loss = float(model.test_on_batch(x, y))
        needed += [update for target in targets[len(needed) :] if loss < target]
        if len(needed) == len(targets):
            break
    return needed + [np.inf] * (len(targets) - len(needed))


def best_rate(batch):
    """For each target, the rate that needs the fewest updates, and the updates of each seed."""
    runs = np.array([[updates_to_targets(batch, r, seed) for seed in seeds] for r in rates])
    best = runs.mean(axis=1).argmin(axis=0)
    return [(rates[k], runs[k, :, i]) for i, k in enumerate(best)]


found = {batch: best_rate(batch) for batch in batches}
print("updates to the target, mean ± deviation over the seeds, at the best rate")
print("batch" + "".join(f"{f'loss < {target}':>16}   rate" for target in targets))
for batch in batches:
    cells = (
        f"{needed.mean():>10.0f} ± {needed.std(ddof=1):<3.0f}{rate:>7}"
        for rate, needed in found[batch]
    )
    print(f"{batch:>5}" + "".join(cells))

# %% [markdown]
# ## Measured against predicted
#
# The turning point is the batch size $B$ with $S(B) = 2 S_{\min}$, from a least-squares fit of
# $S(B)$ with relative errors. The prediction is the noise scale, measured during training until the
# loss reaches the target. It is averaged in two ways: the mean trace divided by the mean squared
# norm, and the median of the ratios. A second set of runs, at a quarter of the rate, shows how much
# the prediction depends on the rate.

# %%
inverse = 1 / np.array(batches)


def turning_point(needed):
    """S_min, and the batch that takes twice that."""
    columns = np.stack([1 / needed, inverse / needed], axis=1)
    least, slope = np.linalg.lstsq(columns, np.ones(len(needed)), rcond=None)[0]
    return least, slope / least


def predicted(noise, until):
    """The noise scale up to an update: the ratio of the means, and the median of the ratios."""
    updates = np.array(noise.history["update"])
    past = updates <= max(until, updates[0])
    trace, square = (np.array(noise.history[k])[past] for k in ("trace", "gradient_norm_squared"))
    return trace.mean() / square.mean(), np.median(trace / square)


updates = 600  # quick: 15
watched[0.2] = [watch(seed, 0.2, updates, 15) for seed in seeds]
scales = {}  # targets by seeds by the two averages
for rate, noises in watched.items():
    until = np.array([updates_to_targets(64, rate, seed) for seed in seeds])
    scales[rate] = np.array(
        [[predicted(*each) for each in zip(noises, ends, strict=True)] for ends in until.T]
    )


def cell(values):
    return f"{values.mean():>9.0f} ± {values.std(ddof=1):<4.0f}"


laws = []
print("in samples, mean ± deviation over the seeds")
print(f"{'turning':>27}{'  noise scale: of means, median' * len(watched)}")
rates_watched = "".join(f"{f'at rate {rate}':>31}" for rate in watched)
print(f"target  S_min{'point':>14}{rates_watched}")
for i, target in enumerate(targets):
    needed = np.array([found[batch][i][1] for batch in batches])  # batches by seeds
    laws.append(turning_point(needed.mean(axis=1)))
    least, turn = np.transpose([turning_point(each) for each in needed.T])
    columns = [turn, *(column for each in scales.values() for column in each[i].T)]
    print(f"{target:>6}{least.mean():>7.0f}{''.join(map(cell, columns)).rstrip()}")

# %% alt="Updates to a loss over the batch size, on log axes: they fall, then level off. The turning points, marked by stars, lie in or near the hatched ranges of the noise scales"
figure, ax = plt.subplots()
sizes = np.geomspace(batches[0], batches[-1], 50)
for i, (target, marker) in enumerate(zip(targets, "os", strict=True)):
    color, (least, turn) = f"C{i + 1}", laws[i]
    means = [found[batch][i][1].mean() for batch in batches]
    ax.plot(batches, means, marker, color=color, label=f"loss < {target}")
    ax.plot(sizes, least * (1 + turn / sizes), color=color)
    ax.plot(turn, 2 * least, "*", color=color, markersize=16)
    low, high = scales[0.8][i].mean(axis=0)
    ax.axvspan(low, high, fill=False, alpha=0.6, color=color, hatch=("//", "..")[i])
ticks = [50, 100, 200, 500]
ax.set(xlabel="batch size, samples", ylabel="updates to the loss", xscale="log", yscale="log")
ax.set(xticks=batches, xticklabels=batches, yticks=ticks, yticklabels=ticks)
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# Points are measurements, lines are the fits, and stars are the turning points. Each hatched range
# extends from one average of the noise scale to the other, at a rate of 0.8.
#
# - **The shape is as predicted.** From a batch of 8 to one of 16, the number of updates to the
#   lower loss nearly halves. From 256 to 512 it stays the same within the spread.
# - **The turning point is later for the lower loss**, at about twice the batch size. The noise
#   scale agrees with this.
# - **At a good rate the prediction is right within a factor of two**, with either average. It is
#   closer for the higher loss, but that is only luck: the grid of rates is coarse, and for the
#   lower loss the two averages of the same gradients differ by a factor of nearly two.
# - **At a quarter of that rate the prediction is wrong.** Until the loss reaches the same targets,
#   the noise scale is about five times as large, so the predicted turning point is too large by a
#   factor of four to seven. (See the paper's appendix C.) The theory assumes that each batch size
#   uses its best rate. So measure at a rate that you would train with.
#
# ## Limits
#
# - **The equation is a simplification.** The exact equation weights each direction by its curvature
#   (section 2.2 of the paper), which costs more to measure.
# - **The grid of rates ends at 1.2**, which is the best rate for the largest batches at the lower
#   loss.
# - **The noise scale is about the training loss.** An efficient batch size may still [generalize
#   worse](generalization-gap.md).
# - **This page used plain SGD** on one small network, with 1797 images of digits. With momentum or
#   an adaptive optimizer, the noise is different. Late in training, the squared norm of $G$ often
#   cannot be told from zero. Then the noise scale is NaN, with a lower bound.
#
# ## What to take away
#
# - Measure during a run with a good learning rate, and treat the result as an order of magnitude. A
#   batch of a tenth of the noise scale wastes updates, and one of ten times the noise scale wastes
#   samples.
# - The value at the start says little about the rest of training.
#
# ## Next
#
# - Because the noise scale grows during training, you can [enlarge the batch in
#   stages](batch-stages.md).
# - [Instruments](../instruments.md) lists all measurements and when to use them. The noise scale
#   was introduced by [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162).
