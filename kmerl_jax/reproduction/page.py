"""A table of the paper with our numbers: Markdown, JSON and a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from kmerl_jax.evaluation import files, pictures
from kmerl_jax.evaluation.pictures import number
from kmerl_jax.reproduction import scores
from kmerl_jax.reproduction.paper import MEAN, Printed, printed
from kmerl_jax.reproduction.scores import Score
from kmerl_jax.reproduction.table import Measure, Table

Found = Mapping[str, Mapping[tuple[Measure, str], Score]]
"""Label of a row -> column and label of a task, or `MEAN` -> score."""


def gather(row: Mapping[tuple[Measure, str], Sequence[Score]]) -> dict[tuple[Measure, str], Score]:
    """Scores of a row's runs, put together over seeds and, under `MEAN`, over tasks.

    Args:
        row: column and label of a task -> score of each run.
    """
    whole = {where: scores.over_seeds(each) for where, each in row.items()}
    for column in dict.fromkeys(column for column, _ in whole):
        whole[column, MEAN] = scores.mean([score for (one, _), score in whole.items() if one == column])
    return whole


def markdown(name: str, table: Table, found: Found, about: Sequence[str], failed: Mapping[str, str]) -> str:
    """The page.

    Args:
        name: of the table.
        table: what it is of.
        found: what was found of each row.
        about: lines that say what the numbers are of.
        failed: label of a row -> why there is nothing of it.
    """
    first, wheres = table.rows[0].label, _wheres(table, found)
    others = [row for row in table.rows[1:] if row.label in found]
    lines = [f"# {_title(name, table)}", "", *[f"{line}  " for line in about], ""]
    lines += _table(
        ["macro AUROC", *(_head(where) for where in wheres)],
        [[row.label, *(_cell(found.get(row.label, {}).get(where)) for where in wheres)] for row in table.rows],
    )
    theirs = [[row.label, *(_theirs(printed(name), row.label, where) for where in wheres)] for row in table.rows]
    if any(cell != "-" for _, *cells in theirs for cell in cells):
        lines += ["", "In the paper, on its own data (where our tasks are others, the mean over its six):", ""]
        lines += _table(["", *(_head(where) for where in wheres)], theirs)
    if first in found and others:
        lines += ["", f"{first} less each of the others, 95 % intervals paired over patients:", ""]
        rows = [[row.label, *(_less(found, first, row.label, where) for where in wheres)] for row in others]
        lines += _table(["", *(_head(where) for where in wheres)], rows)
    if said := gains(table, found):
        lines += ["", *said]
    if failed:
        lines += ["", "Not there:", "", *(f"- {label}: {why}" for label, why in failed.items())]
    return "\n".join(lines) + "\n"


def gains(table: Table, found: Found) -> list[str]:
    """The paper's headline: what the first row gains over each other on average, with fewer leads than all 12."""
    partial = [column for column in table.columns if column.kind == "zero_shot" and 1 <= _count(column) < 12]
    first = found.get(table.rows[0].label, {})
    if len(partial) < 2 or not first:
        return []
    lines = []
    for row in table.rows[1:]:
        other = found.get(row.label, {})
        if not all((column, MEAN) in other for column in partial):
            continue
        one, two = (scores.mean([each[column, MEAN] for column in partial]) for each in (first, other))
        gain, (low, high) = scores.less(one, two)
        lines.append(
            f"Mean gain of {table.rows[0].label} over {row.label} in zero-shot with 1 to {len(partial)} leads: "
            f"**{gain:+.3f}** ({low:+.3f} to {high:+.3f})."
        )
    if lines:
        lines.append("The paper's headline is +0.16 over MERL, which is zero-filled there.")
    return [f"- {line}" for line in lines]


def _count(column: Measure) -> int:
    """How many leads a column of the paper's order of leads has; 0 for other sets."""
    return int(column.leads.removeprefix("first ")) if column.leads.startswith("first ") else 0


