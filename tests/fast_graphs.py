"""A plugin of pytest: TensorFlow's graphs are traced once, and run as they are traced.

Most tests run a graph once or twice: to trace and to optimize it is nearly all of their time. A
trace that makes variables is made twice, and `fit` makes the optimizer's in its first step; here
they are made before, as Keras does on the other backends. The tests of optimizers make them as
users do. `scripts/check.py` says which tests go without the plugin.
"""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

    as_users_do = keras.Model.make_train_function

    def after_the_optimizer(model, force=False):
        optimizer = model.optimizer
        if model.built and optimizer and not optimizer.built and not model._distribute_strategy:
            optimizer.build(model.trainable_variables)
        return as_users_do(model, force)

    def pytest_runtest_setup(item):
        own = item.path.parent.name == "optimizers"
        keras.Model.make_train_function = as_users_do if own else after_the_optimizer
