"""SIGTERM, with which clusters take a machine back: the step under way is finished and saved."""

import signal
import threading


class Preempted(Exception):
    """All processes stopped after the same step, which has a checkpoint."""


class Notice:
    """Notes a SIGTERM instead of dying of it, as long as a `with` lasts; once one came, for good.

    It travels with the next batch to all processes, so that they stop after the same step.

    Attributes:
        given: whether one came.
    """

    def __init__(self):
        self.given = False

    def __enter__(self) -> "Notice":
        # Python lets the main thread alone handle signals.
        self._here = threading.current_thread() is threading.main_thread()
        if self._here:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def _note(self, *_) -> None:
        self.given = True

    def __exit__(self, *_) -> None:
        # After one, this process is on its way out: clusters send a second.
        if self._here and not self.given:
            signal.signal(signal.SIGTERM, self._before)
