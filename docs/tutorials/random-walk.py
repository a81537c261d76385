# %% [markdown]
# # A random walk
#
# **A good logarithmic fit does not prove a random walk: gradient descent on a convex loss, with no
# noise at all, fits with an R2 of 0.998.**
#
# How far do the weights move from where they started? Hoffer, Hubara & Soudry (2017) plot that
# distance against the logarithm of the updates, find straight lines, and explain them by a random
# walk. This page draws the plot, fits it, and asks what a good fit proves.

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
# Let the loss be a random landscape. The farther two points are apart, the more they differ:
#
# $$E \left[ (L(w_1) - L(w_2))^2 \right] \sim \lVert w_1 - w_2 \rVert^{\alpha}$$
#
# To get a distance $z$ away, the weights have to pass hills of a height of about $z^{\alpha / 2}$.
# A random walk takes a time exponential in the height to pass a hill. So after $t$ updates the
# distance is
#
# $$\lVert w_t - w_0 \rVert \sim (\log t)^{2 / \alpha}$$
#
# With $\alpha = 2$, which the paper measures around the start of its networks, the distance grows
# with $\log t$. That is very slow: a random walk without hills grows with $\sqrt{t}$. It also has a
# consequence. At equal epochs a large batch makes few updates, so it does not get far.
#
# ## The measurement
#
# [`WeightDistance`][keras_bigbatch.callbacks.WeightDistance] measures $\lVert w_t - w_0 \rVert$
# over all trainable weights while `fit` runs, about ten times per decade of updates. The network is
# that of [The generalization gap](generalization-gap.md). The rate is constant, since a drop would
# bend the curve. All arms make the same number of updates.


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
# At the same rate and the same updates, the large batch gets little more than half as far. At
# update 100 the two are still close. They part after that, while the large batch runs out of
# training loss to reduce.
#
# In the paper's second figure the curves agree again once the rate is scaled and the batch norm is
# a ghost one. Here the slopes come closer, and the curves cross. The scaled rate puts the large
# batch *ahead* of the small one for hundreds of updates. Without ghost batches it then slows down
# and ends behind. With them it ends beyond. "The same distance" is true at one update.
#
# ## What the fit says
#
# The callback's `fit` calls [`fit_diffusion`][keras_bigbatch.diagnostics.fit_diffusion]. It
# compares four laws, each with an R2 of the distance itself. For one seed of the small batch:

# %%
print(runs["SB"][0][0].fit(first))

# %% [markdown]
# All arms, fitted from update 10 and from update 100:

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
# - **The small batch does not follow the law.** From update 10 on, the square root and the plain
#   power fit better than the logarithm. The slope from update 100 is half as large again as the
#   slope from update 10. A straight line would have one slope.
# - **The exponent is not 1.** It is near 2 for the small batch, which says $\alpha \approx 1$. (The
#   interval treats the residuals as independent. Along one curve they are not.)
# - **The window decides.** From update 100 on, all four laws have an R2 of about 0.99 or more for
#   the small batch. With one decade of updates no fit can tell them apart.
# - **The large batch does look logarithmic** from update 10, and with ghost batches from 100 too.
#   But there the training loss has fallen to thousandths. A vanishing gradient is a simpler reason
#   to slow down than hills.
#
# ## A straight line without a walk
#
# Take logistic regression on two classes that a plane separates. The loss is convex, so there are
# no hills. Each batch is all the data, so there is no noise and nothing random. The minimum is at
# infinity, and gradient descent goes there as
#
# $$w_t = \hat{w} \log t + O(1)$$
#
# ([Soudry et al., 2018](https://arxiv.org/abs/1710.10345); the paper mentions it in section 7).

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
# The log law fits this convex, noiseless descent better than any arm of the network above. The fit
# even reports an $\alpha$, for a random potential that does not exist.
#
# ## What to take away
#
# - The observation holds: at one rate, the larger batch gets less far. The distance is cheap to
#   measure, and `WeightDistance` does not change the training.
# - Compare whole curves over updates. A single end point can be made to agree.
# - Compare a log fit with other laws, in more than one window, with more than one seed, and with a
#   case that has no randomness.
# - The law itself did not hold for the small batch. Nor did a test of the potential around the
#   start give $\alpha = 2$ ([Evidence](../evidence/hoffer.md), Figure 4).
#
# ## Next
#
# - What the paper derives from the argument, such as [regime
#   adaptation](../methods/regime-adaptation.md), has evidence of its own.
# - [Sharp or flat](sharp-or-flat.md) looks at where training ends.
