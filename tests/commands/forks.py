"""Commands as users run them, in processes of their own that need not load the libraries first.

Loading them takes a command seconds, and the tests start many: so one process loads them, and each command is a fork of
it. What is loaded is none of ours.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import jax

REPOSITORY = Path(__file__).parents[2]
_LIBRARIES = [
    "absl.flags",
    "flax.linen",
    "grain",
    "jax.numpy",
    "matplotlib.pyplot",
    "ml_collections.config_flags",
    "optax",
    "orbax.checkpoint",
    "pandas",
    "pyarrow.csv",
    "pyarrow.parquet",
    "safetensors.numpy",
    "scipy.signal",
    "scipy.stats",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.metrics",
    "tensorboardX",
    "tqdm",
    "wfdb",
]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(_LIBRARIES)


def run(*arguments, module="train", **environment) -> subprocess.CompletedProcess:
    """Runs `python -m kmerl_jax.MODULE ARGUMENTS` in the repository.

    Args:
        *arguments: of the command.
        module: the command.
        **environment: variables beside those that the tests have.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        words = [f"kmerl_jax.{module}", *map(str, arguments)]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
        process = _FORKS.Process(target=_become, args=(words, environment, out, err))
        process.start()
        process.join(timeout=300)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{' '.join(words)} did not end\n{out.read_text()}\n{err.read_text()}")
        return subprocess.CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())


def _become(words: list[str], environment: dict[str, str], *files: Path) -> None:
    """Makes this process the command."""
    os.chdir(REPOSITORY)
    os.environ.clear()
    os.environ.update(environment)
    for name in ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR"):  # JAX read its variables when it was loaded
        jax.config.update(name.lower(), environment[name])
    for descriptor, path in enumerate(files, 1):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), descriptor)
    sys.argv = words
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # a child of multiprocessing leaves them out
