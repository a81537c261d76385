# %% [markdown]
# # How large is large?
#
# Twice the batch is worth its price while it nearly halves the number of updates, and no longer.
# The gradient noise scale of McCandlish et al. (2018) says where that ends, from gradients alone.
# This page measures it, and checks it against trainings at many batch sizes.

# %% tags=["notebook"]
# In a notebook of your own: the package comes from a clone, as Getting started says.
# %pip install -q scikit-learn matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

quick = "KBB_QUICK" in os.environ  # our tests run this page in seconds
seeds = [0] if quick else [0, 1, 2]
targets = (2.2, 1.8) if quick else (0.3, 0.1)  # training losses to reach
batches = [32, 512] if quick else [8, 16, 32, 64, 128, 256, 512]
rates = [0.8] if quick else [0.3, 0.4, 0.55, 0.8, 1.2]
most = 40 if quick else 1000  # updates after which a run is given up

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
# Well below it a larger batch averages noise out; well above it the batch's gradient is nearly $G$
# already. If all directions were curved alike, and each batch had its best rate, the updates to a
# given loss would be
#
# $$S(B) = S_{\min} \left( 1 + \frac{B_{\mathrm{noise}}}{B} \right)$$
#
# So a batch of $B_{\mathrm{noise}}$ takes twice the least number of updates, at twice the least
# number of samples.
#
# ## The noise scale of a training
#
# The network has no batch norm: with it, the gradient of a batch is not the mean over its samples.
# [`GradientNoiseScale`][keras_bigbatch.callbacks.GradientNoiseScale] measures while `fit` runs,
# without an effect on it.


