# %% [markdown]
# # Converting a pretrained network
#
# **Fine-tuned at a large batch, a network with plain batch norm reaches about 90 % test accuracy.
# With recomputed moving statistics, the same weights reach about 98 %.**
#
# A network with batch norm can be converted to ghost batch norm, which normalizes small groups of
# samples (*ghost batches*) separately, without rewriting its code. The copy makes the same
# predictions and only *trains* differently. This page converts a classifier from
# [KerasHub](https://keras.io/keras_hub/), fine-tunes it at a large batch, shows what goes wrong
# with plain batch norm there, and repairs this in one pass over the data.

# %% tags=["notebook"]
# In a notebook of your own, install the package from a clone, as Getting started says.
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

seeds, epochs, stretch = [0, 1, 2], 10, 4  # quick: [0], 1, 1
pretraining, samples, first_epochs = 901, 640, 20  # quick: 64, 320, 1

# %% [markdown]
# ## Something pretrained, with no download
#
# In scikit-learn's 8 by 8 images of digits, the digits 0 to 4 take the place of the large data set
# that somebody else trained on. The digits 5 to 9 are our own task, with 256 images kept for
# testing. (At 90 %, an accuracy on 256 images has a standard error of about 2 points.)

# %%
x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1).astype("float32")
first_x, first_y = x[y < 5][:pretraining], y[y < 5][:pretraining]
x, y = x[y >= 5], y[y >= 5] - 5
test_x, test_y = x[640:], y[640:]
x, y = x[:samples], y[:samples]
print(f"pretraining {len(first_x)}, fine-tuning {len(x)}, test {len(test_x)}")

# %% [markdown]
# The network is a small DenseNet. Like every KerasHub task, it has a preprocessor and a backbone.
# The preprocessor here enlarges the images and scales them.


# %%
def make_classifier():
    backbone = keras_hub.models.DenseNetBackbone(
        stackwise_num_repeats=[2, 2], growth_rate=16, image_shape=(16, 16, 1)
    )
    images = keras_hub.layers.DenseNetImageConverter(image_size=(16, 16), scale=1 / 16)
    preprocessor = keras_hub.models.DenseNetImageClassifierPreprocessor(images)
    return keras_hub.models.DenseNetImageClassifier(
        backbone=backbone, preprocessor=preprocessor, num_classes=5
    )


def compile(model, learning_rate):
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


def batches(x, y, size, seed):
    # In a new order each epoch: the `fit` of KerasHub's tasks does not shuffle arrays.
    data = tf.data.Dataset.from_tensor_slices((x, y))
    return data.shuffle(len(x), seed=seed).batch(size)


keras.utils.set_random_seed(0)
pretrained = make_classifier()
compile(pretrained, 0.1)
first = batches(first_x, first_y, 32, seed=0)
log = pretrained.fit(first, epochs=first_epochs, shuffle=False, verbose=0)
print(f"training accuracy on its own digits: {100 * log.history['accuracy'][-1]:.1f} %")
folder = tempfile.TemporaryDirectory()
pretrained.save_to_preset(f"{folder.name}/pretrained")

# %% [markdown]
# ## Convert
#
# From here on we use only the saved folder. The head is new, and the stem is frozen, as is usual
# with little data. [`to_ghost`][keras_bigbatch.layers.to_ghost] copies the model with its backbone
# and preprocessor, and does not change the original.


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

# %% [markdown]
# The weights of a batch norm are gamma, beta and the *moving* mean and variance. All four are
# copied, as are names, regularizers and `trainable` flags. Other layers are copied without changes.
#
# ## A recipe for the large batch
#
# Suppose the fine-tuning recipe was tuned at a batch of 32. A `Regime` describes this recipe, and
# `at` converts it into a plan for a batch of 320, here with four times the epochs.

# %%
rates = {0: 0.05, epochs * 3 // 5: 0.005}
regime = kbb.Regime(batch=32, epochs=epochs, examples=len(x), learning_rate=rates)
small, large = regime.at(32), regime.at(320, stretch=stretch)
print(large)

# %% [markdown]
# Compile *after* the conversion, because an optimizer is tied to the variables that it was built
# for.


# %%
def fine_tune(plan, convert, seed):
    """The model, the history of `fit`, and the history of the weight distance."""
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
        shuffle=False,  # the data set shuffles
        verbose=0,
        **plan.fit_arguments(data, callbacks=[distance]),
    )
    return model, log.history, distance.history


