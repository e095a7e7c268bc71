"""The training loop: reads, steps, validates, saves, and stops when it is told to. What is learnt it does not know."""

import json
import logging
import shutil
import time
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from kmerl_jax.processes import together
from kmerl_jax.training import checkpoints, sharding
from kmerl_jax.training.checkpoints import Checkpoints
from kmerl_jax.training.goodput import Goodput
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.optimizer import optimizer, schedule
from kmerl_jax.training.preemption import Notice, Preempted
from kmerl_jax.training.step import State, init_state, make_evaluation, make_step
from kmerl_jax.training.stream import Examples, Stream, make_stream
from kmerl_jax.training.writers import Metrics

log = logging.getLogger(__name__)

# Of a step's metrics: for the loop itself, and integers that mean nothing on a console.
_FLAGS = ("finite", "stop")
_UNTOLD = ("loss", "gradient_norm", "records", "masks", "unreadable")


def fit(
    objective: Objective,
    train: Examples,
    val: Examples | None,
    config,
    steps: int,
    folder: Path,
    mesh: Mesh,
    goodput: Goodput | None = None,
) -> State:
    """Trains to the last step, going on from the latest whole checkpoint.

    Args:
        objective: what is minimised.
        train: records to learn from.
        val: records of the validation loss, or None.
        config: the run's config.
        steps: length of the run.
        folder: the run directory.
        mesh: the devices.
        goodput: counts the seconds; its own by default.

    Returns:
        The final state.

    Raises:
        Preempted: a process got a SIGTERM; all have stopped after the same step, and saved it.
        ValueError: the loss or its gradient became infinite or NaN; or the input or a checkpoint is unusable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    goodput = goodput or Goodput(folder)
    init_key, mask_key, val_key = jax.random.split(jax.random.key(config.seed), 3)
    tx = optimizer(config.optimizer, steps, objective.role)
    saved = Checkpoints(folder / "checkpoints", config.checkpoint.keep, config.checkpoint.on_failure)
    try:
        first = next(iter(make_stream(train, config)))
        with goodput.during("compile"):
            state = init_state(objective, tx, sharding.to_device(first, mesh), init_key, mesh)
        parameters = sum(x.size for x in jax.tree.leaves(state["params"]))
        log.info(f"{parameters:,} parameters on {mesh.size} device(s) ({jax.devices()[0].device_kind})")
        start, next_index, step_seconds = 0, 0, 0.0
        if saved.latest is not None:
            start = saved.latest
            with goodput.during("restore"):
                state, next_index, step_seconds = saved.restore(state)
            log.info(f"going on from the checkpoint of step {start}")
        goodput.lose(step_seconds)
        if start >= steps:
            return state
        loop = _Loop(objective, tx, state, val, config, steps, folder, mesh, mask_key, val_key, saved, goodput)
        return loop.run(start, make_stream(train, config, next_index, config.data.workers))
    finally:
        saved.close()
        goodput.save()


class _Loop:
    """What one call of `fit` carries from step to step."""

    def __init__(
        self, objective, tx, state: State, val, config, steps, folder, mesh, mask_key, val_key, saved, goodput
    ):
        self.state, self.val, self.config, self.steps, self.folder, self.mesh = state, val, config, steps, folder, mesh
        self.step = make_step(objective, tx, mask_key, state, mesh, config.train.microbatches)
        self.evaluation = make_evaluation(objective, val_key, mesh, config.train.microbatches)
        self.rates = np.asarray(jax.vmap(schedule(config.optimizer, steps))(np.arange(steps)))
        self.saved, self.goodput = saved, goodput
        self.unread, self.last_read, self.stop = None, None, False
        self.unreadable: set[int] = set()

    def run(self, start: int, stream: Stream) -> State:
        self.metrics = Metrics(self.folder, start)
        self.last_read = time.perf_counter()
        batches = iter(stream)
        hints = {
            "input": stream.doing,
            "step": lambda: "waiting for the devices, or for another process",
            "checkpoint": lambda: f"writing to {self.folder}",
        }
        watched = self.goodput.watched(self.config.train.stall_s, hints)
        try:
            with watched, Notice() as notice:
                for step in range(start + 1, self.steps + 1):
                    self._train(step, batches, notice)
                    validated = step % self.config.train.validate_every == 0 or step == self.steps
                    saves = step % self.config.checkpoint.every == 0 or step == self.steps or self.stop
                    # Saved before the next batch is taken, so that parameters and place in the stream agree; and after
                    # this step's flag is read, so that nothing is saved past a non-finite update.
                    if validated or saves:
                        self._read()
                    val_loss = self._validate(step) if validated else None
                    if saves:
                        self._save(step, stream.next_index, val_loss, last=step == self.steps or self.stop)
                    if self.stop:
                        raise Preempted(f"SIGTERM: stopped after step {step}, which is saved")
                if not together.everyone(not notice.given):  # during the last step
                    raise Preempted(f"SIGTERM: stopped after the last step, {self.steps}, which is saved")
        finally:
            batches.close()
            self.metrics.close()
        return self.state

    def _train(self, step: int, batches, notice: Notice) -> None:
        begun = time.perf_counter()
        with self.goodput.during("input"):
            batch = next(batches)
            self._name_unreadable(batch["unreadable"])
            there = sharding.to_device(batch | {"stop": np.full(len(batch["index"]), notice.given)}, self.mesh)
        waited = time.perf_counter() - begun
        if not isinstance(self.step, jax.stages.Compiled):
            with self.goodput.during("compile"):
                self.step = self.step.lower(self.state, there).compile()
            self.last_read = time.perf_counter()
        with self.goodput.during("step"):
            self.state, metrics = self.step(self.state, there)
            # The metrics of the step before: this one is running on the device meanwhile.
            self._read()
        self.unread = step, metrics, batch, waited

    def _name_unreadable(self, entries: np.ndarray) -> None:
        for entry in set(entries[entries >= 0].tolist()) - self.unreadable:
            self.unreadable.add(entry)
            log.warning(f"entry {entry} of the store cannot be read: it is skipped, another record stands in for it")

    def _read(self) -> None:
        if self.unread is None:
            return
        (step, metrics, batch, waited), self.unread = self.unread, None
        values = {name: value.item() for name, value in jax.device_get(metrics).items()}
        finite, stop = (values.pop(name) for name in _FLAGS)
        if not finite:
            raise ValueError(self._keep_nonfinite(step, values, batch))
        self.stop |= stop
        told = [name for name in values if name not in _UNTOLD]
        now = time.perf_counter()
        values |= {
            "learning_rate": float(self.rates[step - 1]),
            "ecg_per_s": self.config.train.batch_size / (now - self.last_read),
            "input_wait_s": waited,
        }
        self.last_read = now
        self.metrics.write(step, values)
        if step % self.config.train.log_every == 0 or step in (1, self.steps):
            seconds_left = (self.steps - step) * self.config.train.batch_size / values["ecg_per_s"]
            log.info(
                f"step {step:>6,} of {self.steps:,}  loss {values['loss']:.4f}"
                + "".join(f"  {name.removeprefix('loss_')} {values[name]:.4f}" for name in told)
                + f"  {values['ecg_per_s']:.1f} ECG/s  {seconds_left:.0f} s left"
            )
            self.goodput.save()

    def _keep_nonfinite(self, step: int, values: dict, batch: dict) -> str:
        """Keeps what is needed to look into a bad step: the state before it, and its records."""
        folder = self.folder / f"nonfinite-step-{step}"
        ids = {"entries": batch["entry"], "index": batch["index"]}
        if jax.process_count() > 1:
            ids = multihost_utils.process_allgather(ids, tiled=True)
        ids = {name: np.asarray(values).tolist() for name, values in ids.items()}
        with together.first_process_first():
            if jax.process_index() == 0:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                (folder / "records.json").write_text(json.dumps({"step": step, **ids, **values}))
        checkpoints.save_state(folder / "state", self.state)
        return (
            f"step {step}: the loss ({values['loss']}) or the norm of its gradient ({values['gradient_norm']}) is not "
            f"finite; the update was not applied. The state before it and the names of its {len(ids['index'])} records "
            f"are in {folder}. Lower optimizer.learning_rate, or look at these records"
        )

    def _validate(self, step: int) -> float | None:
        if self.val is None:
            return None
        with self.goodput.during("validation"):
            stream = make_stream(self.val, self.config)
            count = min(
                self.config.train.validation_batches, max(1, len(self.val.rows) // self.config.train.batch_size)
            )
            batches = iter(stream)
            sums: dict[str, float] = {}
            for _ in range(count):
                values = self.evaluation(self.state["params"], sharding.to_device(next(batches), self.mesh))
                for name, value in jax.device_get(values).items():
                    sums[name] = sums.get(name, 0.0) + value.item() / count
            batches.close()
        sums.pop("masks", None)  # a checksum has no mean
        self.metrics.write(step, sums, split="val")
        log.info(f"step {step:>6,} validation  " + "  ".join(f"{name} {value:.4f}" for name, value in sums.items()))
        self.last_read = time.perf_counter()  # a validation is not part of the training rate
        return sums["loss"]

    def _save(self, step: int, next_index: int, val_loss: float | None, last: bool) -> None:
        with self.goodput.during("checkpoint"):
            seconds = self.goodput.seconds["step"]
            self.saved.save(step, self.state, next_index, self.config.to_dict(), val_loss, seconds)
            if last and not self.saved.settle():
                raise ValueError(
                    f"step {step}, the last one, has no checkpoint; make room, and give the same command again: it "
                    "goes on from the checkpoint before"
                )
        self.goodput.save()
        log.info(f"step {step:>6,} checkpoint  {self.goodput.summary()}")
        self.last_read = time.perf_counter()
