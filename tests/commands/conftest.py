"""Starts the process that commands are forks of.

Before any test: there is one such process, and a test that prepares a store in its own would have it load another list.
"""

from multiprocessing import forkserver

from tests.commands import forks  # noqa: F401 - which says what it loads

forkserver.ensure_running()
