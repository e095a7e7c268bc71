"""The training runs that a table needs: planned, skipped where done, run one after another or as a Slurm array."""

import dataclasses
import functools
import hashlib
import importlib.util
import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import flax.traverse_util

from kmerl_jax.reproduction.table import Row, Table
from kmerl_jax.training.run import FREE, finished, has_checkpoint, read_json

log = logging.getLogger(__name__)

CONFIGS, LAUNCHER = Path("configs"), Path("launch", "slurm.sbatch")


@dataclasses.dataclass(frozen=True)
class Run:
    """One pretraining.

    Attributes:
        config: of configs/.
        recipe: of the config.
        changes: fields and their values, sorted; the seed is not among them.
        seed: of the run.
        root: folder of all runs.
    """

    config: str
    recipe: str
    changes: tuple[tuple[str, object], ...]
    seed: int
    root: Path

    @property
    def folder(self) -> Path:
        """Its run directory, named after all that decides what is learnt: tables share the runs that they have in
        common, and what a later version of a config would train is another run."""
        free = set(FREE) - {"train.steps", "train.epochs", "data.store"}
        whole = {name: value for name, value in self._fields.items() if name not in free}
        digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:6]
        return self.root / f"{self.config}-{self.recipe}-{digest}-seed{self.seed}"

    @property
    def store(self) -> Path:
        """What it learns from."""
        return Path(self._fields["data.store"])

    @property
    def knowledge(self) -> str:
        """The reading of the reports that it learns from."""
        return self._fields["data.knowledge"]

    @property
    def _fields(self) -> dict:
        """Of its config, by their dotted names."""
        return _config(self.config, self.recipe) | dict(self.changes)

    @property
    def done(self) -> bool:
        """Whether it has been trained and scored to its end, is still there, and learnt what its store holds now."""
        if not (finished(self.folder) and has_checkpoint(self.folder)):
            return False
        manifest = self.store / "manifest.json"  # a store that has gone is nothing that changed
        return not manifest.is_file() or read_json(manifest)["plan"] == self._learnt["store_plan"]

    @property
    def texts_from_labels(self) -> bool:
        """Of a run that is done: whether its texts were made from labels; scores by name are not zero-shot then."""
        return self._learnt["texts_from_labels"]

    @property
    def cohort(self) -> str:
        """Of a run that is done: what it learnt from."""
        return self._learnt["cohort"]

    @property
    def _learnt(self) -> dict:
        return read_json(self.folder / "entities.json")

    @property
    def arguments(self) -> list[str]:
        """Of the train command, which trains it, and goes on with it."""
        given = [f"--config.{name}={value}" for name, value in (*self.changes, ("seed", self.seed))]
        config = f"--config={CONFIGS / self.config}.py:{self.recipe}"
        return [config, f"--workdir={self.folder}", *given]


def of_row(row: Row, recipe: str, common: Mapping[str, object], seeds: int, root: Path) -> list[Run]:
    """The runs of a row, one a seed. What is changed to what it is already is no change: tables share such runs.

    Args:
        row: of a table.
        recipe: of the configs.
        common: changes of every row; a row's own come first.
        seeds: how many.
        root: folder of all runs.

    Raises:
        FileNotFoundError: its config is not where the command was started.
    """
    own = _config(row.config, recipe)
    scaled = {name: float(f"{own[name] * factor:.3g}") for name, factor in row.scaled.items()}
    given = (dict(common) | dict(row.changes) | scaled).items()
    changes = tuple(sorted((name, value) for name, value in given if own.get(name, ...) != value))
    return [Run(row.config, recipe, changes, seed, root) for seed in range(seeds)]


@functools.cache
def _config(name: str, recipe: str) -> dict:
    """The fields of a config, by their dotted names."""
    path = CONFIGS / f"{name}.py"
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; start the command in the clone")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return flax.traverse_util.flatten_dict(module.get_config(recipe).to_dict(), sep=".")


def needed(
    tables: Iterable[Table], recipe: str, common: Mapping[str, object], seeds: int | None, root: Path
) -> list[Run]:
    """The distinct runs of all rows of some tables, in their order.

    Args:
        tables: whose rows.
        recipe: see `of_row`, as `common` and `root`.
        common: changes of every row.
        seeds: of each row; None: as many as each table wants.
        root: folder of all runs.

    Raises:
        FileNotFoundError: a config is not where the command was started.
    """
    runs = {}
    for table in tables:
        for row in table.rows:
            for run in of_row(row, recipe, common, seeds or table.seeds, root):
                runs[run] = None
    return list(runs)


def train(runs: Sequence[Run]) -> dict[Run, str]:
    """Trains what is not done, one after another; a run that fails does not stop the others.

    Returns:
        Run -> why it failed.
    """
    left, failed = [run for run in runs if not run.done], {}
    log.info(f"{len(runs)} runs, {len(runs) - len(left)} of them done")
    for n, run in enumerate(left, 1):
        command = ["-m", "kmerl_jax.train", *run.arguments]
        log.info(f"run {n} of {len(left)}: python {shlex.join(command)}")
        child = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
        last = ""
        try:
            for line in child.stderr:
                sys.stderr.write(line)
                last = line.strip() or last
        except BaseException:  # told to stop: the run saves where it is, and stops too
            child.terminate()
            child.wait()
            raise
        if child.wait() or not run.done:
            failed[run] = last.removeprefix("error: ") or "it ended without results"
            log.warning(f"{run.folder}: {failed[run]}")
    return failed


def slurm(runs: Sequence[Run]) -> str:
    """A Slurm array of what is not done, a task each, which does what launch/slurm.sbatch does.

    Raises:
        FileNotFoundError: that is not where the command was started.
        ValueError: there is nothing to be done.
    """
    left = [run for run in runs if not run.done]
    if not left:
        raise ValueError(f"all {len(runs)} runs are done; the same command without --slurm writes the table")
    if not LAUNCHER.is_file():
        raise FileNotFoundError(f"{LAUNCHER} not found; start the command in the clone")
    asked = "\n".join(line for line in LAUNCHER.read_text().splitlines() if line.startswith("#SBATCH"))
    lines = "\n".join(f"bash {LAUNCHER} {shlex.join(run.arguments)}" for run in left)
    return f"""#!/usr/bin/env bash
{asked}
#SBATCH --array=0-{len(left) - 1}
# Submit it from the clone. When all are done, the reproduce command writes the table.
: "${{SLURM_ARRAY_TASK_ID:?submit this with sbatch}}"
eval "$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" <<'END'
{lines}
END
)"
"""
