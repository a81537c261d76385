"""A plugin of pytest: TensorFlow's graphs run as they are traced.

Most of the package's tests run a graph once or twice, and to optimize it would take a fifth of
their time. `scripts/check.py` says which tests do without.
"""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
