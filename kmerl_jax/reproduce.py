"""The paper's tables and figures with our numbers: plans the runs, trains what is missing, scores, and writes a page.

    python -m kmerl_jax.reproduce --table=1 --recipe=demo
    python -m kmerl_jax.reproduce --table=6,fig6 --recipe=mimic --store=data/ptb_xl,data/cpsc2018,data/csn
    python -m kmerl_jax.reproduce --table=2a,2b,2c --recipe=mimic --slurm > array.sbatch

With the demo's recipe it is a rehearsal on simulated ECGs, and says so. A run that is done is not repeated, nor for
another table; the same command again goes on where it was. The rows of the paper's tables share normalisation,
treatment of duplicates, optimiser, schedule and records seen, but those called "as published"; what a row changes is
listed in kmerl_jax/reproduction/tables.py. Two tables are ours: "ours" changes what the paper leaves open, and "rates"
is K-MERL and MERL with a third and three times the recipe's learning rate, scored on validation records.
"""

import json
import shlex
import sys
from pathlib import Path

from absl import flags

from kmerl_jax import __version__, command
from kmerl_jax.reproduction.table import Table
from kmerl_jax.reproduction.tables import EVALUATED, TABLES

_TABLE = flags.DEFINE_list("table", None, f"One or more of {', '.join(TABLES)}.", required=True)
_ROWS = flags.DEFINE_string(
    "rows", None, "Only the first row, and those whose label this regular expression finds: 'ViT', 'zero|masked'."
)
_RECIPE = flags.DEFINE_enum("recipe", "demo", tuple(EVALUATED), "What is pretrained on.")
_PRETRAINING = flags.DEFINE_string("pretraining_store", None, "Store to pretrain on. Default the recipe's.")
_STORE = flags.DEFINE_list("store", None, "Stores to be scored on. Default the one that is pretrained on.")
_LABELS = flags.DEFINE_list(
    "labels",
    None,
    f"Labels to be scored by. Default: {'; '.join(f'of {recipe} {names}' for recipe, names in EVALUATED.items())}.",
)
_SPLITS = flags.DEFINE_string("splits", None, "A clone of MERL's repository: its published splits and labels are used.")
_PROMPTS = flags.DEFINE_string("prompts", None, "JSON file, class code to prompt (MERL's CKEPE), for figure 8.")
_SEEDS = flags.DEFINE_integer("seeds", None, "Of pretraining. Default 1; of table 6, 3.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", None, "Shorter runs: so many steps each.", lower_bound=1)
_EPOCHS = flags.DEFINE_integer(
    "supervised_epochs", None, "Of table 1's supervised row. Default 20; of demo 6, as in pretraining.", lower_bound=1
)
_RUNS = flags.DEFINE_string("runs", "runs/reproduce", "Folder of the runs.")
_OUT = flags.DEFINE_string("out", None, "Folder of the pages. Default RUNS/tables/RECIPE.")
_BESIDE = flags.DEFINE_list("beside", None, "fig6: JSON files of other recipes' pages, drawn beside it.")
_SLURM = flags.DEFINE_boolean("slurm", False, "Only print the runs that are missing, as a Slurm array.")
_DRY_RUN = flags.DEFINE_boolean(
    "dry_run", False, "Only say which runs are needed, which of them are done, and what each changes."
)

log = command.log


