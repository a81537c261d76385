"""Plants imports that must not be into copies of the package, and sees each contract fail.

A part of `make lint`, run by the environment of the tools. What mypy must find has its controls in
`tests/backend/typed_calls.py`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS, BACKENDS, CYCLES = "Layers of the house", "Backends are imported in", "No cycles"

# A file of the package, what is planted at its end, and the contract that it breaks, if any.
PLANTED = [
    ("_parameters.py", "import keras", None),
    ("_parameters.py", "import jax", BACKENDS),
    ("__init__.py", "import torch", BACKENDS),
    ("layers/__init__.py", "import tensorflow as tf", BACKENDS),
    ("_backend/reference/weights.py", "import jax", BACKENDS),
    ("_backend/torch/weights.py", "import jax.numpy", BACKENDS),
    ("callbacks/__init__.py", "from keras_bigbatch import training", LAYERS),
    ("training/__init__.py", "from keras_bigbatch import callbacks", LAYERS),
    ("optimizers/__init__.py", "from keras_bigbatch import schedules", LAYERS),
    ("_backend/_protocol.py", "from keras_bigbatch import diagnostics", LAYERS),
    ("_private_api.py", "import torch", BACKENDS),
    ("_private_api.py", "from keras_bigbatch import _backend", LAYERS),
    ("room_without_a_layer.py", "import keras", LAYERS),
    ("_backend/torch/ghost_norm/tiles.py", "from . import kernel", CYCLES),
    ("_backend/_protocol.py", "from keras_bigbatch._backend import jax", CYCLES),
]


def broken(path: str, line: str) -> str:
    """What the contracts say of a package with the line at the end of the file."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "keras_bigbatch", Path(folder, "keras_bigbatch"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        with Path(folder, "keras_bigbatch", path).open("a") as file:
            file.write(f"\n{line}\n")
        done = subprocess.run(
            [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = done.stdout.splitlines()
    kept = [each for each in lines if " KEPT" in each]
    names = [each for each in lines if " BROKEN" in each]
    return "; ".join(names) if kept or names else done.stdout + done.stderr


def main() -> int:
    """0 if each planted import breaks its contract, and the harmless one none."""
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda each: broken(*each[:2]), PLANTED))
    wrong = 0
    for (path, line, contract), names in zip(PLANTED, found, strict=True):
        if not (contract in names if contract else names == ""):
            wrong += 1
            print(f"{line!r} in {path} should break {contract or 'nothing'}. Broken: {names!r}.")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
