import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.config import base
from kmerl_jax.training.optimizer import optimizer, schedule

RNG = np.random.default_rng(0)
PARAMS = {
    "embedding": {"projection": {"kernel": RNG.normal(size=(6, 10))}, "lead": RNG.normal(size=(12, 6))},
    "layers": {"kernel": RNG.normal(size=(2, 6, 10)), "bias": RNG.normal(size=(2, 10))},
    "projection": {"kernel": RNG.normal(size=(10, 6))},
    "classifier": {"kernel": RNG.normal(size=(6, 1))},
}


def first_update(name, **more):
    """The update of the first step at full learning rate."""
    config = base("x", "mimic").optimizer
    config.update({"name": name, "warmup_steps": 0, "learning_rate": 0.01, "weight_decay": 0.0, "clip": 1e9, **more})
    tx = optimizer(config, 1000)
    params = jax.tree.map(jnp.asarray, PARAMS)
    gradient = jax.tree.map(lambda x: jnp.asarray(x) ** 3 + 0.1, PARAMS)
    update, _ = tx.update(gradient, tx.init(params), params)
    return jax.tree.map(np.asarray, gradient), jax.tree.map(np.asarray, update)


def test_the_schedule():
    config = base("x", "mimic").optimizer
    rate = schedule(config, 9421)
    assert rate(0) == 0
    np.testing.assert_allclose(rate(500), 2e-4, rtol=1e-6)
    np.testing.assert_allclose(rate(250), 1e-4, rtol=1e-6)
    np.testing.assert_allclose(rate((500 + 9421) // 2), 1e-4, rtol=1e-3)
    np.testing.assert_allclose(rate(9421), 0, atol=1e-9)


def test_the_first_step_of_adam_is_the_sign_of_the_gradient():
    gradient, update = first_update("adamw")
    jax.tree.map(lambda g, u: np.testing.assert_allclose(u, -0.01 * np.sign(g), rtol=1e-4), gradient, update)


def test_muon_moves_hidden_matrices_along_orthogonal_ones():
    gradient, update = first_update("muon")
    hidden = [(g["kernel"], u["kernel"]) for g, u in ((gradient["projection"], update["projection"]),)]
    hidden += zip(gradient["layers"]["kernel"], update["layers"]["kernel"], strict=True)
    for g, u in hidden:
        left, _, right = np.linalg.svd(g, full_matrices=False)
        # The iteration leaves singular values near 1, not at it (Jordan et al. 2024), in the gradient's own directions.
        aligned = np.diag(-left.T @ u @ right.T) / (0.01 * 0.2 * 10**0.5)
        assert ((aligned > 0.6) & (aligned < 1.3)).all(), aligned


def test_beside_hidden_matrices_muon_is_adam():
    gradient, update = first_update("muon")
    nesterov = 1 + 0.9 / 1.9  # the library's Adam for the rest looks ahead by its momentum (Dozat 2016)
    for name in ("embedding", "classifier"):
        jax.tree.map(
            lambda g, u: np.testing.assert_allclose(u, -0.01 * nesterov * np.sign(g), rtol=1e-4),
            gradient[name],
            update[name],
        )
    bias = -0.01 * nesterov * np.sign(gradient["layers"]["bias"])
    np.testing.assert_allclose(update["layers"]["bias"], bias, rtol=1e-4)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weight_decay_reaches_every_parameter(name):
    _, without = first_update(name)
    _, decayed = first_update(name, weight_decay=0.5)
    jax.tree.map(
        lambda p, a, b: np.testing.assert_allclose(b - a, -0.01 * 0.5 * p, rtol=1e-3, atol=1e-6),
        PARAMS,
        without,
        decayed,
    )


def test_an_unknown_optimizer():
    with pytest.raises(ValueError, match=r"optimizer\.name='sgd' is not one of adamw, muon"):
        first_update("sgd")
