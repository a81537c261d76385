"""Reads the files of a folder as a process does that has made no network: `-m ... FOLDER`.

Prints, for each, whether it predicts what is written beside it, and the sizes of its ghost batches.
"""

import json
import pathlib
import sys
import warnings

import keras
import keras_hub  # noqa: F401  # it registers its classes
import numpy as np

from keras_bigbatch.layers import GhostBatchNormalization
from tests.hub.test_keras_hub import norms, predictions


def main() -> None:
    read = {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # of `compile`, which tasks have their own of
            model = keras.models.load_model(path)
        wanted = np.load(path.with_suffix(".npz"))
        pairs = zip(predictions(model), wanted.values(), strict=True)
        parts = norms(model)
        read[path.stem] = {
            "equal": all(np.array_equal(one, other) for one, other in pairs),
            "sizes": [p.virtual_batch for p in parts if isinstance(p, GhostBatchNormalization)],
        }
    print(json.dumps(read))


if __name__ == "__main__":
    main()
