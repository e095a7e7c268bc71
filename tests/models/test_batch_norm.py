import jax
import jax.numpy as jnp
import numpy as np

from kmerl_jax.models import batch_norm
from kmerl_jax.models.batch_norm import BatchNorm

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(3, 2, (5, 7, 4)), jnp.float32)
PARAMS = {
    "mean": jnp.asarray([0.0, 1, 2, 3]),
    "variance": jnp.asarray([1.0, 2, 3, 4]),
    "scale": jnp.asarray([1.0, -1, 2, 0.5]),
    "bias": jnp.asarray([0.0, 1, 0, -1]),
}
SHIFT = "scale", "bias"


def normalised(x, mean, variance):
    x, mean, variance, scale, bias = (np.asarray(a, np.float64) for a in (x, mean, variance, *map(PARAMS.get, SHIFT)))
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias


def test_in_use_it_is_by_the_running_statistics():
    out, drift = batch_norm.apply(BatchNorm(), PARAMS, False, X)
    np.testing.assert_allclose(out, normalised(X, PARAMS["mean"], PARAMS["variance"]), atol=1e-5)
    assert drift == 0
    gradient = jax.grad(lambda p: batch_norm.apply(BatchNorm(), p, False, X)[0].sum())(PARAMS)
    assert not gradient["mean"].any()
    assert not gradient["variance"].any()


def test_in_training_it_is_by_the_batchs():
    x = np.asarray(X, np.float64)
    out, drift = batch_norm.apply(BatchNorm(), PARAMS, True, X)
    np.testing.assert_allclose(out, normalised(X, x.mean((0, 1)), x.var((0, 1))), atol=1e-5)
    off = [x.mean((0, 1)) - PARAMS["mean"], x.reshape(-1, 4).var(0, ddof=1) - PARAMS["variance"]]
    np.testing.assert_allclose(drift, sum((part**2).sum() / 2 for part in off), rtol=1e-5)


def test_the_statistics_follow_by_gradient_alone():
    def loss(params):
        out, drift = batch_norm.apply(BatchNorm(), params, True, X)
        return batch_norm.follow((out**2).sum(), drift)

    out, _ = batch_norm.apply(BatchNorm(), PARAMS, True, X)
    value, gradient = jax.value_and_grad(loss)(PARAMS)
    np.testing.assert_allclose(value, (out**2).sum(), rtol=1e-6)
    x = np.asarray(X, np.float64)
    np.testing.assert_allclose(gradient["mean"], PARAMS["mean"] - x.mean((0, 1)), atol=1e-5)
    np.testing.assert_allclose(gradient["variance"], PARAMS["variance"] - x.reshape(-1, 4).var(0, ddof=1), rtol=1e-4)
