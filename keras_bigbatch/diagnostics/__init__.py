"""Measurements of a model or its training, as plain numbers."""

from keras_bigbatch.diagnostics._diffusion import DiffusionFit, PowerFit, SqrtFit, fit_diffusion
from keras_bigbatch.diagnostics._gradient_noise_scale import gradient_noise_scale
from keras_bigbatch.diagnostics._hessian_eigenvalues import HessianEigenvalues, hessian_eigenvalues
from keras_bigbatch.diagnostics._hessian_trace import HessianTrace, hessian_trace
from keras_bigbatch.diagnostics._linear_path import LinearPath, linear_path
from keras_bigbatch.diagnostics._loss_plane import LossPlane, loss_plane
from keras_bigbatch.diagnostics._noise_scale import NoiseScale
from keras_bigbatch.diagnostics._random_potential import RandomPotential, random_potential
from keras_bigbatch.diagnostics._sharpness import Sharpness, sharpness

__all__ = [
    "DiffusionFit",
    "HessianEigenvalues",
    "HessianTrace",
    "LinearPath",
    "LossPlane",
    "NoiseScale",
    "PowerFit",
    "RandomPotential",
    "Sharpness",
    "SqrtFit",
    "fit_diffusion",
    "gradient_noise_scale",
    "hessian_eigenvalues",
    "hessian_trace",
    "linear_path",
    "loss_plane",
    "random_potential",
    "sharpness",
]
