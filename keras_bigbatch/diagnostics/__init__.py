"""Measurements of a training or a model, as plain numbers."""

from keras_bigbatch.diagnostics.diffusion import DiffusionFit, fit_diffusion

__all__ = ["DiffusionFit", "fit_diffusion"]
