import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.config import base
from kmerl_jax.training.optimizer import FROZEN, RUNNING, TRAINED, optimizer, schedule, trained_norm

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


def test_the_decay_along_a_line():
    config = base("x", "demo").optimizer
    rate = schedule(config, 350)
    for step, share in ((0, 0), (15, 0.5), (30, 1), (110, 0.75), (190, 0.5), (350, 0)):
        np.testing.assert_allclose(rate(step), share * config.learning_rate, rtol=1e-5, atol=1e-9)


def test_a_run_shorter_than_its_warm_up_is_at_full_rate_before_its_last_step():
    config = base("x", "mimic").optimizer
    np.testing.assert_allclose(schedule(config, 4)(3), 2e-4, rtol=1e-6)
    assert schedule(config, 4)(4) == 0


def test_the_first_step_of_adam_is_the_sign_of_the_gradient():
    gradient, update = first_update("adamw")
    jax.tree.map(lambda g, u: np.testing.assert_allclose(u, -0.01 * np.sign(g), rtol=1e-4), gradient, update)


def test_muon_moves_matrices_along_nearly_orthogonal_ones():
    """In the gradient's own directions, by singular values that three steps of the iteration bring near 1."""
    gradient, update = first_update("muon")
    matrices = list(zip(gradient["layers"]["kernel"], update["layers"]["kernel"], strict=True))
    for x in (("projection", "kernel"), ("embedding", "projection", "kernel")):
        matrices.append(tuple(functools.reduce(dict.get, x, tree) for tree in (gradient, update)))
    for g, u in matrices:
        left, singular, right = np.linalg.svd(g, full_matrices=False)
        near = singular / np.linalg.norm(singular)
        for _ in range(3):
            near = 3.4445 * near - 4.7750 * near**3 + 2.0315 * near**5  # Jordan et al. 2024
        assert ((near > 0.4) & (near < 1.3)).all()
        expected = -0.01 * 0.2 * 10**0.5 * (left * near) @ right
        np.testing.assert_allclose(u, expected, atol=1e-5)


def test_beside_matrices_muon_is_adam():
    gradient, update = first_update("muon")
    nesterov = 1 + 0.9 / 1.9  # the library's Adam for the rest looks ahead by its momentum (Dozat 2016)
    for x in (("embedding", "lead"), ("classifier", "kernel"), ("layers", "bias")):
        g, u = (functools.reduce(dict.get, x, tree) for tree in (gradient, update))
        np.testing.assert_allclose(u, -0.01 * nesterov * np.sign(g), rtol=1e-4)


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


def test_an_unknown_optimizer_or_decay():
    with pytest.raises(ValueError, match=r"optimizer\.name='sgd' is not one of adamw, muon"):
        first_update("sgd")
    with pytest.raises(ValueError, match=r"optimizer\.decay='step' is not one of cosine, linear"):
        first_update("adamw", decay="step")


def test_running_statistics_leave_the_state_as_it_was():
    """So that checkpoints from before are restored; and they follow, whatever the rate and the clipping."""
    config = base("x", "mimic").optimizer
    params = {"a": {"kernel": jnp.ones((2, 3))}, "b": {"mean": jnp.ones(3), "bias": jnp.ones(3)}}
    roles = {"kernel": TRAINED, "mean": RUNNING, "bias": FROZEN}
    tx = optimizer(config, 10, lambda path: roles[path[-1]])
    frozen = optimizer(config, 10, lambda path: TRAINED if path[-1] == "kernel" else FROZEN)
    assert jax.tree.structure(tx.init(params)) == jax.tree.structure(frozen.init(params))
    gradient = jax.tree.map(lambda x: 1000.0 * x, params)
    updates, _ = tx.update(gradient, tx.init(params), params)
    np.testing.assert_allclose(updates["b"]["mean"], -100.0)
    np.testing.assert_array_equal(updates["b"]["bias"], 0)
    assert float(trained_norm(gradient, lambda path: roles[path[-1]])) == pytest.approx(1000 * 6**0.5)
