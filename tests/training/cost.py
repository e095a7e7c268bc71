"""What metrics, checkpoints and readiness for preemption cost a step, at the demo's size.

    python -m tests.training.cost       # a quarter of an hour on two CPU cores

Trains as `python -m kmerl_jax.train --config=configs/vit_tiny.py` does, and pauses after every 20 steps for 20 of a
bare loop, which reads and steps and does nothing else: both see the machine in the same minutes. The first 10 steps are
left out.
"""

import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from configs import vit_tiny
from kmerl_jax import command
from kmerl_jax.text.lexical import LexicalEncoder
from kmerl_jax.training import loop, pairs, sharding
from kmerl_jax.training.methods import build_objective
from kmerl_jax.training.stream import make_stream
from kmerl_jax.training.texts import make_texts

BLOCK = 20


class Paused:
    """The stream of a run, which pauses for the bare loop; how long both take.

    A checkpoint is written in the background: the pauses are halfway between the steps that can have one, so that the
    bare loop does not pay for it.

    Attributes:
        whole: steps and seconds of the run, from pause to pause.
        bare: seconds of the bare loop's `BLOCK` steps, in every pause but the first.
    """

    def __init__(self, stream, run):
        self._stream = stream
        self._mesh = run.mesh
        self._bare = run.step, jax.tree.map(jnp.copy, run.state)
        self._bare_batches = iter(make_stream(stream._examples, run.config))
        self._begun, self._since = None, 0
        self.whole: list[tuple[int, float]] = []
        self.bare: list[float] = []

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __iter__(self):
        for n, batch in enumerate(self._stream):
            if n % BLOCK == BLOCK // 2:
                self.end_block(n)
                begun = time.perf_counter()
                self._step_bare()
                if n > BLOCK:  # the first one compiles
                    self.bare.append(time.perf_counter() - begun)
                self._begun, self._since = time.perf_counter(), n
            yield batch

    def end_block(self, n: int) -> None:
        """Notes the run's time since the last pause, when it has taken n steps."""
        jax.block_until_ready(jax.live_arrays())
        if self._begun is not None:
            self.whole.append((n - self._since, time.perf_counter() - self._begun))

    def _step_bare(self) -> None:
        step, state = self._bare
        for _ in range(BLOCK):
            batch = next(self._bare_batches)
            batch = sharding.to_device(batch | {"stop": np.zeros(len(batch["index"]), bool)}, self._mesh)
            if not isinstance(step, jax.stages.Compiled):
                step = step.lower(state, batch).compile()
            state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))
        self._bare = step, state


def main() -> None:
    """Prints seconds per step of both loops."""
    config = vit_tiny.get_config()
    encoder, store, mesh = LexicalEncoder(), pairs.open_store(config, command.Progress), sharding.make_mesh()
    asked, examples, _ = pairs.load(store, encoder, config)
    objective = build_objective(config, make_texts(encoder, asked.entities), mesh.size)
    streams = []

    def run(self, start, stream):
        streams.append(Paused(stream, self))
        return real(self, start, streams[0])

    real, loop._Loop.run = loop._Loop.run, run
    with tempfile.TemporaryDirectory() as folder:
        loop.fit(objective, examples, None, config, config.train.steps, Path(folder), mesh)
        streams[0].end_block(config.train.steps)
    whole, bare = streams[0].whole, streams[0].bare
    steps, seconds = map(sum, zip(*whole, strict=True))
    each = seconds / steps, sum(bare) / len(bare) / BLOCK
    checkpoints = config.train.steps // config.checkpoint.every
    print(f"a step of the run {each[0]:.4f} s, {checkpoints} checkpoints included; of the bare loop {each[1]:.4f} s")
    print(f"more: {each[0] / each[1] - 1:.1%}")
    blocks = zip(whole, bare, strict=False)  # no pause follows the run's end
    print("by block:", ", ".join(f"{seconds / n * BLOCK / other - 1:.1%}" for (n, seconds), other in blocks))


if __name__ == "__main__":
    command.run(main, __doc__)
