"""What turns a gradient into an update: the schedule of the learning rate, AdamW and Muon."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from kmerl_jax.models.batch_norm import RATE

ROLES = TRAINED, FROZEN, RUNNING = "trained", "frozen", "running"
"""How a parameter is updated: by the optimiser, not at all, or as a running statistic (see `models.batch_norm`)."""

# Nothing is kept for a running statistic, as for what is frozen: so states are the same with and without any.
_KEPT = {TRAINED: TRAINED, FROZEN: FROZEN, RUNNING: FROZEN}
# Muon's updates are given the root mean square that AdamW's usually have, so one learning rate serves both (Liu et al.,
# Muon is scalable for LLM training, 2025, section 2.2).
_ADAM_RMS = 0.2
# Usually five; on a CPU the iteration is a good part of a training step.
_NEWTON_SCHULZ_STEPS = 3


def schedule(config, steps: int) -> optax.Schedule:
    """Linear warm-up, then down to zero: along a cosine (paper, appendix B), or a line, which serves short runs better.

    Args:
        config: the optimiser's part of a config.
        steps: length of the run.

    Raises:
        ValueError: an unknown decay.
    """
    peak, warmup = config.learning_rate, min(config.warmup_steps, max(steps - 1, 0))
    rest = max(steps - warmup, 1)
    if config.decay == "cosine":
        down = optax.cosine_decay_schedule(peak, rest)
    elif config.decay == "linear":
        down = optax.linear_schedule(peak, 0.0, rest)
    else:
        raise ValueError(f"optimizer.decay={config.decay!r} is not one of cosine, linear")
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), down], [warmup])


def optimizer(
    config, steps: int, role: Callable[[tuple[str, ...]], str] = lambda path: TRAINED
) -> optax.GradientTransformation:
    """The optimiser behind gradient clipping.

    "adamw" is the paper's (appendix B; the clipping is ours). "muon" moves matrices along the nearest orthogonal
    matrix of their momentum (Jordan et al. 2024) and everything else by AdamW: a run of a few hundred steps gets much
    further.

    Args:
        config: the optimiser's part of a config.
        steps: length of the run.
        role: of the path of a parameter, one of `ROLES`: nothing is kept for those that are not trained.

    Raises:
        ValueError: an unknown name or decay.
    """
    rate = schedule(config, steps)
    adam = {"b1": config.b1, "b2": config.b2, "weight_decay": config.weight_decay}
    if config.name == "adamw":
        tx = optax.adamw(rate, **adam)
    elif config.name == "muon":
        tx = optax.contrib.muon(
            rate,
            weight_decay=config.weight_decay,
            ns_steps=_NEWTON_SCHULZ_STEPS,
            beta=config.b1,
            consistent_rms=_ADAM_RMS,
            muon_weight_dimension_numbers=_matrices,
            **{f"adam_{name}": value for name, value in adam.items()},
        )
    else:
        raise ValueError(f"optimizer.name={config.name!r} is not one of adamw, muon")
    ways = {TRAINED: optax.chain(optax.clip_by_global_norm(config.clip), tx), FROZEN: optax.set_to_zero()}
    tx = optax.partition(ways, lambda params: jax.tree.map(_KEPT.get, _roles(params, role)))

    def update(gradient, state, params=None):
        updates, state = tx.update(gradient, state, params)

        def one(update: jax.Array, slope: jax.Array, role: str) -> jax.Array:
            return -RATE * slope if role == RUNNING else update

        return jax.tree.map(one, updates, gradient, _roles(gradient, role)), state

    return optax.GradientTransformation(tx.init, update)


def trained_norm(gradient, role: Callable[[tuple[str, ...]], str]) -> jax.Array:
    """The norm of the gradient of what is trained: that of running statistics is none of the loss."""
    roles = _roles(gradient, role)
    return optax.tree.norm(jax.tree.map(lambda x, role: x if role == TRAINED else jnp.zeros(()), gradient, roles))


def _roles(params, role: Callable[[tuple[str, ...]], str]):
    return jax.tree_util.tree_map_with_path(lambda path, _: role(tuple(key.key for key in path)), params)


def _matrices(params):
    """Kernels with more than one output (the classifier has one), one at a time where layers are stacked.

    A convolution's is one matrix, from all samples and channels that it sees.
    """

    def dimensions(path, x):
        if path[-1].key != "kernel" or min(x.shape[-2:]) <= 1:
            return None
        stacked = any(key.key == "layers" for key in path)
        inputs = (x.ndim - 2,) if stacked else tuple(range(x.ndim - 1))
        return optax.contrib.MuonDimensionNumbers(inputs, (x.ndim - 1,))

    return jax.tree_util.tree_map_with_path(dimensions, params)
