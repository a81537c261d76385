"""Keras's progress on one line a training, in place of one bar an epoch."""

import sys
import time

import keras


class ProgressLine(keras.callbacks.Callback):
    """Rewrites one line while a training runs; where there is no terminal, it says nothing.

    Args:
        label: How the line begins.
        epochs: Epochs in all.
    """

    def __init__(self, label, epochs):
        super().__init__()
        self.label, self.epochs = label, epochs
        self.start = self.shown = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        if not sys.stdout.isatty() or now - self.shown < 0.2:
            return
        self.shown = now
        text = f"epoch {epoch + 1}/{self.epochs}  loss {logs['loss']:.4f}"
        print(f"\r{self.label}  {text}  {now - self.start:.0f} s ", end="", flush=True)

    def finish(self, text):
        """Replace the line by its last state."""
        clear = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{clear}{self.label}  {text}", flush=True)
