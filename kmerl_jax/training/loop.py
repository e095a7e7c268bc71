"""The training loop: reads, steps, validates, saves. It knows nothing of what the objective learns."""

import json
import logging
import time
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from kmerl_jax.training import sharding
from kmerl_jax.training.checkpoints import Checkpoints
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.optimizer import optimizer, schedule
from kmerl_jax.training.step import State, init_state, make_evaluation, make_step
from kmerl_jax.training.stream import Examples, Stream
from kmerl_jax.training.writers import Metrics

log = logging.getLogger(__name__)


def fit(
    objective: Objective, train: Examples, val: Examples | None, config, steps: int, folder: Path, mesh: Mesh
) -> State:
    """Trains to the last step, going on from the latest checkpoint.

    Args:
        objective: what is minimised.
        train: records to learn from.
        val: records of the validation loss, or None.
        config: the run's config.
        steps: length of the run.
        folder: the run directory.
        mesh: the devices.

    Returns:
        The final state.

    Raises:
        ValueError: the loss or its gradient became infinite or NaN; or the input or a checkpoint is unusable.
    """
    init_key, mask_key, val_key = jax.random.split(jax.random.key(config.seed), 3)
    tx = optimizer(config.optimizer, steps, objective.frozen)
    checkpoints = Checkpoints(folder / "checkpoints", config.checkpoint.keep)
    try:
        first = next(iter(_stream(train, config)))
        state = init_state(objective, tx, sharding.to_device(first, mesh), init_key, mesh)
        parameters = sum(x.size for x in jax.tree.leaves(state["params"]))
        log.info(f"{parameters:,} parameters on {mesh.size} device(s) ({jax.devices()[0].device_kind})")
        start, next_index = 0, 0
        if checkpoints.latest is not None:
            start = checkpoints.latest
            state, next_index = checkpoints.restore(state)
            log.info(f"going on from the checkpoint of step {start}")
        if start >= steps:
            return state
        return _Loop(objective, tx, state, val, config, steps, folder, mesh, mask_key, val_key, checkpoints).run(
            start, _stream(train, config, next_index)
        )
    finally:
        checkpoints.close()


def _stream(examples: Examples, config, next_index: int = 0) -> Stream:
    return Stream(
        examples,
        config.train.batch_size,
        config.seed,
        next_index,
        jax.process_index(),
        jax.process_count(),
        config.data.workers,
    )


class _Loop:
    """What one call of `fit` carries from step to step."""

    def __init__(self, objective, tx, state: State, val, config, steps, folder, mesh, mask_key, val_key, checkpoints):
        self.state, self.val, self.config, self.steps, self.folder, self.mesh = state, val, config, steps, folder, mesh
        self.step = make_step(objective, tx, mask_key, state, mesh)
        self.evaluation = make_evaluation(objective, val_key, mesh)
        self.rates = np.asarray(jax.vmap(schedule(config.optimizer, steps))(np.arange(steps)))
        self.checkpoints = checkpoints
        self.unread, self.last_read = None, None

    def run(self, start: int, stream: Stream) -> State:
        self.metrics = Metrics(self.folder, start)
        self.last_read = time.perf_counter()
        batches = iter(stream)
        try:
            for step in range(start + 1, self.steps + 1):
                self._train(step, batches)
                val_loss = None
                if step % self.config.train.validate_every == 0 or step == self.steps:
                    self._read()
                    val_loss = self._validate(step)
                # Saved before the next batch is taken, so that parameters and place in the stream agree; and after
                # this step's flag is read, so that nothing is saved past a non-finite update.
                if step % self.config.checkpoint.every == 0 or step == self.steps:
                    self._read()
                    self.checkpoints.save(step, self.state, stream.next_index, self.config.to_dict(), val_loss)
        finally:
            batches.close()
            self.metrics.close()
        return self.state

    def _train(self, step: int, batches) -> None:
        begun = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - begun
        self.state, metrics = self.step(self.state, sharding.to_device(batch, self.mesh))
        # The metrics of the step before: this one is running on the device meanwhile.
        self._read()
        self.unread = step, metrics, batch, waited

    def _read(self) -> None:
        if self.unread is None:
            return
        (step, metrics, batch, waited), self.unread = self.unread, None
        values = {name: value.item() for name, value in jax.device_get(metrics).items()}
        if not values.pop("finite"):
            raise ValueError(self._describe_nonfinite(step, values, batch))
        told = [name for name in values if name not in ("loss", "gradient_norm")]
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

    def _describe_nonfinite(self, step: int, values: dict, batch: dict) -> str:
        path = self.folder / f"nonfinite-step-{step}.json"
        entries = batch["entry"].tolist()
        path.write_text(json.dumps({"step": step, "entries": entries, "index": batch["index"].tolist()} | values))
        return (
            f"step {step}: the loss ({values['loss']}) or the norm of its gradient ({values['gradient_norm']}) is not "
            f"finite; the update was not applied. The {len(entries)} records of the step are named in {path}. "
            "Lower optimizer.learning_rate, or look at these records"
        )

    def _validate(self, step: int) -> float | None:
        if self.val is None:
            return None
        stream = Stream(
            self.val, self.config.train.batch_size, self.config.seed, 0, jax.process_index(), jax.process_count()
        )
        count = min(self.config.train.validation_batches, max(1, len(self.val.rows) // self.config.train.batch_size))
        batches = iter(stream)
        sums: dict[str, float] = {}
        for _ in range(count):
            values = self.evaluation(self.state["params"], sharding.to_device(next(batches), self.mesh))
            for name, value in jax.device_get(values).items():
                sums[name] = sums.get(name, 0.0) + value.item() / count
        batches.close()
        self.metrics.write(step, sums, split="val")
        log.info(f"step {step:>6,} validation  " + "  ".join(f"{name} {value:.4f}" for name, value in sums.items()))
        self.last_read = time.perf_counter()  # a validation is not part of the training rate
        return sums["loss"]
