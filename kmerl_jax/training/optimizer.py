"""What turns a gradient into an update: the schedule of the learning rate, AdamW and Muon."""

import jax
import optax

NAMES = ("adamw", "muon")
# Muon's updates are given the root mean square that AdamW's usually have, so one learning rate serves both (Liu et al.,
# Muon is scalable for LLM training, 2025, section 2.2).
_ADAM_RMS = 0.2


def schedule(config, steps: int) -> optax.Schedule:
    """Linear warm-up, then a cosine to zero (paper, appendix B).

    Args:
        config: the optimiser's part of a config.
        steps: length of the run.
    """
    warmup = min(config.warmup_steps, max(steps - 1, 0))
    return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, max(steps, 1))


def optimizer(config, steps: int) -> optax.GradientTransformation:
    """The optimiser behind gradient clipping.

    "adamw" is the paper's (appendix B; the clipping is ours). "muon" moves hidden matrices along the nearest orthogonal
    matrix of their momentum (Jordan et al. 2024) and everything else by AdamW: a run of a few hundred steps gets much
    further.

    Args:
        config: the optimiser's part of a config.
        steps: length of the run.

    Raises:
        ValueError: an unknown name.
    """
    rate = schedule(config, steps)
    adam = {"b1": config.b1, "b2": config.b2, "weight_decay": config.weight_decay}
    if config.name == "adamw":
        tx = optax.adamw(rate, **adam)
    elif config.name == "muon":
        tx = optax.contrib.muon(
            rate,
            weight_decay=config.weight_decay,
            consistent_rms=_ADAM_RMS,
            muon_weight_dimension_numbers=_hidden_matrices,
            **{f"adam_{name}": value for name, value in adam.items()},
        )
    else:
        raise ValueError(f"optimizer.name={config.name!r} is not one of {', '.join(NAMES)}")
    return optax.chain(optax.clip_by_global_norm(config.clip), tx)


def _hidden_matrices(params):
    """Kernels between hidden layers, one at a time where layers are stacked; neither W, which reads samples, nor the
    classifier, which has one output."""

    def dimensions(path, x):
        *modules, name = (key.key for key in path)
        hidden = name == "kernel" and "embedding" not in modules and min(x.shape[-2:]) > 1
        return optax.contrib.MuonDimensionNumbers(x.ndim - 2, x.ndim - 1) if hidden else None

    return jax.tree_util.tree_map_with_path(dimensions, params)
