# %% [markdown]
# # A random walk
#
# **A good logarithmic fit does not prove a random walk: gradient descent on a convex loss, with no
# noise at all, gives a fit with an R2 of 0.998.**
#
# How far do the weights move from where they started? Hoffer, Hubara & Soudry (2017) plot that
# distance against the logarithm of the updates, find straight lines, and explain them with a random
# walk. This page makes the same plot, fits curves to it, and asks what a good fit proves.

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

seeds, updates = [0, 1, 2], 1000  # quick: [0], 20
windows = (10, 100)  # quick: (3, 5)
first = windows[0]

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]

# %% [markdown]
# ## The argument
#
# Assume that the loss $L$ is a random landscape over the weights $w$. The farther apart two points
# are, the more their losses differ:
#
# $$E \left[ (L(w_1) - L(w_2))^2 \right] \sim \lVert w_1 - w_2 \rVert^{\alpha}$$
#
# To move a distance $z$ away, the weights have to cross hills whose height is about
# $z^{\alpha / 2}$. The time a random walk takes to cross a hill is exponential in the hill's height.
# So after $t$ updates (optimizer steps) the distance from the initial weights $w_0$ is
#
# $$\lVert w_t - w_0 \rVert \sim (\log t)^{2 / \alpha}$$
#
# With $\alpha = 2$, which the paper measures around the start of its networks, the distance grows
# with $\log t$. That is very slow: in a random walk without hills, the distance grows with
# $\sqrt{t}$. As a consequence, the weights do not get far with a large batch, which makes few
# updates in the same number of epochs.
#
# ## The measurement
#
# [`WeightDistance`][keras_bigbatch.callbacks.WeightDistance] measures $\lVert w_t - w_0 \rVert$
# over all trainable weights while `fit` runs, about ten times per decade of updates. The network is
# the one from [The generalization gap](generalization-gap.md). The learning rate is constant,
# because a drop would bend the curve. There are four arms (training settings), all with the same
# number of updates: SB is the small batch and LB the large one at the same rate. +LR also scales
# the rate, and +GBN also uses ghost batch norm, which normalizes small groups of samples
# separately.


