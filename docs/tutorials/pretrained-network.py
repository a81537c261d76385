# %% [markdown]
# # Converting a pretrained network
#
# A network that exists already has batch norm in it, and weights that were expensive. It can be
# converted without a rewrite: the copy predicts the same, and only *trains* otherwise. This page
# converts a classifier of [KerasHub](https://keras.io/keras_hub/), fine-tunes it at a large batch,
# shows what batch norm does wrong there, and mends it in one pass over the data.

# %% tags=["notebook"]
# In a notebook of your own: the package comes from a clone, as Getting started says.
# %pip install -q keras-hub scikit-learn matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

import tempfile

import keras
import keras_hub
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

quick = "KBB_QUICK" in os.environ  # our tests run this page in seconds
seeds, epochs, stretch = ([0], 1, 1) if quick else ([0, 1, 2], 10, 4)

# %% [markdown]
# ## Something pretrained, with no download
#
# The digits 0 to 4 of scikit-learn's 8 by 8 pictures stand for the large data set that somebody
# trained on. The digits 5 to 9 are our own task, with 256 pictures kept for testing. (At 90 %, an
# accuracy on 256 pictures has a standard error of about 2 points.)

# %%
x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1).astype("float32")
first_x, first_y = x[y < 5], y[y < 5]
x, y = x[y >= 5], y[y >= 5] - 5
x, y, test_x, test_y = x[:640], y[:640], x[640:], y[640:]
if quick:
    first_x, first_y, x, y = first_x[:64], first_y[:64], x[:320], y[:320]
print(f"pretraining {len(first_x)}, fine-tuning {len(x)}, test {len(test_x)}")

# %% [markdown]
# The network is a small DenseNet. As every task of KerasHub it holds a preprocessor, which here
# enlarges the pictures and scales them, and a backbone.


# %%
def make_classifier():
    backbone = keras_hub.models.DenseNetBackbone(
        stackwise_num_repeats=[2, 2], growth_rate=16, image_shape=(16, 16, 1)
    )
    pictures = keras_hub.layers.DenseNetImageConverter(image_size=(16, 16), scale=1 / 16)
    return keras_hub.models.DenseNetImageClassifier(
        backbone=backbone,
        preprocessor=keras_hub.models.DenseNetImageClassifierPreprocessor(pictures),
        num_classes=5,
    )


def compile(model, learning_rate):
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


def batches(x, y, size, seed):
    # In another order each epoch: the `fit` of KerasHub's tasks does not shuffle arrays.
    data = tf.data.Dataset.from_tensor_slices((x, y))
    return data.shuffle(len(x), seed=seed).batch(size)


keras.utils.set_random_seed(0)
pretrained = make_classifier()
compile(pretrained, 0.1)
first = batches(first_x, first_y, 32, seed=0)
log = pretrained.fit(first, epochs=1 if quick else 20, shuffle=False, verbose=0)
print(f"training accuracy on its own digits: {100 * log.history['accuracy'][-1]:.1f} %")
folder = tempfile.TemporaryDirectory()
pretrained.save_to_preset(f"{folder.name}/pretrained")

# %% [markdown]
# ## Convert
#
# From here on there is only the folder. The head is new, and the stem is frozen, as one does with
# few data. [`to_ghost`][keras_bigbatch.layers.to_ghost] then copies the model, backbone and
# preprocessor included, and leaves the original alone.


# %%
def load():
    # With a download: keras_hub.models.ImageClassifier.from_preset("resnet_50_imagenet", ...)
    model = keras_hub.models.ImageClassifier.from_preset(f"{folder.name}/pretrained", num_classes=5)
    for name in ("conv1_conv", "conv1_bn"):
        model.backbone.get_layer(name).trainable = False
    return model


plain = load()
ghost = kbb.layers.to_ghost(plain, virtual_batch=32)
kbb.layers.ghost_summary(ghost)


def predictions(model):
    return model.predict(test_x, batch_size=256, verbose=0)


def accuracy(model):
    return 100 * np.mean(predictions(model).argmax(-1) == test_y)


print("\nIt is still a", type(plain).__name__, isinstance(ghost, type(plain)))
difference = np.abs(predictions(ghost) - predictions(plain)).max()
print(f"largest difference of a prediction: {difference:.1e}")
same = map(np.array_equal, plain.get_weights(), ghost.get_weights())
print(f"weights that are the same: {sum(same)} of {len(plain.weights)}")

# %% [markdown]
# The weights of a batch norm are gamma, beta and the *moving* mean and variance, and all four came
# along. Names, regularizers and `trainable` flags do as well. Other layers are copied as they are.
#
# ## A recipe for the large batch
#
# Say that the fine-tuning was tuned at a batch of 32. At 320, with four times the epochs, the plan
# is this.

