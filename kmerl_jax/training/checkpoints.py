"""Checkpoints: state, place in the stream and config, in one composite that Orbax writes in the background.

Orbax restores a checkpoint with a flipped byte without a word. So each one is sealed with the digests of its files once
it is written, and one whose seal is missing or broken does not count.
"""

import contextlib
import json
import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as policies

from kmerl_jax.cohorts.store import digest
from kmerl_jax.processes import together
from kmerl_jax.training.step import State

ON_FAILURE = ("continue", "stop")
_SEAL = "digests.json"

log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of a run directory.

    Attributes:
        latest: the step of the latest whole checkpoint when the folder was opened, or None.
    """

    def __init__(self, folder: Path, keep: int = 3, on_failure: str = "stop"):
        """Opens the folder: what a kill left half-written is removed, what is damaged is set aside, both aloud.

        Args:
            folder: where they are; made if need be.
            keep: how many of the latest stay, two at least: the one before stays until the next is sealed. The one of
                lowest validation loss stays too.
            on_failure: of a write: "continue" without that checkpoint, or "stop".

        Raises:
            ValueError: the folder cannot be written, or `on_failure` is neither.
        """
        if on_failure not in ON_FAILURE:
            raise ValueError(f"checkpoint.on_failure={on_failure!r} is not one of {', '.join(ON_FAILURE)}")
        self._folder, self._keep, self._on_failure = folder.absolute(), keep, on_failure
        with together.first_process_first():
            if jax.process_index() == 0:
                try:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    _tidy(self._folder)
                except OSError as error:
                    raise ValueError(f"{error.filename or folder}: {error.strerror}; checkpoints go there") from error
        self._open()
        latest = together.from_first(max(steps(self._folder), default=-1))
        self.latest = None if latest < 0 else latest
        self._last: tuple[int, str | None] | None = None  # the last save: its step, and what went wrong

    def _open(self) -> None:
        best = policies.BestN(get_metric_fn=_val_loss, reverse=True, n=1, keep_checkpoints_without_metrics=False)
        kept = policies.AnyPreservationPolicy([policies.LatestN(max(self._keep, 2)), best])
        options = ocp.CheckpointManagerOptions(preservation_policy=kept, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._writing: threading.Thread | None = None

    def save(
        self, step: int, state: State, next_index: int, config: dict, val_loss: float | None, step_seconds: float = 0.0
    ) -> None:
        """Begins to write a checkpoint; the state may be donated as soon as this returns. All processes must call it.

        Args:
            step: updates taken.
            state: after them.
            next_index: the stream's.
            config: the run's.
            val_loss: of this step, if it was validated.
            step_seconds: spent on the steps so far.

        Raises:
            ValueError: this or the last write failed, and a failure is to stop the run.
        """
        self.settle()
        if (self._last is None and self.latest == step) or self._last == (step, None):
            return
        problem = self._probe()
        if together.everyone(problem is None):
            try:
                self._manager.save(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardSave(state),
                        stream=ocp.args.JsonSave({"next_index": next_index, "step_seconds": step_seconds}),
                        config=ocp.args.JsonSave(config),
                    ),
                    metrics=None if val_loss is None else {"val_loss": val_loss},
                    force=True,
                )
            except Exception as error:  # Orbax raises several kinds
                problem = _reason(error)
        else:
            problem = problem or "process 0 cannot write"
        self._last = step, problem
        if problem is not None:
            self._warn()
        else:
            self._writing = threading.Thread(target=self._seal, args=(step,), name="checkpoint")
            self._writing.start()

    def _probe(self) -> str | None:
        """What keeps process 0 from writing: all processes hear it before they begin to wait for each other."""
        if jax.process_index():
            return None
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                file.write(bytes(1 << 20))
        except OSError as error:
            return _reason(error)
        return None

    def _seal(self, step: int) -> None:
        try:
            self._manager.wait_until_finished()
            if jax.process_index() == 0:
                _write_seal(self._folder / str(step))
        except Exception as error:  # Orbax raises several kinds
            self._last = step, _reason(error)
            self._warn()

    def _warn(self) -> None:
        goes_on = "; going on without it" if self._on_failure == "continue" else ""
        log.warning(f"{self._failure()}{goes_on}")

    def _failure(self) -> str:
        step, problem = self._last
        return f"the checkpoint of step {step} could not be written to {self._folder} ({problem})"

    def settle(self) -> bool:
        """Waits until the last checkpoint is whole, and returns whether it is. All processes must call it.

        Raises:
            ValueError: it could not be written, and that is to stop the run.
        """
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        problem = self._last[1] if self._last else None
        if together.everyone(problem is None):
            return True
        self._last = self._last[0], problem or "another process failed"
        if self._on_failure == "stop":
            raise ValueError(f"{self._failure()}; make room or mend it, and give the same command again")
        self._last = None
        self._shut()
        with together.first_process_first():
            if jax.process_index() == 0:
                _tidy(self._folder)
        self._open()
        return False

    def restore(self, state: State) -> tuple[State, int, float]:
        """The latest checkpoint.

        Args:
            state: a state of the wanted shapes and shardings; another number of devices than it was saved on is fine.

        Returns:
            The state, the stream's next index, and the seconds spent on the steps so far.

        Raises:
            ValueError: it holds another model than `state` does.
        """
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
        items = {"state": ocp.args.StandardRestore(abstract), "stream": ocp.args.JsonRestore()}
        try:
            restored = self._manager.restore(self.latest, args=ocp.args.Composite(**items))
        except Exception as error:  # Orbax raises several kinds, each with pages of text
            raise ValueError(
                f"checkpoint {self.latest} in {self._folder} does not restore ({type(error).__name__}): it is of "
                "another model; remove it to go on from the one before"
            ) from error
        return restored["state"], restored["stream"]["next_index"], restored["stream"]["step_seconds"]

    def close(self) -> None:
        """Waits until all is written."""
        if self._writing is not None:
            self._writing.join()
        self._shut()

    def _shut(self) -> None:
        with contextlib.suppress(Exception):  # what failed is in self._last, and Orbax says it again
            self._manager.close()


def _val_loss(metrics: dict) -> float:
    return metrics["val_loss"]


def _reason(error: BaseException) -> str:
    """The operating system's word for it, wherever in the chain of errors it stands."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def _tidy(folder: Path) -> None:
    """Removes what was half-written, and sets damaged checkpoints aside, down to the latest whole one."""
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(path)
        log.info(f"removed {path.name}, a checkpoint that was being written when the run ended")
    there = sorted((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), reverse=True)
    unsealed = [step for step in there if not (folder / str(step) / _SEAL).is_file()]
    for step in there:
        path = folder / str(step)
        if unsealed == [step]:  # a kill leaves one; several are not of this program, and may be all that there is
            shutil.rmtree(path)
            log.warning(f"removed checkpoint {step}: the run ended before it was sealed")
            continue
        problem = damage(path)
        if problem is None:
            return
        aside = folder / f"damaged-{step}"
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        log.warning(f"checkpoint {step} is damaged ({problem}); it is now {aside}, and the one before it is used")