def main() -> int:
    """Plans, trains, scores and writes; the exit status is 1 if a run failed."""
    from kmerl_jax.reproduction import runs

    tables = asked_tables()
    root = Path(_RUNS.value)
    planned = runs.needed(tables.values(), _RECIPE.value, common(), _SEEDS.value, root)
    plan = _SLURM.value or _DRY_RUN.value
    if _SLURM.value and _DRY_RUN.value:
        raise ValueError("--slurm and --dry_run are two ways to say what is missing: give one")
    if _STORE.value or not plan:  # a plan needs nothing to be scored on
        check_scoring(tables, planned[0].store)
    if not plan:
        check_training(planned, root)
    if _SLURM.value:
        print(runs.slurm(planned), end="")
        return 0
    if _DRY_RUN.value:
        for run in planned:
            own = ", ".join(f"{name}={value}" for name, value in run.changes if (name, value) not in common().items())
            log.info(f"{'done   ' if run.done else 'missing'} {run.folder}  {own}".rstrip())
        return 0
    failed, whole = runs.train(planned), []
    for name, table in tables.items():
        page, complete = write(name, table, root, failed)
        log.info(f"page: {page}")
        whole.append(complete)
    return 0 if all(whole) else 1


def asked_tables() -> dict[str, Table]:
    """The tables that the flags name, with the rows that they name.

    Raises:
        ValueError: an unknown table, or one without such rows.
    """
    for name in _TABLE.value or [""]:
        if name not in TABLES:
            raise ValueError(f"--table: unknown {name!r}; there are {', '.join(TABLES)}")
    tables = {name: TABLES[name] for name in _TABLE.value}
    return {name: table.only(_ROWS.value) for name, table in tables.items()} if _ROWS.value else tables


def common() -> dict[str, object]:
    """What the flags change in the config of every run; of the scores at its end the tables need nothing."""
    changes: dict[str, object] = {"evaluation.lead_sets": ("II",), "evaluation.probe_records": 50}
    if _PRETRAINING.value:
        changes["data.store"] = _PRETRAINING.value
    if _STEPS.value:
        changes["train.steps"] = _STEPS.value
    return changes


def check_training(planned: list, root: Path) -> None:
    """Raises ValueError or FileNotFoundError for what would stop every run at its start.

    Args:
        planned: the runs.
        root: their folder.
    """
    from kmerl_jax.knowledge.mining import GRAMMAR

    if root.is_file():
        raise ValueError(f"--runs={root} is a file; it names a folder")
    store = planned[0].store
    makes_itself = _RECIPE.value == "demo" and not _PRETRAINING.value
    if not (makes_itself or store.exists() or all(run.done for run in planned)):
        raise FileNotFoundError(f"{store} not found, which the runs learn from; prepare makes it")
    for run in planned:
        reading = store / "knowledge" / run.knowledge
        if run.knowledge != GRAMMAR and not run.done and not reading.is_dir():
            raise FileNotFoundError(
                f"{reading} not found, a reading that {run.folder.name} learns from: python -m kmerl_jax.mine "
                f"--store={store} --extractor=llm --name={run.knowledge} makes it"
            )


