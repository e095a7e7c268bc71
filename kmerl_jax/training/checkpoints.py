"""Checkpoints: state, place in the stream and config, in one composite that Orbax writes in the background."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from kmerl_jax.training.step import State


class Checkpoints:
    """The checkpoints of a run directory."""

    def __init__(self, folder: Path, keep: int = 3):
        """Args:
        folder: where they are; made if need be.
        keep: how many of the latest stay; the one of lowest validation loss stays too.
        """
        best = policies.BestN(get_metric_fn=_val_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False)
        kept = policies.AnyPreservationPolicy([policies.LatestN(keep), best])
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(preservation_policy=kept, enable_async_checkpointing=True),
        )

    @property
    def latest(self) -> int | None:
        """The step of the latest whole checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: State, next_index: int, config: dict, val_loss: float | None) -> None:
        """Begins to write a checkpoint; the state may be donated as soon as this returns.

        Args:
            step: updates taken.
            state: after them.
            next_index: the stream's.
            config: the run's.
            val_loss: of this step, if it was validated.
        """
        if self._manager.latest_step() == step:
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                stream=ocp.args.JsonSave({"next_index": next_index}),
                config=ocp.args.JsonSave(config),
            ),
            metrics=None if val_loss is None else {"val_loss": val_loss},
            force=True,
        )

    def restore(self, state: State) -> tuple[State, int]:
        """The latest checkpoint.

        Args:
            state: a state of the wanted shapes and shardings; another number of devices than it was saved on is fine.

        Returns:
            The state and the stream's next index.

        Raises:
            ValueError: it holds another model than `state` does.
        """
        step = self.latest
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract), stream=ocp.args.JsonRestore())
            )
        except Exception as error:  # Orbax raises several kinds, each with pages of text
            raise ValueError(
                f"checkpoint {step} in {self._manager.directory} does not restore ({type(error).__name__}): it is "
                "damaged or of another model; remove it to go on from the one before"
            ) from error
        return restored["state"], restored["stream"]["next_index"]

    def close(self) -> None:
        """Waits until all is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _val_loss(metrics: dict) -> float:
    return metrics["val_loss"]


def steps(folder: Path) -> list[int]:
    """The steps of the whole checkpoints in a folder, ascending."""
    with _reader(folder) as manager:
        return sorted(manager.all_steps())


def restore_params(folder: Path, step: int, params):
    """The parameters alone, without the optimiser's state.

    Args:
        folder: of the checkpoints.
        step: of one of them.
        params: shapes and shardings of the wanted parameters, a tree of `jax.ShapeDtypeStruct`.

    Raises:
        ValueError: it holds another model, or is damaged.
    """
    restored = ocp.checkpoint_utils.construct_restore_args({"params": params})
    args = ocp.args.PyTreeRestore({"params": params}, restored, partial_restore=True)
    with _reader(folder) as manager:
        try:
            return manager.restore(step, args=ocp.args.Composite(state=args))["state"]["params"]
        except Exception as error:  # Orbax raises several kinds, each with pages of text
            raise ValueError(
                f"checkpoint {step} in {folder} does not restore ({type(error).__name__}): it is damaged or of another "
                "model than the run's config.json describes"
            ) from error


def _reader(folder: Path) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(folder.absolute(), options=ocp.CheckpointManagerOptions(read_only=True))