# %%
def network(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((64,))])
    model.add(keras.layers.Dense(32, activation="relu"))
    model.add(keras.layers.Dense(10))
    model.compile(
        keras.optimizers.SGD(0.8), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


print(kbb.diagnostics.gradient_noise_scale(network(seed=0), x, y, 32, 512, draws=10))


def watch(seed, batch=64, updates=20 if quick else 200):
    noise = kbb.callbacks.GradientNoiseScale(
        x, y, 32, 512, frequency=5, smoothing=0.8, seed=seed, verbose=0
    )
    drawn = np.random.default_rng(seed).integers(len(x), size=batch * updates)
    network(seed).fit(x[drawn], y[drawn], batch_size=batch, verbose=0, callbacks=[noise])
    return noise


watched = [watch(seed) for seed in seeds]
print(watched[0].noise_scale)

# %% alt="The gradient noise scale over the updates, with its 95 % interval: below 100 samples in the first tens of updates, then it grows to some hundreds"
figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
watched[0].plot(ax)
plt.show()

# %% [markdown]
# It grows, as the mean gradient shrinks faster than the noise: from tens of samples to some hundreds.
# So there is no *one* critical batch of a network. What is asked of it is asked up to some loss.
#
# ## The check: updates to a given loss
#
# For each batch size, several rates and three seeds: after how many updates is the loss over all
# data below a target? The best rate of each batch and target counts. Samples are drawn with
# replacement, as the theory has them, and the rate is constant.

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
        check = update + 1 + update // 25  # seldom, so that it costs little: to within 4 %
        model.reset_metrics()
        loss = float(model.test_on_batch(x, y))
        needed += [update for target in targets[len(needed) :] if loss < target]
        if len(needed) == len(targets):
            break
    return needed + [np.inf] * (len(targets) - len(needed))


def best_rate(batch):
    """Of each target: the rate that needs least updates, and the updates of each seed."""
    runs = np.array([[updates_to_targets(batch, r, seed) for seed in seeds] for r in rates])
    best = runs.mean(axis=1).argmin(axis=0)
    return [(rates[k], runs[k, :, i]) for i, k in enumerate(best)]


found = {batch: best_rate(batch) for batch in batches}
print("updates to the target, mean ± deviation over the seeds, at the best rate")
print("batch" + "".join(f"{f'loss < {target}':>16}   rate" for target in targets))
for batch in batches:
    cells = (
        f"{needed.mean():>10.0f} ± {needed.std(ddof=len(seeds) > 1):<3.0f}{rate:>7}"
        for rate, needed in found[batch]
    )
    print(f"{batch:>5}" + "".join(cells))

# %% [markdown]
# ## Measured against predicted
#
# The curve above gives the turning point with no gradient looked at: a least-squares fit of $S(B)$,
# with relative errors. The prediction is from the gradients alone: all measurements of the watched
# runs up to the target, the traces' sum over the sum of the squared norms.

# %%
inverse = 1 / np.array(batches)


def turning_point(needed):
    """S_min and the batch that takes twice that."""
    columns = np.stack([1 / needed, inverse / needed], axis=1)
    least, slope = np.linalg.lstsq(columns, np.ones(len(needed)), rcond=None)[0]
    return least, slope / least


def predicted(noise, until):
    """The noise scale up to an update: the ratio of the means, and the median of the ratios."""
    past = np.array(noise.history["update"]) <= until
    trace, square = (np.array(noise.history[k])[past] for k in ("trace", "gradient_norm_squared"))
    return trace.mean() / square.mean(), np.median(trace / square)


laws, noises = [], []
print("in samples, mean ± deviation over the seeds")
print("target  S_min  turning point  noise scale: of means   median")
for i, target in enumerate(targets):
    needed = np.array([found[batch][i][1] for batch in batches])  # batches by seeds
    fits = np.array([turning_point(each) for each in needed.T])
    until = found[32 if quick else 64][i][1].mean()
    scales = np.array([predicted(noise, max(until, 5)) for noise in watched])
    laws.append(turning_point(needed.mean(axis=1)))
    noises.append(scales.mean(axis=0))
    cells = "".join(
        f"{column.mean():>12.0f} ± {column.std(ddof=len(seeds) > 1):<3.0f}"
        for column in (fits[:, 1], *scales.T)
    )
    print(f"{target:>6}{fits[:, 0].mean():>7.0f}{cells}")

# %% alt="Left: updates to a loss over the batch size fall, then level off; right: the same runs, samples over updates. The fits' turning points are near the noise scales"
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
sizes = np.geomspace(batches[0], batches[-1], 50)
for i, (target, marker, line) in enumerate(zip(targets, "os", ("-", "--"), strict=True)):
    means = np.array([found[batch][i][1].mean() for batch in batches])
    least, turn = laws[i]
    law = least * (1 + turn / sizes)
    for ax, across, up, curve in (
        (axes[0], batches, means, (sizes, law)),
        (axes[1], means, means * batches, (law, law * sizes)),
    ):
        (drawn,) = ax.plot(*curve, line, label=f"loss < {target}: fit")
        ax.plot(across, up, marker, color=drawn.get_color(), label="measured")
    axes[0].plot(
        turn, 2 * least, "*", color=drawn.get_color(), markersize=14, label="turning point"
    )
    axes[0].axvspan(*noises[i], color=drawn.get_color(), alpha=0.15, label="noise scales")
axes[0].set(xscale="log", yscale="log", xlabel="batch size, samples", ylabel="updates to the loss")
axes[1].set(xscale="log", yscale="log", xlabel="updates to the loss", ylabel="samples to the loss")
ticks = [20, 50, 100, 200, 500]
axes[1].set(xticks=ticks, xticklabels=ticks)
axes[1].minorticks_off()
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# - **The law fits.** Updates fall with the batch and then level off, and beyond a few times the turning
#   point a larger batch buys samples for nothing.
# - **The prediction is good to a factor of two or better,** from gradients at one batch size. For the
#   easy target it is right within the spread; for the harder one the two ways to average a scale that
#   grows lie on either side of the measured turning point.
# - **The best rate grows with the batch,** and not by a rule: it is level over most of the range, since
#   plain SGD here is near the largest rate that is stable. The grid of five rates is coarse, and a single
#   seed that fails to settle shows, as in the row of 128.
#
# ## Limits
#
# The target is a *training* loss. Nothing here says what a batch does to the test accuracy, which the
# other pages are about. Momentum, batch norm and a rate that falls are outside the law's argument; so is
# a network in which the curvature differs by direction, which is every network.
#
# ## What to take away
#
# - Measure the noise scale in the course of a training, not at its start, where it is smallest.
# - Below it, doubling the batch nearly halves the updates. Well above, it only costs.
# - When the interval is wide, or the scale is NaN with a warning, the measurement did not tell.
#
# The card of the instrument is on [Instruments](../instruments.md). API:
# [gradient_noise_scale][keras_bigbatch.diagnostics.gradient_noise_scale.gradient_noise_scale] and
# [GradientNoiseScale][keras_bigbatch.callbacks.GradientNoiseScale]. Next:
# [layer-wise optimizers](layer-wise-optimizers.md).