def check_scoring(tables: dict[str, Table], pretraining: Path) -> None:
    """Raises ValueError or FileNotFoundError for what would stop the scoring, before hours of training.

    Args:
        tables: that are asked for.
        pretraining: the store that is scored on if no other is named; the demo's may not have been made yet.
    """
    from kmerl_jax.cohorts.population import FINDINGS
    from kmerl_jax.evaluation import zero_shot
    from kmerl_jax.evaluation.downstream import TASKS

    columns = [column for table in tables.values() for column in table.columns]
    rows = [row for table in tables.values() for row in table.rows]
    if any(row.prompts for row in rows) and not _PROMPTS.value:
        theirs = "" if _RECIPE.value == "demo" else "MERL's CKEPE_prompt.json, or "
        raise ValueError(
            f"figure 8 compares names with prompts: --prompts names {theirs}what python -m kmerl_jax.prompts wrote for "
            f"--labels={','.join(labels())}"
        )
    if _RECIPE.value == "mimic" and not _STORE.value:
        raise ValueError("--store names the stores to be scored on: data/ptb_xl,data/cpsc2018,data/csn")
    for path in (*(_STORE.value or ()), _SPLITS.value):
        if path and not Path(path).exists():
            raise FileNotFoundError(f"{path} not found")
    if _OUT.value and Path(_OUT.value).is_file():
        raise ValueError(f"--out={_OUT.value} is a file; it names a folder")
    for flag, read, what in (
        (_PROMPTS, any(row.prompts for row in rows), "only fig8 asks by prompts"),
        (_SPLITS, any(label in TASKS for label in labels()), "MERL has splits of PTB-XL, CPSC2018 and CSN alone"),
        (_EPOCHS, any(row.encoder == "supervised" for row in rows), "only table 1's supervised row has epochs"),
        (_BESIDE, any(table.curve for table in tables.values()), "only fig6 draws it"),
    ):
        if flag.value and not read:
            raise ValueError(f"--{flag.name} has no effect: {what}")
    beside()
    prompts = zero_shot.read_prompts(Path(_PROMPTS.value)) if _PROMPTS.value else None
    if not (_STORE.value or _PRETRAINING.value or pretraining.exists()) and _RECIPE.value == "demo":
        if labels() != ["demo"]:
            raise ValueError(f"--labels={','.join(labels())} need --store: what makes itself has the labels demo")
        if prompts:
            zero_shot.check_prompts(prompts, FINDINGS, "demo")
        return
    tasks = open_tasks([Path(path) for path in _STORE.value or [pretraining]])
    for _, task in tasks.values():
        if any(column.kind == "linear_probe" for column in columns):
            task.check_learnable()
        if any(column.statistic == "f1" for column in columns):
            task.check_decidable()
        if any(table.tuning for table in tables.values()):
            task.tuning()
        if prompts:
            zero_shot.texts(task, prompts)


def beside() -> list[dict]:
    """What the pages hold whose curves are drawn beside this one's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not the JSON of such a page.
    """
    pages = []
    for path in _BESIDE.value or ():
        try:
            pages.append(json.loads(Path(path).read_text("utf-8")))
        except ValueError as error:
            raise ValueError(f"--beside={path} is not JSON: {error}") from error
        rows = pages[-1].get("rows") if isinstance(pages[-1], dict) and pages[-1].get("table") == "fig6" else None
        if not isinstance(rows, list) or not pages[-1].get("about"):
            raise ValueError(f"--beside={path} is not the fig6.json that this command writes beside its page")
    return pages


def supervised_epochs() -> int:
    """Of what learns from labels alone. In the demo, pretraining sees each record some six times."""
    return _EPOCHS.value or (6 if _RECIPE.value == "demo" else 20)


def labels() -> list[str]:
    """What the runs are scored by."""
    return _LABELS.value or EVALUATED[_RECIPE.value].split(",")


def open_tasks(stores: list[Path]) -> dict:
    """Label -> store and task, of all that the runs are scored by."""
    from kmerl_jax.evaluation import experiment

    return experiment.open_tasks(stores, labels(), Path(_SPLITS.value) if _SPLITS.value else None, "raw")


def write(name: str, table: Table, root: Path, failed: dict) -> tuple[Path, bool]:
    """Scores the runs of a table and writes its page; says where it is, and whether all rows are there."""
    from kmerl_jax.evaluation import fine_tune, zero_shot
    from kmerl_jax.reproduction import page, runs, scores
    from kmerl_jax.training import sharding

    count = _SEEDS.value or table.seeds
    of = [(row, runs.of_row(row, _RECIPE.value, common(), count, root)) for row in table.rows]
    reasons = {row.label: failed[run] for row, each in of for run in each if run in failed}
    stores = [Path(path) for path in _STORE.value or [of[0][1][0].store]]
    tasks = open_tasks(stores)
    if table.tuning:
        tasks = {label: (store, task.tuning()) for label, (store, task) in tasks.items()}
    scorer = scores.Scorer(
        tasks,
        zero_shot.read_prompts(Path(_PROMPTS.value)) if _PROMPTS.value else None,
        3,
        fine_tune.Settings(epochs=supervised_epochs()),
        sharding.make_mesh(),
        lambda what: command.Progress(what, "ECGs"),
        of[0][1][0].folder,
    )
    found = score(scorer, table, of, reasons)
    for line in page.gains(table, found):
        log.info(line)
    learnt = [run for _, each in of for run in each if run.done]
    out = Path(_OUT.value) if _OUT.value else root / "tables" / _RECIPE.value
    origin = {
        "runs": {row.label: [str(run.folder) for run in each] for row, each in of},
        "stores": {label: store.checksum for label, (store, _) in tasks.items()},
        "version": __version__,
    }
    said = about(table, tasks, count, learnt)
    return page.write(out, name, table, found, said, reasons, origin, beside() if table.curve else ()), not reasons


