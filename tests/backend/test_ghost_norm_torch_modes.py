"""Torch's ghost batch norm differentiated in forward mode, and of inference tensors."""

import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch.layers import GhostBatchNormalization
from tests.backend.ghost_norm_cases import BACKEND
from tests.layers.ghost_inputs import built, inputs
from tests.oracles import ghost_batch_norm

pytestmark = pytest.mark.skipif(BACKEND != "torch", reason="torch's modes")


def normalized(x, gamma, beta):
    y, _ = _backend.active().ghost_norm.ghost_normalize(x, gamma, beta, 8, 1, 1e-3)
    return y


@pytest.fixture
def example():
    """x, gamma and beta, and a direction for each."""
    import torch

    x, along = inputs(19, (6,))
    rng = np.random.default_rng(1)
    values = (x, *rng.uniform(0.5, 2, (2, 6)).astype("float32"))
    directions = (along, *rng.normal(size=(2, 6)).astype("float32"))
    return [[torch.tensor(value) for value in each] for each in (values, directions)]


def slope(values, directions):
    """The derivative of the oracle's output along the directions."""
    values, directions = ([v.double().numpy() for v in each] for each in (values, directions))
    ahead, behind = (
        ghost_batch_norm(*(v + h * d for v, d in zip(values, directions, strict=True)), 8, 1, 1e-3)
        for h in (1e-5, -1e-5)
    )
    return (ahead[0] - behind[0]) / 2e-5


@pytest.mark.parametrize("moved", [[0], [1], [2], [0, 1, 2]], ids=str)
def test_dual_tensors(example, moved):
    import torch
    from torch.autograd import forward_ad

    values, directions = example
    directions = [d if i in moved else torch.zeros_like(d) for i, d in enumerate(directions)]
    with forward_ad.dual_level():
        arguments = list(values)
        for i in moved:
            arguments[i] = forward_ad.make_dual(values[i], directions[i])
        tangent = forward_ad.unpack_dual(normalized(*arguments)).tangent
    np.testing.assert_allclose(tangent, slope(values, directions), rtol=1e-4, atol=1e-5)
    _, tangent = torch.func.jvp(normalized, tuple(values), tuple(directions))
    np.testing.assert_allclose(tangent, slope(values, directions), rtol=1e-4, atol=1e-5)


def test_the_layer_with_dual_tensors():
    import torch
    from torch.autograd import forward_ad

    x, along = inputs(19, (6,))
    layer = built(GhostBatchNormalization(8), x)
    gamma, beta, *_ = (torch.tensor(w) for w in layer.get_weights())
    with forward_ad.dual_level():
        y = layer(forward_ad.make_dual(torch.tensor(x), torch.tensor(along)), training=True)
        tangent = forward_ad.unpack_dual(y).tangent.detach()
    still = torch.zeros(6)
    wanted = slope((torch.tensor(x), gamma, beta), (torch.tensor(along), still, still))
    np.testing.assert_allclose(tangent, wanted, rtol=1e-4, atol=1e-5)


def test_an_upstream_gradient_that_is_dual(example):
    """Forward over reverse: the gradient is linear in what comes from above."""
    import torch
    from torch.autograd import forward_ad

    (x, gamma, beta), (dy, *_) = example
    x.requires_grad_()
    gamma.requires_grad_()
    with forward_ad.dual_level():
        y = normalized(x, gamma, beta)
        upstream = forward_ad.make_dual(torch.ones_like(dy), dy)
        found = torch.autograd.grad(y, (x, gamma), upstream)
        tangents = [forward_ad.unpack_dual(gradient).tangent for gradient in found]
    wanted = torch.autograd.grad(normalized(x, gamma, beta), (x, gamma), dy)
    for actual, value in zip(tangents, wanted, strict=True):
        np.testing.assert_allclose(actual.detach(), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inside", [True, False], ids=["in the mode", "after it"])
def test_inference_tensors(inside):
    import torch

    x, _ = inputs(19, (6,))
    layer = built(GhostBatchNormalization(8), x)
    gamma, beta, *_ = layer.get_weights()
    with torch.inference_mode():
        given = torch.tensor(x)
        if inside:
            y = layer(given, training=True)
    if not inside:
        y = layer(given, training=True)
        y.square().sum().backward()
        _, _, (_, dgamma, _) = ghost_batch_norm(
            x, gamma, beta, 8, -1, layer.epsilon, 2 * y.detach().numpy()
        )
        np.testing.assert_allclose(layer.gamma.value.grad, dgamma, rtol=1e-4)
    wanted, _, _ = ghost_batch_norm(x, gamma, beta, 8, -1, layer.epsilon)
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-4, atol=1e-5)
