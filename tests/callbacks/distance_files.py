"""Files of WeightDistance without a training."""

from keras_bigbatch.callbacks._distance_file import DistanceFile
from keras_bigbatch.callbacks._distance_record import Record

HISTORY = {"update": [1, 2, 3], "distance": [0.1, 0.2, 0.3]}


def begun(path, model, layers=None, measured=3):
    """The files of a training that has made measurements and no epoch's end yet."""
    file, variables = DistanceFile(str(path)), model.trainable_variables
    history = {"update": [], "distance": []}
    if layers:
        history["layers"] = {layer: [] for layer in layers}
    record = Record(history, 0)
    file.begin(variables, [variable.value for variable in variables], record)
    for update in range(1, measured + 1):
        history["update"].append(update)
        history["distance"].append(update / 10)
        for column in history.get("layers", {}).values():
            column.append(update / 20)
        file.append(record)
    return file, record


def loaded(path, model, layers=None, updates=3):
    weights, record = DistanceFile(str(path)).load(model.trainable_variables, layers, updates)
    return weights, record.history
