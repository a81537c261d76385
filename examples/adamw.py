"""An AdamW recipe at ten times the batch: the learning rate, and all else that depends on it.

    python adamw.py

Needs keras_bigbatch with a backend, and scikit-learn for the data. Twenty seconds on a CPU.
"""

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_bigbatch as kbb

x, y = load_digits(return_X_y=True)
x, test_x, y, test_y = train_test_split(x.reshape(-1, 8, 8) / 16, y, train_size=1200)


def transformer(width=32):
    """The eight rows of an image are the tokens. No batch norm, so no ghost batches."""
    image = keras.Input((8, 8))
    tokens = layers.EinsumDense("brp,rpw->brw", (8, width), bias_axes="rw")(image)
    normed = layers.LayerNormalization()(tokens)
    tokens = tokens + layers.MultiHeadAttention(4, width // 4)(normed, normed)
    hidden = layers.Dense(64, "gelu")(layers.LayerNormalization()(tokens))
    tokens = layers.LayerNormalization()(tokens + layers.Dense(width)(hidden))
    return keras.Model(image, layers.Dense(10, "softmax")(layers.Flatten()(tokens)))


# Your small-batch recipe, compiled as usual: 10 epochs of 40 updates at a batch of 30.
cosine = keras.optimizers.schedules.CosineDecay(0.0, 380, warmup_target=2e-3, warmup_steps=20)
recipe = keras.optimizers.AdamW(cosine, weight_decay=0.1, global_clipnorm=1.0, use_ema=True)
model = transformer()
model.compile(recipe, "sparse_categorical_crossentropy", metrics=["accuracy"])

# Three lines for ten times the batch. The table has one row per hyperparameter.
plan = kbb.Regime.from_compiled(model, batch=30, epochs=10, examples=1200).at(300, stretch=3)
print(plan)
model.compile(plan.optimizer(), "sparse_categorical_crossentropy", metrics=["accuracy"])

# With `use_ema`, Keras puts the averaged weights into the model at the end.
model.fit(x, y, verbose=2, **plan.fit_arguments(x))
print("Test accuracy:", model.evaluate(test_x, test_y, batch_size=597, verbose=0)[1])
