"""What all processes of a run do together; a run of one process does it alone."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils


def everyone(holds: bool) -> bool:
    """Whether something holds on every process; all must ask."""
    if jax.process_count() == 1:
        return holds
    return bool(np.all(multihost_utils.process_allgather(np.bool_(holds))))


def from_first(value: int) -> int:
    """The value that process 0 has; all must ask."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int64(value)))


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
    """Process 0 does the body, then the others: they find what it has written.

    Raises:
        ValueError: on the others, if process 0 failed.
    """
    if jax.process_index():
        if not everyone(True):
            raise ValueError("process 0 failed")
        yield
        return
    try:
        yield
    except BaseException:
        everyone(False)
        raise
    everyone(True)
