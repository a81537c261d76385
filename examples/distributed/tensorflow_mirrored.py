"""TensorFlow's MirroredStrategy with `fit`, and micro-batches, which Keras does not support there.

On this machine's CPU, as 2 devices:  python tensorflow_mirrored.py
On all GPUs of a machine:             the same
Micro-batches (less memory):          python tensorflow_mirrored.py --micro-batches 2

With more than one replica, Keras does not accept `gradient_accumulation_steps`. `MicroBatchModel`
works around that. For several hosts, see tensorflow_multi_worker.py.
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras reads it when it is imported

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

BATCH = 256  # over all replicas


# --8<-- [start:micro]
class MicroBatchModel(keras.Model):
    """A model that processes a replica's batch in parts, and makes one update from all of them."""

    micro_batches = 1

    def train_step(self, data):
        """Makes one update. To get the same ghost batches, the virtual batch must divide a part."""
        x, y = (tf.split(each, self.micro_batches) for each in data)
        weights = self.trainable_weights
        total = [tf.zeros_like(weight) for weight in weights]
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        for part_x, part_y in zip(x, y, strict=True):
            with tf.GradientTape() as tape:
                outputs = self(part_x, training=True)
                loss = self.compute_loss(part_x, part_y, outputs) / self.micro_batches
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, [weight.value for weight in weights])
            total = [a + b for a, b in zip(total, gradients, strict=True)]
            for metric in self.metrics:
                if metric.name == "loss":  # Keras has divided the loss by the number of replicas
                    metric.update_state(loss * (self.micro_batches * replicas))
                else:
                    metric.update_state(part_y, outputs)
        self.optimizer.apply_gradients(zip(total, weights, strict=True))
        return self.get_metrics_result()


# --8<-- [end:micro]
def build(plan, micro_batches):
    """Returns the compiled model. Call it in the strategy's scope."""
    inputs = outputs = keras.Input((8, 8, 1))
    for _ in range(2):
        outputs = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(outputs)
        # Ghost batches come from each replica's part of the batch.
        outputs = kbb.GhostBatchNormalization(virtual_batch=32, momentum=0.9)(outputs)
        outputs = keras.layers.ReLU()(outputs)
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(outputs))
    if micro_batches == 1:
        model = keras.Model(inputs, outputs)
    else:
        model = MicroBatchModel(inputs, outputs)
        model.micro_batches = micro_batches
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(plan.learning_rate, momentum=0.9), loss, metrics=["accuracy"]
    )
    return model


def make_strategy(devices):
    """Returns a strategy for all GPUs or, without GPUs, for parts of this CPU."""
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(cpu, parts)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)])


def main():
    """Trains, and prints numbers to compare with a run on other devices."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=2, help="parts of the CPU, without GPUs")
    parser.add_argument("--micro-batches", type=int, default=1, help="parts of a replica's batch")
    parser.add_argument("--epochs", type=int, default=8)
    arguments = parser.parse_args()
    strategy = make_strategy(arguments.devices)
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int32")
    x, y, test_x, test_y = x[:1536], y[:1536], x[1536:], y[1536:]
    regime = kbb.Regime(batch=32, epochs=arguments.epochs, examples=1536, learning_rate=0.05)
    plan = regime.at(batch=BATCH, stretch=1)  # the global batch, however many replicas share it

    with strategy.scope():
        model = build(plan, arguments.micro_batches)
    distance = kbb.WeightDistance()
    fit = plan.fit_arguments(x, callbacks=[distance])
    model.fit(x, y, shuffle=False, verbose=0, **fit)
    outputs = keras.ops.convert_to_numpy(model(test_x, training=False))
    print(f"{strategy.num_replicas_in_sync} replicas, batch {BATCH}, {plan.updates} updates")
    print(f"weight_distance: {distance.history['distance'][-1]:.6f}")
    print(f"test accuracy: {(outputs.argmax(-1) == test_y).mean():.4f}")


if __name__ == "__main__":
    main()
