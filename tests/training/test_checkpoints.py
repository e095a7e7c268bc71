import jax.numpy as jnp

from kmerl_jax.training import checkpoints


def test_the_latest_and_the_best_stay(tmp_path):
    """Of steps 1 to 6 the last two and the one of lowest validation loss; a step that was not validated is no best."""
    losses = [3.0, 1.0, 2.0, None, 1.5, 1.2]
    manager = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=2)
    for step, loss in enumerate(losses, 1):
        manager.save(step, {"params": {"w": jnp.full(3, float(step))}, "step": jnp.int32(step)}, step, {}, loss)
    manager.close()
    assert checkpoints.steps(tmp_path / "checkpoints") == [2, 5, 6]
    again = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=2)
    state = {"params": {"w": jnp.zeros(3)}, "step": jnp.int32(0)}
    restored, next_index = again.restore(state)
    again.close()
    assert (float(restored["params"]["w"][0]), next_index) == (6.0, 6)
    params = checkpoints.restore_params(tmp_path / "checkpoints", 2, state["params"])
    assert float(params["w"][1]) == 2.0
