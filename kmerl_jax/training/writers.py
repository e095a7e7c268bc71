"""Metrics to `metrics.jsonl`, to TensorBoard and to the console."""

import errno
import json
import logging
import os
from pathlib import Path

import jax
from tensorboardX import SummaryWriter

log = logging.getLogger(__name__)


class Metrics:
    """Writes one line a step; process 0 writes for all."""

    def __init__(self, folder: Path, after_step: int):
        """Opens the files of a run.

        Args:
            folder: the run directory.
            after_step: the step that the run goes on from. Lines of later steps are from before an interruption: they
                are dropped, because those steps are taken again.
        """
        self._mute = jax.process_index() > 0
        if self._mute:
            return
        path = folder / "metrics.jsonl"
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= after_step]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(kept))
        temporary.replace(path)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        self._pending = b""
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=after_step + 1)

    def write(self, step: int, values: dict, split: str = "train") -> None:
        """Writes the values of a step; those of another split than train carry its name."""
        if self._mute:
            return
        label = {} if split == "train" else {"split": split}
        self._pending += json.dumps({"step": step, **label, **values}).encode() + b"\n"
        self._write_pending()
        for name, value in values.items():
            self._events.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        """Flushes and closes both."""
        if self._mute:
            return
        self._write_pending()
        self._file.close()
        self._events.close()

    def _write_pending(self) -> None:
        """A disk that is full for a while does not end a run: lines wait, and no half one is left."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(self._pending) < len(self._pending):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._file.truncate(end)
            log.warning(f"{self._file.name}: {error.strerror}; {self._pending.count(10)} line(s) wait to be written")
            return
        self._pending = b""


def _whole_lines(path: Path) -> list[str]:
    """The lines that were written to their end: a killed run can leave a last one that was not."""
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]
