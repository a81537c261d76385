"""Pure mathematics on NumPy arrays: nothing here knows Keras."""
