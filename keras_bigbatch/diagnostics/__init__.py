"""Measurements of a training or a model, as plain numbers."""

from keras_bigbatch.diagnostics.diffusion import DiffusionFit, fit_diffusion
from keras_bigbatch.diagnostics.gradient_noise_scale import gradient_noise_scale
from keras_bigbatch.diagnostics.hessian_eigenvalues import HessianEigenvalues, hessian_eigenvalues
from keras_bigbatch.diagnostics.hessian_trace import HessianTrace, hessian_trace
from keras_bigbatch.diagnostics.linear_path import LinearPath, linear_path
from keras_bigbatch.diagnostics.loss_plane import LossPlane, loss_plane
from keras_bigbatch.diagnostics.noise_scale import NoiseScale
from keras_bigbatch.diagnostics.random_potential import RandomPotential, random_potential
from keras_bigbatch.diagnostics.sharpness import Sharpness, sharpness

__all__ = [
    "DiffusionFit",
    "HessianEigenvalues",
    "HessianTrace",
    "LinearPath",
    "LossPlane",
    "NoiseScale",
    "RandomPotential",
    "Sharpness",
    "fit_diffusion",
    "gradient_noise_scale",
    "hessian_eigenvalues",
    "hessian_trace",
    "linear_path",
    "loss_plane",
    "random_potential",
    "sharpness",
]
