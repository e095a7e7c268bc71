"""One training step: a pure function of (state, batch)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from kmerl_jax.models.masking import hashed
from kmerl_jax.training import accumulation, sharding
from kmerl_jax.training.objective import Batch, Objective
from kmerl_jax.training.optimizer import trained_norm

State = dict


def init_state(
    objective: Objective, tx: optax.GradientTransformation, batch: Batch, key: jax.Array, mesh: Mesh
) -> State:
    """A state at step 0, made on the devices where it will live.

    Returns:
        "params", "optimizer", "step" (updates applied) and "halted": set by the first non-finite update, after which
        nothing changes any more.
    """
    shapes = state_shapes(objective, tx, batch, key, mesh)
    shardings = jax.tree.map(lambda x: x.sharding, shapes)
    state = jax.jit(_init(objective, tx, key), out_shardings=shardings)(batch)
    given = objective.pretrained()
    # A copy: the state will be donated, and what was given may be in use elsewhere.
    put = jax.device_put(given, {name: shardings["params"][name] for name in given}, may_alias=False)
    return state | {"params": state["params"] | put}


def state_shapes(
    objective: Objective, tx: optax.GradientTransformation, batch: Batch, key: jax.Array, mesh: Mesh
) -> State:
    """What `init_state` would make, as shapes with shardings: of any size, since nothing is made."""
    shapes = jax.eval_shape(_init(objective, tx, key), batch)
    shardings = sharding.state_shardings(shapes, mesh)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)


def _init(objective: Objective, tx: optax.GradientTransformation, key: jax.Array) -> Callable[[Batch], State]:
    def init(batch: Batch) -> State:
        params = objective.init(key, batch)
        return {
            "params": params,
            "optimizer": tx.init(params),
            "step": jnp.zeros((), jnp.int32),
            "halted": jnp.zeros((), bool),
        }

    return init


def make_step(
    objective: Objective,
    tx: optax.GradientTransformation,
    key: jax.Array,
    state: State,
    mesh: Mesh,
    microbatches: int = 1,
) -> Callable[[State, Batch], tuple[State, dict]]:
    """The compiled training step.

    Args:
        objective: what is minimised.
        tx: the optimiser.
        key: the run's key for everything random, the same at every step.
        state: a state, for its shardings; it is not used.
        mesh: the devices.
        microbatches: parts of a batch, one after another.

    Returns:
        A function of (state, batch) to (new state, metrics); the given state is donated. An update is applied only if
        the loss and the norm of the gradient are finite, and metrics["finite"] says so. A batch also brings "stop" [B]
        bool, whether its process was told to stop: metrics["stop"] says whether any was. metrics["records"] is a
        checksum of which records stood at which places, metrics["unreadable"] how many stood in for another.
    """

    def step(state: State, batch: Batch) -> tuple[State, dict]:
        (loss, metrics), gradient = accumulation.loss_and_gradient(
            objective, state["params"], batch, key, microbatches, mesh
        )
        norm = trained_norm(gradient, objective.role)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        updates, optimizer_state = tx.update(gradient, state["optimizer"], state["params"])
        updated = {
            "params": optax.apply_updates(state["params"], updates),
            "optimizer": optimizer_state,
            "step": state["step"] + 1,
        }
        # The host reads metrics one step late: without the flag, the step already under way would go on from here.
        apply = finite & ~state["halted"]
        kept = {name: state[name] for name in updated}
        new = jax.tree.map(lambda a, b: jnp.where(apply, a, b), updated, kept)
        metrics = {"loss": loss, **metrics, "gradient_norm": norm, "finite": finite, **_told(batch)}
        return {**new, "halted": state["halted"] | ~finite}, metrics

    shardings = jax.tree.map(lambda x: x.sharding, state)
    return jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(shardings, sharding.batch_sharding(mesh)),
        out_shardings=(shardings, sharding.replicated(mesh)),
    )


def _told(batch: Batch) -> dict[str, jax.Array]:
    """What every process learns of the others' blocks of a batch."""
    return {
        "stop": batch["stop"].any(),
        "unreadable": (batch["unreadable"] >= 0).sum(),
        "records": checksum(batch["index"], batch["entry"]),
    }


def checksum(index: jax.Array, entry: jax.Array) -> jax.Array:
    """Which records stand at which places, as one number; modulo 2**32, the same however a batch is split.

    Args:
        index: [B] uint32, places in the stream.
        entry: [B] int32, rows of the store.

    Returns:
        uint32.
    """
    return hashed(hashed(index + jnp.uint32(1)) ^ entry.astype(jnp.uint32)).sum(dtype=jnp.uint32)


def make_evaluation(
    objective: Objective, key: jax.Array, mesh: Mesh, microbatches: int = 1
) -> Callable[[dict, Batch], dict]:
    """A compiled function of (params, batch) to the metrics of a batch that nothing is learnt from."""

    def evaluate(params: dict, batch: Batch) -> dict:
        outputs = accumulation.outputs_of(objective, params, batch, key, False, microbatches, mesh)
        loss, metrics = objective.combine(outputs, batch)
        return {"loss": loss, **metrics}

    return jax.jit(evaluate, out_shardings=sharding.replicated(mesh))
