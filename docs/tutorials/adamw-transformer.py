# %% [markdown]
# # AdamW and a transformer
#
# **At 16 times the batch and 4 times the epochs, the weight decay decides: one way to adapt it
# gives about 88 % test accuracy, the other about 84 %. The small batch has about 83 %.**
#
# Most of these tutorials train convolutions with batch norm by SGD. This one trains a small
# transformer with layer norm by AdamW, with a cosine schedule, weight decay and clipping. Ghost
# batches do nothing for it. What remains to adapt is the optimizer, and this page adapts all of it.

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
from keras import layers
from mnist1d.data import get_dataset_args, make_dataset

import keras_bigbatch as kbb

seeds, epochs, longer = [1, 2, 3], 15, 4  # quick: [1], 1, 2

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# ## The recipe
#
# A signal of 40 values is cut into eight tokens of five. Each position has an embedding.


# %%
class Position(layers.Layer):
    """Adds to each token the embedding of its position."""

    def build(self, shape):
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.embeddings = self.add_weight(shape=shape[1:], initializer=start)

    def call(self, tokens):
        return tokens + self.embeddings


def network(width=32):
    signal = keras.Input((40, 1))
    tokens = Position()(layers.Conv1D(width, 5, strides=5)(signal))
    normed = layers.LayerNormalization()(tokens)
    tokens = tokens + layers.MultiHeadAttention(4, width // 4)(normed, normed)
    normed = layers.LayerNormalization()(tokens)
    hidden = layers.Dense(2 * width, activation="gelu")(normed)
    tokens = layers.LayerNormalization()(tokens + layers.Dense(width)(hidden))
    return keras.Model(signal, layers.Dense(10)(layers.GlobalAveragePooling1D()(tokens)))


small, large = 25, 400


def adamw(rate, updates):
    """The recipe: warm-up for a twentieth, cosine to zero, weight decay, clipping."""
    warmup = -(-updates // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, updates - warmup, warmup_target=rate, warmup_steps=warmup
    )
    return keras.optimizers.AdamW(schedule, weight_decay=0.1, global_clipnorm=1.0)


def compiled(optimizer):
    model = network()
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def accuracy(model, x, y):
    return 100 * float(np.mean(np.argmax(keras.ops.convert_to_numpy(model(x)), 1) == y))


# %% [markdown]
# The rate is tuned at the small batch only: three values, one seed, and the last quarter of the
# training samples held out. The weight decay, the clipping and the length were not tuned.

# %%
rates = (0.002, 0.004, 0.008)  # quick: (0.004,)
held_out = {}
split = len(x) * 3 // 4
for rate in rates:
    keras.utils.set_random_seed(0)
    model = compiled(adamw(rate, epochs * split // small))
    model.fit(x[:split], y[:split], batch_size=small, epochs=epochs, verbose=0)
    held_out[rate] = accuracy(model, x[split:], y[split:])
    print(f"rate {rate:g}: {held_out[rate]:.1f} % of the held-out samples")
rate = max(held_out, key=held_out.get)

# %% [markdown]
# ## The same recipe at 16 times the batch
#
# [`Regime.from_compiled`][keras_bigbatch.schedules.Regime] reads the recipe from a model compiled
# for the small batch. `at` adapts it, here to four times the epochs. The table shows what became of
# each number and why.

# %%
updates = epochs * len(x) // small
model = compiled(adamw(rate, updates))
regime = kbb.Regime.from_compiled(model, batch=small, epochs=epochs, examples=len(x))
plan = regime.at(large, stretch=longer)
print(plan)

# %% [markdown]
# `plan.optimizer()` is a new AdamW with these numbers. Look at the time of the weight decay,
# `1 / (rate * decay)` updates. It is as many samples as before. The training has four times the
# samples, so this time is only a quarter as large a part of it. `decay="training"` keeps the part
# instead:

# %%
same_part = regime.at(large, stretch=longer, decay="training")
for each in (regime.at(small), plan, same_part):
    part = 1 / (rate * each.learning_rate.factor * each.optimizer().weight_decay) / each.updates
    print(f"decay {each.optimizer().weight_decay:.3f}: {part:.2f} trainings")

# %% [markdown]
# At a stretch of 1 the two are the same.
#
# ## Measured
#
# What is this worth? Compare with a large batch for which only the batch was changed: the same
# AdamW, with a cosine that ends where the training does.


# %%
def train(make, fit_arguments):
    """Training and test accuracy, and the loss of each epoch, for each seed."""
    model = compiled(make())
    for seed in seeds:
        # One compilation for all seeds: new weights, and an optimizer that starts over.
        keras.utils.set_random_seed(seed)
        model.set_weights(network().get_weights())
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        history = model.fit(x, y, verbose=0, **fit_arguments)
        yield accuracy(model, x, y), accuracy(model, test_x, test_y), history.history["loss"]


def measure(name, plan, make):
    """Prints a row of the table, and returns the test accuracies and the mean losses."""
    arguments = {"batch_size": plan.micro_batch, "epochs": plan.epochs}
    training, test, losses = zip(*train(make, arguments), strict=True)
    spread, mean = np.std(test, ddof=1), np.mean(test)
    print(f"{name:<30}{plan.updates:>7}{np.mean(training):>10.1f}{mean:>9.1f} ± {spread:.1f}")
    return test, np.mean(losses, 0)


arms = {f"batch {small}": (regime.at(small), partial(adamw, rate, updates))}
for stretch in (1, longer):
    moved = regime.at(large, stretch=stretch)
    arms[f"batch changed, stretch {stretch}"] = moved, partial(adamw, rate, moved.updates)
    arms[f"adapted, stretch {stretch}"] = moved, moved.optimizer
arms[f"adapted, stretch {longer}, same part"] = same_part, same_part.optimizer

compared = list(arms)  # quick: list(arms)[-1:]
print("                              updates  training     test")
results = {name: measure(name, *arms[name]) for name in compared}

# %% alt="Test accuracy of each arm, mean and each seed: both arms of stretch 1 far below the small batch; at stretch 4 the adapted recipe with the decay as the same part of the training is highest"
figure, ax = plt.subplots(layout="constrained")
for place, (scores, _) in enumerate(results.values()):
    (dot,) = ax.plot(np.mean(scores), place, "o", markersize=8)
    ax.plot(scores, [place] * len(scores), "|", color=dot.get_color(), markersize=12)
ax.set_yticks(range(len(results)), results)
ax.invert_yaxis()
ax.set(xlabel="test accuracy, %: mean, and each seed")
plt.show()

# %% alt="Training loss over the samples processed, on a log axis, for the small batch and the arms of stretch 4: the adapted recipe with the same part ends lowest"
figure, ax = plt.subplots()
styles = {f"batch {small}": ":", "batch changed": "--", "adapted": "-"}
for number, (name, (_, losses)) in enumerate(results.items()):
    if "stretch 1" not in name:
        samples, style = len(x) * np.arange(1, len(losses) + 1), styles[name.partition(",")[0]]
        ax.plot(samples / 1000, losses, style, color=f"C{number}", label=name)
ax.set(xlabel="thousands of samples processed", ylabel="training loss", yscale="log")
ax.legend()
plt.show()

# %% [markdown]
# - **No rule replaces updates.** At a stretch of 1 there are 150. They fit two thirds of the
#   training set, adapted or not.
# - **Most of the gain comes from the longer training.** It makes a quarter of the small batch's
#   updates. Even the recipe that was not adapted is level with the small batch then. But it has
#   seen four times the samples, and the small batch has not.
# - **Adapting alone does not help here; the decay decides.** By default the adapted recipe ends
#   below the one that was not. With the decay kept as the same part of the training, it ends about
#   three points above it, outside the spread. The two adapted recipes differ only in the decay, 0.4
#   and 0.1.
#
# This is one small network with three seeds and 1000 test samples, and nobody tuned the decay. That
# the second option does better was seen on the test set. It is a finding to check, and was not
# chosen beforehand.
#
# ## What to take away
#
# - Compile as always. `from_compiled`, `at` and `plan.optimizer()` do the rest.
# - Count the updates first, and stretch.
# - With a stretch, read the row "its time in trainings", and try both values of `decay`.
#
# ## Next
#
# - [My recipe uses Adam or AdamW](../adamw.md#weight-decay) has both options of the decay, their
#   sources, and more measurements.
# - [Layer-wise optimizers](layer-wise-optimizers.md) give each layer a rate of its own.