# %%
def train(batch, rate, norm, seed):
    """The measured distances, and the training loss at the end."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((40, 1))])
    for kernel in (5, 3, 3):
        model.add(keras.layers.Conv1D(32, kernel, strides=2, padding="same", use_bias=False))
        model.add(norm())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    walk = kbb.WeightDistance()
    # One long epoch: each epoch's end is measured too, and would give the late part more weight.
    drawn = np.random.default_rng(seed).integers(len(x), size=updates * batch)
    model.fit(x[drawn], y[drawn], batch_size=batch, verbose=0, callbacks=[walk])
    return walk, model.evaluate(x, y, batch_size=1000, verbose=0)


batch_norm = partial(keras.layers.BatchNormalization, momentum=0.9)
ghost_norm = partial(kbb.GhostBatchNormalization, virtual_batch=8, momentum=0.9)
small, large = 40, 400
scaled = kbb.schedules.scale_learning_rate(0.05, small, large, rule="sqrt")
arms = {
    "SB": (small, 0.05, batch_norm),
    "LB": (large, 0.05, batch_norm),
    "+LR": (large, scaled, batch_norm),
    "+GBN": (large, scaled, ghost_norm),
}
compared = list(arms)  # quick: ["SB", "+GBN"]
runs = {name: [train(*arms[name], seed) for seed in seeds] for name in compared}

reached = np.array(runs["SB"][0][0].history["update"])
walks = {name: np.array([run.history["distance"] for run, _ in runs[name]]) for name in runs}
shown = [int(np.argmin(abs(reached - t))) for t in (10, 100, updates)]

print("mean ± deviation over the seeds; distance at update")
print("arm    rate" + "".join(f"{reached[k]:>14}" for k in shown) + "   training loss")
for name, distances in walks.items():
    means, deviations = distances.mean(0), distances.std(0, ddof=1)
    cells = "".join(f"{means[k]:>7.2f} ± {deviations[k]:.2f}" for k in shown)
    loss = np.mean([loss for _, loss in runs[name]])
    print(f"{name:5}{arms[name][1]:>6.3f}  {cells}{loss:>16.4f}")

# %% alt="Distance from the start over the logarithm of the updates: LB flattens, +LR starts high, +GBN ends highest"
figure, ax = plt.subplots()
for (name, curves), style in zip(walks.items(), ("o-", "s--", "^-.", "D:"), strict=False):
    (line,) = ax.plot(reached, curves.mean(0), style, markersize=4, label=name)
    ax.fill_between(reached, curves.min(0), curves.max(0), color=line.get_color(), alpha=0.2)
ax.set(xscale="log", xlabel="optimizer updates", ylabel="distance from the start")
ax.legend()
plt.show()

# %% [markdown]
# With the same rate and number of updates, the weights get little more than half as far with the
# large batch. At update 100 the distances are still close. After that they diverge, as the training
# loss of the large batch approaches zero.
#
# In the paper's second figure, the curves agree again with a scaled rate and ghost batch norm. Here
# the slopes come closer, but the curves cross. With the scaled rate, the large batch is *ahead* of
# the small one for hundreds of updates. Without ghost batches it then slows down and ends behind
# the small batch. With them it ends ahead. The distances are equal only at a single update.
#
# ## What the fit says
#
# The callback's `fit` calls [`fit_diffusion`][keras_bigbatch.diagnostics.fit_diffusion]. It
# compares four laws and reports for each law an R2 of the distance itself. For one seed of the
# small batch it prints:

# %%
print(runs["SB"][0][0].fit(first))

# %% [markdown]
# The next table shows the fits for all arms, from update 10 and from update 100:

# %%
print("means over the seeds: slope s of a + s ln t, and R2 of each law")
print("arm   from  slope  a + s ln t  b (ln t)^p  a + s sqrt t  b t^p")
for name in runs:
    for start in windows:
        fits = [run.fit(start) for run, _ in runs[name]]
        rows = [(f.slope, f.r2, f.exponent_r2, f.sqrt.r2, f.power.r2) for f in fits]
        cells = "{:>7.2f}{:>12.3f}{:>12.3f}{:>14.3f}{:>7.3f}".format(*np.mean(rows, axis=0))
        print(f"{name:5}{start:>5}{cells}")

# %% [markdown]
# - **The small batch does not follow the logarithmic law.** From update 10 on, the square root and
#   the plain power law fit better than the logarithm. The slope from update 100 is one and a half
#   times the slope from update 10. A straight line would have a single slope.
# - **The exponent of $\log t$ is not 1.** For the small batch it is near 2, so $\alpha \approx 1$.
#   (The interval treats the residuals as independent, but along a curve they are not.)
# - **The result depends on the window.** From update 100 on, all four laws have an R2 of about 0.99
#   or more for the small batch. With a single decade of updates, no fit can tell them apart.
# - **The large batch does look logarithmic** from update 10, and with ghost batches also from 100.
#   But in these runs the training loss has fallen to thousandths. A vanishing gradient explains the
#   slowdown more simply than hills do.
#
# ## A straight line without a walk
#
# Take logistic regression on two classes that a plane can separate. The loss is convex, so there
# are no hills. Each batch is the whole data set, so there is no noise and no randomness. The
# minimum is at infinity, and gradient descent moves toward it as
#
# $$w_t = \hat{w} \log t + O(1)$$
#
# ([Soudry et al., 2018](https://arxiv.org/abs/1710.10345); the paper mentions this in section 7).

# %%
draw = np.random.default_rng(0)
sign = np.repeat([-1.0, 1.0], 20)
points = draw.normal(size=(40, 2))
points[:, 0] = sign * (1 + abs(points[:, 0]))  # a gap of 2 between the classes

keras.utils.set_random_seed(0)
logistic = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
logistic.compile(keras.optimizers.SGD(0.5), keras.losses.BinaryCrossentropy(from_logits=True))
convex = kbb.WeightDistance()
logistic.fit(  # one epoch in which every batch is all the data
    np.tile(points, (updates, 1)),
    np.tile(sign > 0, updates).astype("float32"),
    batch_size=40,
    shuffle=False,
    verbose=0,
    callbacks=[convex],
)
print(convex.fit(first))


# %%
def draw_laws(walk, title):
    """The measured distances, with the log law and the square-root law fitted to them."""
    fit, t = walk.fit(first), np.geomspace(first, updates)
    root = fit.sqrt.intercept + fit.sqrt.slope * np.sqrt(t)
    _, ax = plt.subplots()
    ax.plot(walk.history["update"], walk.history["distance"], "o", markersize=4, label="measured")
    ax.plot(t, fit.intercept + fit.slope * np.log(t), "-", label=f"log law, R2 {fit.r2:.3f}")
    ax.plot(t, root, "--", label=f"square-root law, R2 {fit.sqrt.r2:.3f}")
    ax.set(xscale="log", xlabel="optimizer updates", ylabel="distance from the start", title=title)
    ax.legend()
    plt.show()


# %% alt="The small batch's distances bend away from the log law and lie near the square-root law"
draw_laws(runs["SB"][0][0], "SB: a network, small batches")

# %% alt="The distances of logistic regression without noise lie on the log law"
draw_laws(convex, "logistic regression, no noise")

# %% [markdown]
# The logarithmic law fits this convex descent without noise better than any arm of the network
# above. The fit even reports an $\alpha$ for a random potential that does not exist.
#
# ## What to take away
#
# - The observation holds: at the same learning rate, the weights get less far with the larger
#   batch. The distance is cheap to measure, and `WeightDistance` does not affect training.
# - Compare whole curves over updates. It is easy to make a single end point agree.
# - Compare a logarithmic fit with fits of other laws, in more than one window and with more than
#   one seed, and with a case that has no randomness.
# - The logarithmic law did not hold for the small batch. A test of the potential around the start
#   did not give $\alpha = 2$ either ([Evidence](../evidence/hoffer.md), Figure 4).
#
# ## Next
#
# - The methods that the paper derives from this argument, such as [regime
#   adaptation](../methods/regime-adaptation.md), are tested separately.
# - [Sharp or flat](sharp-or-flat.md) looks at where training ends.
