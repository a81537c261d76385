"""What is not public in Keras, TensorFlow and torch, a file each."""