arms = {"32, plain": (small, False), "320, plain": (large, False), "320, ghost": (large, True)}
runs = {name: [fine_tune(*arm, seed) for seed in seeds] for name, arm in arms.items()}


def mean(values):
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


print("batch, norm   distance   training        test")
for name, results in runs.items():
    distances = [distance["distance"][-1] for _, _, distance in results]
    training = [100 * log["accuracy"][-1] for _, log, _ in results]
    test = [100 * log["val_accuracy"][-1] for _, log, _ in results]
    print(f"{name:<11} {np.mean(distances):>10.2f} {np.mean(training):>10.1f} {mean(test):>13}")

# %% alt="Test accuracy over epochs at batch 320, each seed: ghost batch norm rises within a few epochs, plain batch norm far later and less"
figure, ax = plt.subplots()
for name, style in (("320, plain", "C1--"), ("320, ghost", "C2-")):
    for place, (_, log, _) in enumerate(runs[name]):
        validated = 100 * np.array(log["val_accuracy"])
        label = name if place == 0 else None
        ax.plot(range(1, len(validated) + 1), validated, style, label=label)
ax.set(xlabel="epoch of fine-tuning", ylabel="test accuracy, %")
ax.legend(title="batch, norm")
plt.show()

# %% [markdown]
# ## It is not the weights
#
# In both large-batch runs, the weights move equally far and fit the training set equally well. The
# runs differ in the moving statistics, which inference uses. Keras's batch norm updates them once
# per optimizer step, with a momentum of $\mu = 0.99$. Ghost batch norm updates them once per
# *group*. With $K$ groups in a batch, whose means are $m_1$ to $m_K$, the moving mean $m$ becomes
#
# $$m \leftarrow \mu^{K} m + (1 - \mu) \sum_{l=1}^{K} \mu^{K-l} m_l .$$
#
# After $T$ optimizer steps, a fraction $\mu^{KT}$ of the moving mean still comes from the digits 0
# to 4.

# %%
momentum = plain.backbone.get_layer("stack1_block1_1_bn").momentum
for (name, (plan, _)), groups in zip(arms.items(), (1, 1, 320 // 32), strict=True):
    share = 100 * momentum ** (groups * plan.updates)
    print(f"{name:>12}: {plan.updates} updates, old share {share:.1f} %")

# %% [markdown]
# If that is the cause, the weights of the plain run should do well with statistics of the new data.
# [`renew_statistics`][keras_bigbatch.layers.renew_statistics] computes them in one pass. Each layer
# normalizes as in training, and its moments are pooled over all samples. The frozen stem keeps the
# statistics that its weights were trained with.

# %%
for name, results in runs.items():
    before = [accuracy(model) for model, _, _ in results]
    for model, _, _ in results:
        kbb.layers.renew_statistics(model, x, batch_size=320, verbose=0)
    after = [accuracy(model) for model, _, _ in results]
    print(f"{name:<11} {mean(before):>13}   renewed: {mean(after)}")

# %% [markdown]
# ## Save, load, and go back
#
# Save the converted model as usual. A script that loads it must import `keras_bigbatch` first, so
# that Keras knows the layer and the schedule. A KerasHub preset should work without this package,
# so it is written with plain batch norm. [`to_plain`][keras_bigbatch.layers.to_plain] returns this
# plain model.

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
folder.cleanup()

# %% [markdown]
# ## What to take away
#
# - Convert the model, then freeze or unfreeze layers, then compile. The copy makes the same
#   predictions until it is trained.
# - In a short run at a large batch, batch norm's moving statistics may lag behind the weights. If
#   the test accuracy is low, recompute them first and check again.
# - So the gain of ghost batch norm on this page does not come from noisy statistics. With
#   recomputed statistics the plain network is equally good, as far as three seeds on 256 images can
#   tell.
# - With a momentum of 0.9, as in KerasHub's ResNets, nothing of the old statistics is left after 80
#   updates, and there is nothing to repair. `to_ghost(model, 32, momentum=0.9)` also sets this
#   momentum.
#
# ## Next
#
# - [Converting a model](../converting.md) describes which models can be converted.
# - [On many devices](many-devices.md) shows how several devices share a large batch.
