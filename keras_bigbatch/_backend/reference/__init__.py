"""The forms in `keras.ops`: what every backend can fall back to."""