# %%
regime = kbb.Regime(
    batch=32,
    epochs=epochs,
    examples=len(x),
    learning_rate={0: 0.05, epochs * 3 // 5: 0.005},
)
small = regime.at(32)
large = regime.at(320, stretch=stretch)
print(large)

# %% [markdown]
# Each training starts from the folder, and is compiled *after* the conversion: an optimizer belongs
# to the variables that it was built for. The small batch is the reference.


# %%
def fine_tune(plan, convert, seed):
    keras.utils.set_random_seed(seed)
    model = load()  # the seed draws the new head
    if convert:
        model = kbb.layers.to_ghost(model, virtual_batch=32)
    compile(model, plan.learning_rate)
    distance = kbb.WeightDistance()
    data = batches(x, y, plan.batch, seed)
    log = model.fit(
        data,
        validation_data=tf.data.Dataset.from_tensors((test_x, test_y)),
        shuffle=False,  # it is the data set that shuffles
        verbose=0,
        **plan.fit_arguments(data, callbacks=[distance]),
    )
    return model, log.history, distance.history


runs = {"32, plain": [fine_tune(small, False, seed) for seed in seeds]}

# %% [markdown]
# The large batch, first with the network as it came, then with the converted one:

# %%
runs["320, plain"] = [fine_tune(large, False, seed) for seed in seeds]

# %%
runs["320, ghost"] = [fine_tune(large, True, seed) for seed in seeds]


def mean(values):
    spread = np.std(values, ddof=1) if len(seeds) > 1 else 0
    return f"{np.mean(values):.1f} ± {spread:.1f}"


print("batch, norm   distance   training        test")
for name, results in runs.items():
    distances = [distance["distance"][-1] for _, _, distance in results]
    training = [100 * log["accuracy"][-1] for _, log, _ in results]
    test = [100 * log["val_accuracy"][-1] for _, log, _ in results]
    print(f"{name:<11} {np.mean(distances):>10.2f} {np.mean(training):>10.1f} {mean(test):>13}")

# %% alt="Left: test accuracy over epochs at batch 320; ghost batch norm rises within a few epochs, plain batch norm far later and less. Right: the weight distance over updates, where both curves are the same"
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for name, style, color in (("320, plain", "--", "C0"), ("320, ghost", "-", "C1")):
    for place, (_, log, distance) in enumerate(runs[name]):
        label = name if place == 0 else None
        validated = 100 * np.array(log["val_accuracy"])
        epochs = range(1, len(validated) + 1)
        left.plot(epochs, validated, style, color=color, label=label)
        right.plot(distance["update"], distance["distance"], style, color=color, label=label)
left.set(xlabel="epoch of fine-tuning", ylabel="test accuracy, %")
right.set(xlabel="update", ylabel="distance of the weights from their start", xscale="log")
left.legend(title="batch, norm", frameon=False)
plt.show()

# %% [markdown]
# ## It is not the weights
#
# The two large-batch runs go equally far and fit the training set equally well. What differs is what
# inference uses: the moving statistics. Keras's batch norm moves them once an update, with a
# momentum of $\mu = 0.99$. Ghost batch norm moves them once a *group*, so with $K$ groups in a batch
#
# $$m \leftarrow \mu^{K} m + (1 - \mu) \sum_{l=1}^{K} \mu^{K-l} m_l .$$
#
# After $T$ updates, the share of the moving mean that is still that of the digits 0 to 4 is
# $\mu^{KT}$.

# %%
momentum = plain.backbone.get_layer("stack1_block1_1_bn").momentum
for name, plan, groups in (
    ("32, plain", small, 1),
    ("320, plain", large, 1),
    ("320, ghost", large, 320 // 32),
):
    share = 100 * momentum ** (groups * plan.updates)
    print(f"{name:>12}: {plan.updates} updates, old share {share:.1f} %")

# %% [markdown]
# If that is the reason, the weights of the plain run must do well as soon as the statistics are
# those of the new data. [`renew_statistics`][keras_bigbatch.layers.renew_statistics] computes them
# in one pass: each layer normalizes as in training, and its moments are pooled over all samples. The
# frozen stem keeps its own, which its weights were made for.

# %%
for name, results in runs.items():
    before = [accuracy(model) for model, _, _ in results]
    for model, _, _ in results:
        kbb.layers.renew_statistics(model, x, batch_size=320, verbose=0)
    after = [accuracy(model) for model, _, _ in results]
    print(f"{name:<11} {mean(before):>13}   renewed: {mean(after)}")

# %% [markdown]
# ## Save, load, and back
#
# The converted model is saved as any other. A script that loads it has to import `keras_bigbatch`
# first, so that Keras knows the layer and the schedule. A preset is for everybody, so KerasHub's
# folder gets the model with plain batch norm;
# [`to_plain`][keras_bigbatch.layers.to_plain] gives that model itself.

# %%
model = runs["320, ghost"][0][0]
model.save(f"{folder.name}/tuned.keras")
model.save_to_preset(f"{folder.name}/tuned")

loaded = keras.saving.load_model(f"{folder.name}/tuned.keras", compile=False)
preset = keras_hub.models.ImageClassifier.from_preset(f"{folder.name}/tuned")
back = kbb.layers.to_plain(loaded)

for name, other in (("loaded", loaded), ("preset", preset), ("back", back)):
    norm = type(other.backbone.get_layer("conv1_bn"))
    kind = "ghost" if issubclass(norm, kbb.GhostBatchNormalization) else "plain"
    difference = np.abs(predictions(other) - predictions(model)).max()
    print(f"{name}: {kind} batch norm, largest difference of a prediction {difference:.1e}")
stem, stem_before = (each.backbone.get_layer("conv1_bn").get_weights() for each in (model, plain))
print("the frozen layer is what it was:", all(map(np.array_equal, stem, stem_before)))
folder.cleanup()

# %% [markdown]
# ## What to take away
#
# - Convert, then freeze or unfreeze, then compile. The copy predicts the same until it is trained.
# - A short training at a large batch may leave batch norm's moving statistics behind. Before anything
#   else is blamed for a low test accuracy, renew them and look again.
# - So ghost batch norm's gain on this page is not that of noisy statistics. With its statistics
#   renewed the plain network is as good, as far as three seeds on 256 pictures can tell.
# - Where the momentum is 0.9, as in KerasHub's ResNets, 80 updates leave nothing of the old
#   statistics, and there is nothing to mend. `to_ghost(model, 32, momentum=0.9)` sets it too.
#
# [Converting a model](../converting.md) says which models can be converted and which libraries were
# tried, [GhostBatchNormalization][keras_bigbatch.layers.GhostBatchNormalization] what it does with
# its moving statistics. Next: [on many devices](many-devices.md).
