"""Optimizer steps on plain arrays, and the same in NumPy's float64."""

import keras
import numpy as np

SHAPES = {"dense/kernel": (7, 5), "dense/bias": (5,), "conv/kernel": (3, 3, 2, 4)}


def variables_of(weights):
    """Keras variables with these paths and values."""
    made = []
    for path, value in weights.items():
        scope, name = path.rsplit("/", 1)
        with keras.name_scope(scope):
            made.append(keras.Variable(value, name=name))
    return made


def weights_and_gradients(steps, seed=0, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    weights = {path: rng.normal(size=shape).astype("float32") for path, shape in shapes.items()}
    gradients = [
        {path: rng.normal(size=shape).astype("float32") for path, shape in shapes.items()}
        for _ in range(steps)
    ]
    return weights, gradients


def stepped(optimizer, weights, gradients):
    """The weights after one update a dictionary of gradients, made as `fit` makes it."""
    variables = variables_of(weights)
    optimizer.build(variables)
    for each in gradients:
        tensors = [keras.ops.convert_to_tensor(each[v.path]) for v in variables]
        if keras.backend.backend() == "jax":
            held = [[v.value for v in group] for group in (variables, optimizer.variables)]
            held = optimizer.stateless_apply(held[1], tensors, held[0])
            for group, values in zip((variables, optimizer.variables), held, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
        else:
            optimizer.apply(tensors, variables)
    return {v.path: keras.ops.convert_to_numpy(v) for v in variables}


def oracle(
    ratio,
    weights,
    gradients,
    learning_rate,
    momentum=0.0,
    weight_decay=0.0,
    nesterov=False,
    rate_in_momentum=True,
    excluded=("dense/bias",),
):
    """The update as the papers write it. `ratio(w, g)` has the trust coefficient in it."""
    result = {}
    for path, start in weights.items():
        w = start.astype("float64")
        v = np.zeros_like(w)
        for each in gradients:
            g = each[path].astype("float64")
            u = g if path in excluded else ratio(w, g) * (g + weight_decay * w)
            if rate_in_momentum:
                v = momentum * v + learning_rate * u
                w = w - (momentum * v + learning_rate * u if nesterov else v)
            else:
                v = momentum * v + u
                w = w - learning_rate * (momentum * v + u if nesterov else v)
        result[path] = w
    return result


def assert_close(found, expected, rtol=1e-6, atol=1e-6):
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=rtol, atol=atol, err_msg=path)