def score(scorer, table: Table, of: list, reasons: dict[str, str]) -> dict:
    """Label -> what a row's runs say. Why there is nothing of a row goes to `reasons`: the others are worth a page."""
    from kmerl_jax.reproduction import page

    found = {}
    for row, each in of:
        if row.label in reasons:
            continue
        of_row: dict = {}
        try:
            for run in each:
                log.info(f"scoring {row.label}, {run.folder}")
                for where, one in scorer.of(row, run.folder, run.seed, table.columns).items():
                    of_row.setdefault(where, []).append(one)
            found[row.label] = page.gather(of_row)
        except (ValueError, OSError) as error:
            reasons[row.label] = str(error)
            log.warning(f"{row.label}: {error}")
    return found


def about(table: Table, tasks: dict, seeds: int, learnt: list) -> list[str]:
    """What the numbers are of, in a few lines.

    Args:
        table: its rows and columns.
        tasks: label -> store and task that is scored.
        seeds: of each row.
        learnt: the runs that are done.
    """
    cohorts = dict.fromkeys(run.cohort for run in learnt)
    real = not all("simulation" in store.manifest["about"] for store, _ in tasks.values())
    if "demo" in cohorts:
        where = "A rehearsal on simulated ECGs" + ", scored on others" * real
    else:
        where = f"Pretrained on {', '.join(cohorts) or 'nothing'}" + ", scored on simulated ECGs" * (not real)
    where += f" (recipe {_RECIPE.value})" * (_RECIPE.value not in cohorts)
    where += ", whose texts are made from labels: not zero-shot" * any(run.texts_from_labels for run in learnt)
    length = f"{_STEPS.value:,} steps" if _STEPS.value else "the recipe's own length"
    groups = any(column.group for column in table.columns)
    scored = [
        f"{label}: {len(task.scored.records):,} {task.split} records, {classes(task, groups)} classes"
        for label, (_, task) in tasks.items()
    ]
    supervised = any(row.encoder == "supervised" for row in table.rows)
    notes: dict[str, list[str]] = {}
    for label, (_, task) in tasks.items():
        for note in task.notes:
            notes.setdefault(note, []).append(label)
    return [
        f"{where}; runs of {length}, {seeds} seed{'s' * (seeds > 1)} a row",
        f"{'; '.join(scored)}. In brackets 95 % intervals over patients; ± is the deviation over seeds, which the "
        "intervals do not include. Where a bootstrap draw has no positive of a class, or no negative, its value on all "
        "records stands in",
        *(f"{', '.join(labels)}: {note}" for note, labels in notes.items()),
        *[f"Supervised: {supervised_epochs()} epochs of one draw of each share"] * supervised,
        f"`python -m kmerl_jax.reproduce {shlex.join(sys.argv[1:])}`",
    ]


def classes(task, groups: bool) -> str:
    """How many classes are in a mean, of how many: not those that no scored record has, or has not; nor, but for a
    table of groups, those that the training reports leave out on purpose."""
    labels = task.scored.labels
    defined = ((labels == 1).any(0) & (labels == 0).any(0)).tolist()
    held_out = () if groups else task.unseen
    count = sum(there and name not in held_out for name, there in zip(task.names, defined, strict=True))
    return f"{count} of {len(task.names)}" if count < len(task.names) else str(count)


if __name__ == "__main__":
    command.run(main, __doc__)