def _files(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file() and file.name != _SEAL)


def _write_seal(path: Path) -> None:
    temporary = path / f"{_SEAL}.tmp"
    digests = {name: digest(path / name) for name in _files(path)}
    with open(temporary, "w") as file:
        json.dump(digests, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path / _SEAL)


def damage(path: Path) -> str | None:
    """What is wrong with the files of a sealed checkpoint, or None."""
    if not (path / _SEAL).is_file():
        return f"it has no {_SEAL}"
    try:
        digests = json.loads((path / _SEAL).read_text())
        there = set(_files(path))
        for name, expected in digests.items():
            if name not in there:
                return f"{name} is missing"
            if digest(path / name) != expected:
                return f"{name} is not what was written"
    except (OSError, ValueError, AttributeError) as error:
        return f"{_SEAL}: {error}"
    return None


def steps(folder: Path) -> list[int]:
    """The steps of the sealed checkpoints in a folder, ascending."""
    return sorted(int(path.parent.name) for path in folder.glob(f"*/{_SEAL}") if path.parent.name.isdecimal())


def restore_params(folder: Path, step: int, params):
    """The parameters alone, without the optimiser's state.

    Args:
        folder: of the checkpoints.
        step: of one of them.
        params: shapes and shardings of the wanted parameters, a tree of `jax.ShapeDtypeStruct`.

    Raises:
        ValueError: it holds another model, or is damaged.
    """
    problem = damage(folder / str(step))
    if problem is not None:
        raise ValueError(f"checkpoint {step} in {folder} is damaged ({problem}); train, given again, sets it aside")
    restored = ocp.checkpoint_utils.construct_restore_args({"params": params})
    args = ocp.args.PyTreeRestore({"params": params}, restored, partial_restore=True)
    with ocp.CheckpointManager(folder.absolute(), options=ocp.CheckpointManagerOptions(read_only=True)) as manager:
        try:
            return manager.restore(step, args=ocp.args.Composite(state=args))["state"]["params"]
        except Exception as error:  # Orbax raises several kinds, each with pages of text
            raise ValueError(
                f"checkpoint {step} in {folder} does not restore ({type(error).__name__}): it is of another model than "
                "the run's config.json describes"
            ) from error


def save_state(path: Path, state: State) -> None:
    """Writes a state on its own, over what was there. All processes must call it."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), state, force=True)
