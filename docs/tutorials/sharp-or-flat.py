# %% [markdown]
# # Sharp or flat
#
# **At the same training loss, the large batch's minimum is about 20 times as sharp as the small
# batch's. Rescaling the weights reverses this order without changing any output.**
#
# [Keskar et al. (2017)](https://arxiv.org/abs/1609.04836) find that training with a large batch
# ends in a sharp minimum and training with a small batch in a flat one, and argue that this is why
# the large batch generalizes worse. This page measures both minima and the loss on the straight
# line between them. It then changes the sharpness of a network without changing the function that
# it computes.

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

seeds, kernel_sizes = [0, 1, 2], [5, 3, 3]  # quick: [0], [5]

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# ## Two minima from one start
#
# The network is that of [The generalization gap](generalization-gap.md). The seed determines the
# initial weights, so the small batch (SB) and the large batch (LB) start from the same ones. The
# curvature of the cross-entropy falls with the loss, so a network that is trained further looks
# flatter for that reason alone. We therefore choose the numbers of epochs so that both runs end at
# about the same training loss.


# %%
def network(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((40, 1))])
    for kernel in kernel_sizes:
        model.add(keras.layers.Conv1D(32, kernel, strides=2, padding="same", use_bias=False))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    return model


def train(batch, epochs, seed):
    model, updates = network(seed), epochs * len(x) // batch
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        [updates // 2, updates * 3 // 4], [0.05, 0.005, 0.0005]
    )
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
    return model


recipes = {"SB": (40, 15), "LB": (1000, 100)}  # quick: {"SB": (40, 1), "LB": (80, 0)}
models = {name: [train(*recipe, seed) for seed in seeds] for name, recipe in recipes.items()}

# %% [markdown]
# ## Three measures
#
# Keskar's [`sharpness`][keras_bigbatch.diagnostics.sharpness] measures how far the loss rises in a
# small box around the weights, in percent:
#
# $$\phi = 100 \cdot \frac{\max_{y} L(w + y) - L(w)}{1 + L(w)}, \qquad |y_i| \leq \epsilon \left( |w_i| + 1 \right)$$
#
# The maximum has to be found by a search, which is short here, so the value is a lower bound. With
# `adaptive=True` the box is $|y_i| \leq \epsilon |w_i|$, relative to each weight ([Kwon et al.,
# 2021](https://arxiv.org/abs/2102.11600)). The third measure is the largest [eigenvalue of the
# Hessian][keras_bigbatch.diagnostics.hessian_eigenvalues]: the curvature in the steepest direction.

# %%
iterations, tolerance = 10, 0.1  # quick: 2, 1
search = {"batch_size": 1000, "maximizer": "ascent", "starts": 1, "verbose": 0}
search["max_iterations"] = iterations


def sharpnesses(model):
    plain = kbb.diagnostics.sharpness(model, x, y, 1e-3, **search)
    adaptive = kbb.diagnostics.sharpness(model, x, y, 1e-2, adaptive=True, **search)
    return plain.value, adaptive.value


def eigenvalue(model):
    return kbb.diagnostics.hessian_eigenvalues(
        model, x, y, batch_size=1000, tolerance=tolerance, verbose=0
    ).values[0]


def norm_of_kernels(model):
    kernels = [layer.get_weights()[0] for layer in model.layers if hasattr(layer, "kernel")]
    return np.sqrt(sum(np.sum(kernel**2) for kernel in kernels))


quantities = (
    "training loss", "training accuracy, %", "test accuracy, %", "sharpness, %",
    "adaptive sharpness, %", "top eigenvalue", "norm of the kernels",
)  # fmt: skip
found = {}
for name in models:
    found[name] = []
    for model in models[name]:
        loss, accuracy = model.evaluate(x, y, batch_size=1000, verbose=0)
        test_accuracy = model.evaluate(test_x, test_y, batch_size=1000, verbose=0)[1]
        measured = (*sharpnesses(model), eigenvalue(model), norm_of_kernels(model))
        found[name].append((loss, 100 * accuracy, 100 * test_accuracy, *measured))
print(" " * 24 + "".join(f"{name + ', each seed':>30}" for name in found))
for row, quantity in enumerate(quantities):
    cells = ["".join(f"{one[row]:>10.3g}" for one in ones) for ones in found.values()]
    print(f"{quantity:24}" + "".join(f"{cell:>30}" for cell in cells))

# %% [markdown]
# At the same training loss, the large batch's minimum is about twenty times as sharp by Keskar's
# measure and by the eigenvalue, with each seed. Its test accuracy is two to four points lower. (An
# accuracy on 1000 samples has a standard error of 0.6 to 0.9 points, and all six networks are
# tested on the same 1000.) So the observation holds.
#
# Now look at the last row. The norm of LB's kernels is little more than half that of SB's. A box
# whose size hardly depends on the weights is therefore larger relative to LB's. If the box is
# relative to each weight, the factor between the two is six to eight. The eigenvalue times the
# squared norm gives a similar factor of seven to eight. (Because sharpness values are lower bounds,
# these factors are rough.)
#
# The losses agree because we chose SB's number of epochs accordingly. With the same number of
# epochs, SB is trained much further, and the factor is above 1000 in the table of
# [Instruments](../instruments.md). Much of that comes from the lower loss and the larger weights.
#
# ## From one minimum to the other
#
# [`linear_path`][keras_bigbatch.diagnostics.linear_path] computes the loss at
#
# $$w(\alpha) = (1 - \alpha) \, w_{\mathrm{SB}} + \alpha \, w_{\mathrm{LB}}$$
#
# The statistics of batch norm cannot be interpolated like weights, so there are two curves. One
# interpolates the moving statistics of the two networks. The other estimates the statistics that
# belong to the interpolated weights.

