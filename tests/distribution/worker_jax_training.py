"""Sharpness-aware training with 8 fake devices of `keras.distribution`, against one."""

import jax
import keras

import keras_bigbatch as kbb
from tests.distribution import cases

BATCH = 64


def trained(**options):
    model = kbb.training.sharpness_aware(cases.two_outputs(), radius=0.3, **options)
    x, y = cases.images(BATCH)
    history = cases.fit(cases.compiled(model), x, [y, y], batch=BATCH).history
    return model, history["loss"]


if __name__ == "__main__":
    alone, wanted = trained()
    devices = keras.distribution.DataParallel(devices=keras.distribution.list_devices())
    keras.distribution.set_distribution(devices)
    model, reported = trained()
    try:
        trained(virtual_batch=8)
        refused = ""
    except ValueError as error:
        refused = str(error)
    cases.report(
        {
            "devices": len(jax.devices()),
            "apart": cases.apart(alone, model),
            "reported": max(abs(a - b) for a, b in zip(wanted, reported, strict=True)),
            "refused": refused,
        }
    )
