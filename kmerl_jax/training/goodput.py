"""Where the time of a run goes, over all its starts; and a warning where it stays."""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

log = logging.getLogger(__name__)

STAGES = ("start", "restore", "compile", "input", "step", "validation", "checkpoint", "evaluation", "lost")
"""What the seconds are counted by. "step" is what trains; "lost" are steps that were taken again after a kill."""


class Goodput:
    """The seconds of each stage, kept in `goodput.json`.

    Attributes:
        starts: how often the run was started.
        seconds: of each stage.
    """

    def __init__(self, folder: Path):
        """Goes on with what the folder holds."""
        self._file = folder / "goodput.json"
        before = json.loads(self._file.read_text()) if self._file.exists() else {"starts": 0, "seconds": {}}
        self.starts = before["starts"] + 1
        self.seconds = dict.fromkeys(STAGES, 0.0) | before["seconds"]
        self._stage, self._since = "start", time.monotonic()
        self._stall: Callable[[], None] | None = None

    @contextlib.contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """Counts the body as a stage; the stage around it pauses."""
        outer = self._enter(stage)
        try:
            yield
        finally:
            self._enter(outer)

    def _enter(self, stage: str) -> str:
        now = time.monotonic()
        outer = self._stage
        self.seconds[outer] += now - self._since
        self._stage, self._since = stage, now
        return outer

    def lose(self, kept: float) -> None:
        """Counts the steps after a checkpoint as lost: they will be taken again.

        Args:
            kept: seconds of steps when the checkpoint was made.
        """
        lost = max(self.seconds["step"] - kept, 0.0)
        self.seconds["step"] -= lost
        self.seconds["lost"] += lost

    def save(self) -> None:
        """Writes the file; process 0 alone does."""
        self._enter(self._stage)
        if jax.process_index():
            return
        temporary = self._file.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps({"starts": self.starts, "seconds": self.seconds}, indent=1))
            temporary.replace(self._file)
        except OSError as error:  # no reason to end a run
            log.warning(f"{self._file}: {error.strerror}; the seconds since are not kept if the run is killed now")

    def summary(self) -> str:
        """One line."""
        self._enter(self._stage)
        total = sum(self.seconds.values())
        shares = ", ".join(f"{stage} {100 * s / total:.1f} %" for stage, s in self.seconds.items() if s)
        return f"time: {total:.0f} s in {self.starts} start(s): {shares}"

    @contextlib.contextmanager
    def watched(self, limit_s: float, hints: dict[str, Callable[[], str]]) -> Iterator[None]:
        """Warns when one stage lasts longer than a limit, and again whenever it has lasted twice as long.

        Args:
            limit_s: the limit.
            hints: what a stage is doing, by its name.
        """
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(limit_s, hints, ended), name="stalls", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _watch(self, limit_s: float, hints: dict[str, Callable[[], str]], ended: threading.Event) -> None:
        warned, patience = None, limit_s
        while not ended.wait(min(1.0, limit_s / 4)):
            stage, since = self._stage, self._since
            if (stage, since) != warned:
                patience = limit_s
            lasted = time.monotonic() - since
            if lasted > patience:
                hint = f": {hints[stage]()}" if stage in hints else ""
                log.warning(f"process {jax.process_index()}: {stage} has taken {lasted:.0f} s{hint}")
                warned, patience = (stage, since), 2 * lasted