# %%
ends = [models[name][0].get_weights() for name in models]
alphas = np.linspace(-1, 2, 25)  # quick: np.linspace(-1, 2, 4)
paths = {
    statistics: kbb.diagnostics.linear_path(
        models["SB"][0], *ends, x, y, alphas, batch_size=1000, mode=mode, verbose=0
    )
    for statistics, mode in (("interpolated", "inference"), ("estimated", "estimated"))
}
shown = [k for k, alpha in enumerate(alphas) if -0.5 <= alpha <= 1.5][::2]
print("alpha       " + "".join(f"{alphas[k]:>9.2f}" for k in shown))
for statistics, path in paths.items():
    print(f"{statistics:12}" + "".join(f"{path.loss[k]:>9.3g}" for k in shown))

# %% alt="Training loss on the line from SB at 0 to LB at 1: a barrier between them, lower with estimated statistics"
figure, ax = plt.subplots()
for (statistics, path), style in zip(paths.items(), ("o-", "s--"), strict=True):
    ax.plot(path.alphas, path.loss, style, markersize=4, label=f"statistics {statistics}")
for end, name in enumerate(models):
    ax.axvline(end, color="gray", linewidth=0.8, linestyle=":")
    ax.annotate(name, (end, 0.7), xycoords=("data", "axes fraction"))
ax.set(yscale="log", xlabel="alpha: 0 is SB, 1 is LB", ylabel="training loss")
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# This is the plot of Keskar et al., in one of very many directions and for one seed. A quarter of
# the line's length beyond SB, the loss is at most a third higher than at SB. A quarter beyond LB,
# it is more than fifty times as high as at LB. There is a barrier between the two.
#
# With statistics estimated for the interpolated weights, less than half of the barrier remains. The
# rest came from statistics that do not belong to any network on the line. Also, a step in alpha has
# the same length at LB as at SB, although the weights are larger at SB. That is another reason why
# LB looks narrow.
#
# ## The same network, sharper or flatter
#
# Batch norm divides by the standard deviation of its input. If you multiply the weights before it
# by $c$, and also the moving mean and deviation, every output stays the same. Only the scale of the
# weights changes, and with it the size of the box relative to them. (If $c$ is a power of 2, even
# the rounding stays the same.)


# %%
def rescaled(model, c):
    """The same function with `c` times the weights before each batch norm."""
    twin = network(0)
    twin.set_weights(model.get_weights())
    for layer, norm in zip(twin.layers, twin.layers[1:], strict=False):
        if isinstance(norm, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = norm.get_weights()
            variance = (variance + norm.epsilon) * c**2 - norm.epsilon
            norm.set_weights([gamma, beta, mean * c, variance])
            layer.set_weights([layer.get_weights()[0] * c])
    twin.compile(loss=model.loss)
    return twin


factors = {"SB": 1 / 8, "LB": 8}  # quick: {"SB": 1 / 8}
table = {}
print("         c   largest change of an output   sharpness, %   adaptive sharpness, %")
for name, c in factors.items():
    model = models[name][0]
    twin = rescaled(model, c)
    outputs = [each.predict(x, batch_size=1000, verbose=0) for each in (model, twin)]
    change = np.abs(outputs[1] - outputs[0]).max()
    table[name] = np.array([found[name][0][3:5], sharpnesses(twin)])
    for scale, moved, values in zip((1, c), (0, change), table[name], strict=True):
        print("{}{:>8}{:>30.1e}{:>15.3g}{:>24.3g}".format(name, scale, moved, *values))

# %% alt="Sharpness: SB is far below LB as trained, and far above it when rescaled. The adaptive sharpness of both stays the same"
figure, ax = plt.subplots()
for number, (name, values) in enumerate(table.items()):
    ax.plot(values[:, 0], "o-", color=f"C{number}", label=f"{name}, sharpness")
    ax.plot(values[:, 1], "s--", color=f"C{number}", label=f"{name}, adaptive")
ax.set(yscale="log", ylabel="sharpness, %", xlim=(-0.5, 1.5), ylim=(0.3, 300), xticks=[0, 1])
ax.set_xticklabels(["as trained", "rescaled:\nSB by 1/8, LB by 8"])
ax.set(yticks=[1, 10, 100], yticklabels=[1, 10, 100])
ax.legend(ncols=2, loc="upper center")
plt.show()

# %% [markdown]
# Now the small batch's minimum is the sharp one. No output changed, so the accuracies are the same,
# and SB is still the better network. [Dinh et al. (2017)](https://arxiv.org/abs/1703.04933) show
# this for ReLU layers. With batch norm the scale of each layer is free. The eigenvalues change too:
# $L(c w) = L(w)$ implies that the curvature in these weights is divided by $c^2$.
#
# The adaptive sharpness did not change, because it is not affected by such rescaling. By this
# measure LB is sharper both before and after.
#
# ## What to take away
#
# - Keskar's observation holds here: at the same training loss, the large batch's minimum is sharper
#   with each of three seeds, by each of three measures.
# - How much sharper it is depends on the scale of the weights and on the training loss. Match the
#   loss, print the norms, and measure with `adaptive=True` as well.
# - Keskar's sharpness alone cannot be the reason why a network generalizes, because you can change
#   it without changing any output. It describes where *training* ended.
# - Sharpness did not predict accuracy. In the table of [Instruments](../instruments.md), a scaled
#   rate makes the large batch's minimum ten times flatter, but its accuracy is not clearly better.
#
# ## Next
#
# - [Keskar et al.](../evidence/keskar.md) shows our reproductions of the paper's figures. To reduce
#   the gap, see [regime adaptation](../methods/regime-adaptation.md).
# - [How large is large?](how-large-is-large.md) measures the batch size beyond which more samples
#   stop helping.
