"""The four parts of the package with ordinary `compile` and `fit`.

    python quickstart.py

Needs keras_bigbatch with a backend, and scikit-learn for the data. Ten seconds on a CPU.
"""

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_bigbatch as kbb

x, y = load_digits(return_X_y=True)
x, test_x, y, test_y = train_test_split(x.reshape(-1, 8, 8, 1) / 16, y, train_size=1200)

# 1. Your small-batch recipe, and 2. the recipe for ten times the batch.
regime = kbb.Regime(batch=30, epochs=20, examples=1200, learning_rate={0: 0.05, 15: 0.005})
plan = regime.at(batch=300, rule="sqrt", stretch=3)
print(plan)

model = keras.Sequential([keras.Input((8, 8, 1))])
for _ in range(2):
    model.add(keras.layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False))
    # 3. Replaces keras.layers.BatchNormalization; Keras's momentum of 0.99 suits longer runs.
    model.add(kbb.GhostBatchNormalization(virtual_batch=30, momentum=0.9))
    model.add(keras.layers.ReLU())
model.add(keras.layers.Flatten())
model.add(keras.layers.Dense(10, "softmax"))

sgd = keras.optimizers.SGD(plan.learning_rate, momentum=0.9, global_clipnorm=5.0)
model.compile(sgd, "sparse_categorical_crossentropy", metrics=["accuracy"])
distance = kbb.WeightDistance()  # 4. How far the weights move; also in each epoch's log line.
model.fit(x, y, verbose=2, **plan.fit_arguments(x, callbacks=[distance]))
print("Test accuracy:", model.evaluate(test_x, test_y, verbose=0)[1])
