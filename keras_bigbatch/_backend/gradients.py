"""Derivatives of pure functions, for which `keras.ops` has no word yet.

`active()` is the module of the running backend. All have the same functions:

- `compiled(function, model)`: the function compiled as the model is, made once and called often.
- `trace(function, *arguments)`: runs through it once, for what Python does and raises on the way.
- `value_and_gradient(function)`: of `function(values, *rest) -> scalar` with a list of tensors
  `values`, a function with the same arguments that returns the scalar and a list of gradients.
- `hessian_vector_product(function)`: a function of `(values, vector, *rest)` that returns the list
  of the Hessian's product with the list `vector`.
- `refuse(model)`: raises for models whose layers hide weights from Keras.
- `random_state_kept()`: a context that leaves the backend's global random state as it was.

Where the function does not depend on a value, its gradient is zero. Should Keras get a `grad`, the
three modules shrink to it.
"""

from types import ModuleType

import keras


def active() -> ModuleType:
    """The running backend's module."""
    backend = keras.backend.backend()
    if backend == "jax":
        from keras_bigbatch._backend import jax_gradients

        return jax_gradients
    if backend == "tensorflow":
        from keras_bigbatch._backend import tensorflow_gradients

        return tensorflow_gradients
    if backend == "torch":
        from keras_bigbatch._backend import torch_gradients

        return torch_gradients
    raise RuntimeError(
        "Gradients need one of the backends jax, tensorflow and torch. Running: "
        f"{backend!r}. Set the environment variable KERAS_BACKEND before importing keras."
    )
