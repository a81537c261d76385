"""Pure mathematics on NumPy arrays, without Keras."""
