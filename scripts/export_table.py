"""Write the table of docs/export.md: what a model with ghost batch norm is exported to.

    python -m scripts.export_table                   # all backends; some minutes
    python -m scripts.export_table --backend torch   # one, and its rows as JSON

A small network, with ghost layers in its graph and one that a custom layer makes, is exported in
each of Keras's formats and quantized, read back by that format's own runtime, and compared with its
predictions before. The same network with Keras's batch norm stands beside it: what fails for both
is Keras's or its packages' own.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parent.parent / "docs" / "export.md"
BEGIN, END = "<!-- results: scripts/export_table.py -->", "<!-- end of the results -->"
BACKENDS = ("tensorflow", "jax", "torch")
PACKAGES = (
    *("keras", "tensorflow-cpu", "jax", "torch", "onnx", "onnxscript", "onnxruntime", "tf2onnx"),
    *("jax2onnx", "openvino", "ai-edge-litert", "litert-torch"),
)
X = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype("float32")
TOLERANCE = 1e-5


def network():
    """A trained network with batch norm, which is one of its layers and in one of them."""
    import keras

    @keras.saving.register_keras_serializable("export_table")
    class Block(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.conv = keras.layers.Conv2D(8, 3, use_bias=False)
            self.norm = keras.layers.BatchNormalization()

        def build(self, shape):
            self.conv.build(shape)
            self.norm.build(self.conv.compute_output_shape(shape))

        def call(self, x, training=None):
            return keras.ops.relu(self.norm(self.conv(x), training=training))

    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Conv2D(8, 3, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        Block(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential(layers)
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((8, 3)), epochs=3, batch_size=4, verbose=0)
    return model


def saved_model(path):
    """By TensorFlow."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return np.asarray(loaded.serve(X))


def onnx(path):
    """By ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: X})[0]


def openvino(path):
    """By OpenVINO."""
    import openvino as ov

    # By itself it computes in bfloat16 on processors that have it.
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return next(iter(compiled([X]).values()))


def litert(path):
    """By LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path)
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(given["index"], X.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], X)
    interpreter.invoke()
    return interpreter.get_tensor(made["index"])


def torch_export(path):
    """By torch."""
    import torch

    return torch.export.load(path).module()(torch.from_numpy(X)).detach().numpy()


# Keras's name of a format, how its files end, and who reads it.
FORMATS = {
    "tf_saved_model": ("", saved_model),
    "onnx": (".onnx", onnx),
    "openvino": (".xml", openvino),
    "litert": (".tflite", litert),
    "torch": (".pt2", torch_export),
}


def exported(model, name, folder):
    """How far the file's predictions are from the model's."""
    import keras

    suffix, read = FORMATS[name]
    path = str(Path(folder) / f"model{suffix}")
    wanted = model.predict(X, verbose=0)
    options = {}
    if keras.backend.backend() == "torch" and name in ("torch", "tf_saved_model"):
        # torch holds a batch of unknown size for one of 1.
        options["input_signature"] = [keras.InputSpec(shape=X.shape, dtype="float32")]
    model.export(path, format=name, verbose=False, **options)
    return float(np.abs(read(path) - wanted).max())


def quantized(model, _, folder):
    """As `exported`, of Keras's int8 layers through a `.keras` file."""
    import keras

    model.quantize("int8")
    wanted, path = model.predict(X, verbose=0), str(Path(folder) / "model.keras")
    model.save(path)
    return float(np.abs(keras.models.load_model(path).predict(X, verbose=0) - wanted).max())


def outcome(route, model, name):
    """How far a route leads from the model's predictions, or its error."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # What the exporters print is not the rows.
            with contextlib.redirect_stdout(sys.stderr):
                return route(model, name, folder)
        except Exception as error:  # whatever the packages raise is the result
            text = re.sub(r"\x1b\[[0-9;]*m|/\S+/", "", str(error))
            # OpenVINO says where it failed before it says what.
            lines = [each.strip() for each in text.splitlines() if each.strip()]
            told = [each for each in lines if not each.startswith(("Check ", "FrontEnd API"))]
            return f"{type(error).__name__}: {' '.join(told)[:160]}"


def rows():
    """What comes of every route on this backend, with plain and with ghost batch norm."""
    import keras

    import keras_bigbatch as kbb

    plain = network()
    ghost = kbb.layers.to_ghost(plain, 4)
    # Keras has torch's own format on torch only.
    names = [each for each in FORMATS if each != "torch" or keras.backend.backend() == "torch"]
    routes = [(name, exported) for name in names] + [('quantize("int8")', quantized)]
    return [
        {
            "route": name,
            **{
                kind: outcome(route, model, name)
                for kind, model in (("plain", plain), ("ghost", ghost))
            },
        }
        for name, route in routes
    ]


def cell(result):
    """A result as it stands in the table."""
    if isinstance(result, str):
        return result.replace("|", "/").replace("<", "&lt;")
    verdict = "equal" if result <= TOLERANCE else "DIFFERENT"
    return f"{verdict} ({result:.0e})" if result else verdict


def table(found):
    """The page's table, and the versions that it was made with."""
    lines = [
        "| backend | route | with ghost batch norm | with Keras's |",
        "| --- | --- | --- | --- |",
    ]
    for backend, results in found.items():
        for row in results:
            ghost, plain = cell(row["ghost"]), cell(row["plain"])
            other = "the same" if ghost == plain and isinstance(row["ghost"], str) else plain
            lines.append(f"| {backend} | `{row['route']}` | {ghost} | {other} |")
    versions = []
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    return "\n".join([*lines, "", f"Made with {', '.join(versions)}."])


def of_backend(backend):
    """The rows of a backend, by a process of its own: Keras reads it once."""
    command = [sys.executable, "-m", "scripts.export_table", "--backend", backend]
    variables = {**os.environ, "KERAS_BACKEND": backend}
    printed = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(printed.stdout.splitlines()[-1])


def main():
    """Prints a backend's rows, or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, help="print this one's rows")
    backend = parser.parse_args().backend
    if backend:
        os.environ["KERAS_BACKEND"] = backend
        print(json.dumps(rows()))
        return
    made = table({each: of_backend(each) for each in BACKENDS})
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}")


if __name__ == "__main__":
    main()
