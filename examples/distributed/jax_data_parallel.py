"""`keras.distribution` on JAX: every device trains on its part of the batch.

On this machine's CPU, as 8 devices:    python jax_data_parallel.py
On all GPUs or TPU cores of a machine:  the same
A mesh of 4 by 2, wide layers split:    python jax_data_parallel.py --model 2
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "jax"
# Splits the CPU only. If JAX finds an accelerator, this has no effect on training.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import keras
from sklearn.datasets import load_digits

import keras_bigbatch as kbb


# --8<-- [start:mesh]
def distribution(model_size):
    """Puts all devices along the batch, or `model_size` of them along wide layers."""
    devices = keras.distribution.list_devices()
    if model_size == 1:
        return keras.distribution.DataParallel(devices=devices)
    shape = (len(devices) // model_size, model_size)
    mesh = keras.distribution.DeviceMesh(shape, ["batch", "model"], devices)
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[".*conv2d.*kernel"] = (None, None, None, "model")
    # Split the vectors of the norm layers like the channels. Unsplit, they cost gathers each step.
    layouts[".*(gamma|beta|moving_mean|moving_variance)"] = ("model",)
    return keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")


# --8<-- [end:mesh]
def main():
    """Trains, and prints numbers to compare with a run on other devices."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=int, default=1, help="devices along the model's width")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    # Before the model is built, so that its weights are placed on the devices.
    keras.distribution.set_distribution(distribution(arguments.model))
    keras.utils.set_random_seed(0)

    x, y = load_digits(return_X_y=True)
    x, y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int32")
    x, y, test_x, test_y = x[:1536], y[:1536], x[1536:1792], y[1536:1792]
    regime = kbb.Regime(batch=32, epochs=arguments.epochs, examples=1536, learning_rate=0.05)
    plan = regime.at(batch=256, stretch=1)  # the global batch, however many devices share it

    model = keras.Sequential([keras.Input((8, 8, 1))])
    for _ in range(2):
        model.add(keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
        # Each of 8 devices gets 32 of 256 samples, one ghost batch: no activations are exchanged.
        model.add(kbb.GhostBatchNormalization(virtual_batch=32, momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(plan.learning_rate, momentum=0.9)
    model.compile(sgd, loss, metrics=["accuracy"])
    distance = kbb.WeightDistance()
    fit = plan.fit_arguments(x, callbacks=[distance])
    model.fit(x, y, shuffle=False, verbose=0, **fit)

    devices = len(keras.distribution.list_devices())
    print(f"{devices} devices, global batch {plan.batch}, {plan.updates} updates")
    print(f"weight_distance: {distance.history['distance'][-1]:.6f}")
    print(f"test accuracy: {model.evaluate(test_x, test_y, batch_size=256, verbose=0)[1]:.4f}")


if __name__ == "__main__":
    main()