def write(out: Path, name: str, table: Table, found: Found, about: Sequence[str], failed: Mapping[str, str]) -> Path:
    """Writes the page, its picture and the JSON behind both, and returns where the page is."""
    out.mkdir(parents=True, exist_ok=True)
    stem = f"table_{name}" if not name.startswith("fig") else name
    if found:
        files.write_picture(out / f"{stem}.png", picture(name, table, found, about[0]))
    files.write_json(out / f"{stem}.json", _facts(name, table, found, about, failed))
    files.write_text(out / f"{stem}.md", markdown(name, table, found, about, failed))
    return out / f"{stem}.md"


def picture(name: str, table: Table, found: Found, about: str):
    """Bars, or a curve over the columns."""
    shown = {row.label: found[row.label] for row in table.rows if row.label in found}
    title = f"{_title(name, table)}\n{about}"
    if table.curve:
        kinds = list(dict.fromkeys(column.kind for column in table.columns))
        return pictures.curves({kind.replace("_", " "): _curve(table, shown, kind) for kind in kinds}, title)
    wheres = _wheres(table, found)
    groups = {
        _head(where): {label: _bar(row[where]) for label, row in shown.items() if where in row} for where in wheres
    }
    known = printed(name)
    theirs = {
        label: {
            _head(where): values[where[0].name, where[1]] for where in wheres if (where[0].name, where[1]) in values
        }
        for label, values in known.items()
    }
    return pictures.bars(groups, {label: values for label, values in theirs.items() if values}, title)


def _curve(table: Table, shown: Found, kind: str) -> dict[str, list]:
    columns = [column for column in table.columns if column.kind == kind]
    return {
        label: [(n, column.name, _bar(row[column, MEAN])) for n, column in enumerate(columns, 1)]
        for label, row in shown.items()
    }


def _bar(score: Score) -> dict:
    return {"macro_auroc": score.value, "macro_ci95": score.ci95}


def _title(name: str, table: Table) -> str:
    return f"{'Figure ' + name[3:] if name.startswith('fig') else 'Table ' + name}: {table.title}"


def _wheres(table: Table, found: Found) -> list[tuple[Measure, str]]:
    """Columns as they are printed."""
    tasks = list(dict.fromkeys(task for row in found.values() for _, task in row if task != MEAN))
    if not table.by_task or len(tasks) == 1:
        return [(column, MEAN) for column in table.columns]
    return [(column, task) for task in (*tasks, MEAN) for column in table.columns]


def _head(where: tuple[Measure, str]) -> str:
    column, task = where
    return column.name if task == MEAN else f"{task}: {column.name}"


def _theirs(known: Printed, label: str, where: tuple[Measure, str]) -> str:
    return number(known.get(label, {}).get((where[0].name, where[1])))


def _cell(score: Score | None) -> str:
    if score is None:
        return "-"
    low, high = score.ci95
    spread = f" ± {score.deviation:.3f}" if score.deviation is not None else ""
    return f"{number(score.value)}{spread} ({number(low)}-{number(high)})"


def _less(found: Found, first: str, other: str, where: tuple[Measure, str]) -> str:
    one, two = found[first].get(where), found[other].get(where)
    if one is None or two is None:
        return "-"
    value, (low, high) = scores.less(one, two)
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def _facts(name: str, table: Table, found: Found, about: Sequence[str], failed: Mapping[str, str]) -> dict:
    rows = []
    for row in table.rows:
        cells = [
            dataclasses.asdict(column)
            | {"task": task, "seeds": score.seeds.tolist(), "value": score.value, "ci95": score.ci95}
            | {"paper": printed(name).get(row.label, {}).get((column.name, task))}
            for (column, task), score in found.get(row.label, {}).items()
        ]
        rows.append({"row": row.label, "config": row.config, "changes": dict(row.changes), "scores": cells})
    return {"table": name, "title": table.title, "about": list(about), "rows": rows, "failed": dict(failed)}
