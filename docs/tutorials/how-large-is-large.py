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
# [`gradient_noise_scale`][keras_bigbatch.diagnostics.gradient_noise_scale] measures once, from large
# batches of 512 samples taken as small ones of 32. The callback
# [`GradientNoiseScale`][keras_bigbatch.callbacks.GradientNoiseScale] does it while `fit` runs,
# without an effect on the training, here at a batch of 64.


# %%
def network(seed, rate=0.8):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((64,))])
    model.add(keras.layers.Dense(32, activation="relu"))
    model.add(keras.layers.Dense(10))
    model.compile(
        keras.optimizers.SGD(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


draws = 3 if quick else 10
once = kbb.diagnostics.gradient_noise_scale(network(seed=0), x, y, 32, 512, draws=draws, verbose=0)
print("at the start:", once, sep="\n")


def watch(seed, rate, updates, every):
    noise = kbb.callbacks.GradientNoiseScale(
        x, y, 32, 512, frequency=every, draws=4, smoothing=0.8, seed=seed, verbose=0
    )
    drawn = np.random.default_rng(seed).integers(len(x), size=64 * updates)
    network(seed, rate).fit(x[drawn], y[drawn], batch_size=64, verbose=0, callbacks=[noise])
    return noise


watched = {0.8: [watch(seed, 0.8, *((10, 5) if quick else (200, 5))) for seed in seeds]}
print("at the end, averaged:", watched[0.8][0].noise_scale, sep="\n")

# %% alt="The gradient noise scale over the updates, with its 95 % interval: it falls at first to below 20 samples, then grows to about 100"
figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
watched[0.8][0].plot(ax)
plt.show()

# %% [markdown]
# The noise scale is no constant. At this rate it falls in the first updates, to less than half of
# what it is at the start, and then grows as the loss falls, several times over. The callback averages
# over some five measurements here, so it lags a little.
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
# The table gives the turning point, $B$ with $S(B) = 2 S_{\min}$: a least-squares fit of $S(B)$,
# with relative errors. The prediction is from the gradients of the watched runs up to the target,
# averaged in two ways: the mean trace over the mean squared norm, and the median of the ratios. A
# second set of runs, at a quarter of the rate, shows what the prediction depends on.

# %%
inverse = 1 / np.array(batches)


def turning_point(needed):
    """S_min and the batch that takes twice that."""
    columns = np.stack([1 / needed, inverse / needed], axis=1)
    least, slope = np.linalg.lstsq(columns, np.ones(len(needed)), rcond=None)[0]
    return least, slope / least


def predicted(noise, until):
    """The noise scale up to an update: the ratio of the means, and the median of the ratios."""
    updates = np.array(noise.history["update"])
    past = updates <= max(until, updates[0])
    trace, square = (np.array(noise.history[k])[past] for k in ("trace", "gradient_norm_squared"))
    return trace.mean() / square.mean(), np.median(trace / square)


if not quick:
    watched[0.2] = [watch(seed, 0.2, 600, 15) for seed in seeds]
scales = {}  # targets by seeds by the two averages
for rate, noises in watched.items():
    until = np.array([updates_to_targets(64, rate, seed) for seed in seeds])
    scales[rate] = np.array(
        [[predicted(*each) for each in zip(noises, ends, strict=True)] for ends in until.T]
    )


def cell(values):
    return f"{values.mean():>9.0f} ± {values.std(ddof=len(seeds) > 1):<4.0f}"


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

# %% alt="Left: updates to a loss over the batch size fall, then level off; right: the same runs, samples over updates. The turning points lie in or near the hatched ranges of the noise scales"
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
    axes[0].axvspan(
        *scales[0.8][i].mean(axis=0),
        alpha=0.3,
        color=drawn.get_color(),
        fill=False,
        hatch=("//", "..")[i],
        label="noise scales",
    )
ticks = [50, 100, 200, 500]
axes[0].set(xlabel="batch size, samples", ylabel="updates to the loss")
axes[1].set(xlabel="updates to the loss", ylabel="samples to the loss")
for ax, axis in zip(axes, (axes[0].yaxis, axes[1].xaxis), strict=True):
    ax.set(xscale="log", yscale="log")
    axis.set_minor_formatter(plt.NullFormatter())
    axis.set_ticks(ticks, [str(tick) for tick in ticks])
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# - **The shape is right.** From 8 to 16 samples the updates to the lower loss nearly halve; from
#   256 to 512 they stay the same within the spread. In the right picture the same is a trade: fewer
#   updates to the left, fewer samples below, and the bend is where neither is dear.
# - **It turns later for the lower loss**, at about twice the batch. The noise scale says so too.
# - **At a good rate the prediction is right within a factor of two**, by either average. That it
#   is nearer for the higher loss is no more than luck: the rates are a coarse grid, there are three
#   seeds, and the two averages of the same gradients differ by nearly two for the lower loss.
# - **At a quarter of that rate it is wrong.** On its way to the same losses the same network has a
#   noise scale of about five times as much, and so the turning point is predicted too large by
#   a factor of four to seven. The paper has a section on this dependence, its appendix C. The theory assumes that
#   each batch has its best rate; so measure at a rate you would train with.
#
# ## Limits
#
# - **The equation is a simplification.** The exact one weighs each direction by its curvature (the
#   paper's section 2.2), which costs more to measure.
# - **The grid of rates ends at 1.2**, the best rate of the largest batches for the lower loss. A
#   larger rate might lower the right end of the curve a little, and move the turning point.
# - **It is about the training loss**, not about how well the result does on new data. A batch that
#   is efficient may still [generalize worse](generalization-gap.md).
# - **It is about plain SGD.** Momentum and adaptive optimizers see other noise, and with batch norm
#   a batch's gradient is not a mean over its samples.
# - **One small network on 1797 digits.** Towards the end of a training the squared norm of $G$ can
#   often not be told from zero, and the noise scale is NaN then, with a lower bound.
#
# ## What to take away
#
# - Measure the noise scale in the course of a run with a good rate, and read it as an order of
#   magnitude: batches of a tenth of it waste updates, ten times it wastes samples.
# - A value at the start says little about the rest. That it grows is a reason to [enlarge the batch
#   in stages](batch-stages.md).
# - What did not work: a prediction from a run with a rate that is too small.
#
# The API: [`gradient_noise_scale`][keras_bigbatch.diagnostics.gradient_noise_scale] and
# [`GradientNoiseScale`][keras_bigbatch.callbacks.GradientNoiseScale]. All instruments, and when to
# use them: [Instruments](../instruments.md). The source:
# [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162). Next:
# [layer-wise optimizers](layer-wise-optimizers.md).
