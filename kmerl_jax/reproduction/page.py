"""A table of the paper with our numbers: Markdown, JSON and a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from kmerl_jax.evaluation import files, linear_probe, pictures
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
    lines = [f"# {_title(name, table)}. {about[0]}", "", *[f"{line}  " for line in about[1:]], ""]
    heads = [_head(column.name, task) for column, task in wheres]
    lines += _table(
        ["macro AUROC" if _auroc(table) else "macro", *heads],
        [[row.label, *(_cell(found.get(row.label, {}).get(where)) for where in wheres)] for row in table.rows],
    )
    theirs = [[row.label, *(_theirs(printed(name), row.label, where) for where in wheres)] for row in table.rows]
    if any(cell != "-" for _, *cells in theirs for cell in cells):
        where = "Published, on the paper's own data (where our tasks are others, the mean over its six)"
        lines += ["", where + (f". {table.published}" if table.published else ":"), ""]
        lines += _table(["", *heads], theirs)
    if first in found and others:
        lines += ["", f"{first} less each of the others, 95 % intervals paired over patients:", ""]
        rows = [[row.label, *(_less(found, first, row.label, where) for where in wheres)] for row in others]
        lines += _table(["", *heads], rows)
    if said := gains(table, found):
        lines += ["", *said]
    if failed:
        lines += ["", "Not there:", "", *(f"- {label}: {why}" for label, why in failed.items())]
    return "\n".join(lines) + "\n"


def gains(table: Table, found: Found) -> list[str]:
    """The paper's headline in words: what the first row gains over each other on average over partial leads."""
    first, partial = table.rows[0].label, len(_partial(table))
    lines = [
        f"Mean gain of {first} over {label}, asked by name with 1 to {partial} leads: **{gain:+.3f}** "
        f"({low:+.3f} to {high:+.3f})."
        for label, (gain, (low, high)) in _gains(table, found).items()
    ]
    if lines:
        lines.append("The paper's headline is +0.16 over MERL, which is zero-filled there.")
    return [f"- {line}" for line in lines]


def _gains(table: Table, found: Found) -> dict[str, tuple[float, list[float]]]:
    """Label of each other row -> the difference of the means over partial leads, and its interval."""
    partial = _partial(table)
    first = found.get(table.rows[0].label, {})
    if len(partial) < 2 or not first:
        return {}
    gained = {}
    for row in table.rows[1:]:
        other = found.get(row.label, {})
        if all((column, MEAN) in other for column in partial):
            one, two = (scores.mean([each[column, MEAN] for column in partial]) for each in (first, other))
            gained[row.label] = scores.less(one, two)
    return gained


def _partial(table: Table) -> list[Measure]:
    """Columns of zero-shot with fewer leads than all 12, in the paper's order."""
    return [column for column in table.columns if column.kind == "zero_shot" and 1 <= _count(column.leads) < 12]


def _count(leads: str) -> int:
    """How many leads of the paper's order a set is; 0 of other sets."""
    return int(leads.removeprefix("first ")) if leads.startswith("first ") else 0


def write(
    out: Path,
    name: str,
    table: Table,
    found: Found,
    about: Sequence[str],
    failed: Mapping[str, str],
    origin: Mapping[str, object],
    beside: Sequence[dict] = (),
) -> Path:
    """Writes the page, its picture and the JSON behind both.

    Args:
        out: the folder.
        name: of the table.
        table: what it is of.
        found: what was found of each row.
        about: lines that say what the numbers are of.
        failed: label of a row -> why there is nothing of it.
        origin: what else the JSON keeps: the runs, the stores.
        beside: what such JSON files hold, of other data: panels of their own in the picture of a curve.

    Returns:
        Where the page is.
    """
    out.mkdir(parents=True, exist_ok=True)
    stem = name if name.startswith("fig") else f"table_{name}"
    facts = _facts(name, table, found, about, failed) | dict(origin)
    files.write_json(out / f"{stem}.json", facts)
    files.write_text(out / f"{stem}.md", markdown(name, table, found, about, failed))
    if found:
        files.write_picture(
            out / f"{stem}.png",
            _curves(_title(name, table), [*beside, facts]) if table.curve else _bars(name, table, facts),
        )
    return out / f"{stem}.md"


def _bars(name: str, table: Table, facts: dict):
    """One group of bars a column."""
    groups: dict[str, dict[str, dict]] = {}
    theirs: dict[str, dict[str, float]] = {}
    several = table.by_task and len({score["task"] for row in facts["rows"] for score in row["scores"]}) > 2
    for row in facts["rows"]:
        for score in row["scores"]:
            if score["task"] == MEAN or several:
                head = _head(score["name"], score["task"])
                groups.setdefault(head, {})[row["row"]] = _bar(score)
                if score["paper"] is not None:
                    theirs.setdefault(row["row"], {})[head] = score["paper"]
    measure = "macro AUROC" if _auroc(table) else "macro"
    return pictures.bars(groups, theirs, "\n".join([_title(name, table), *facts["about"][0].split("; ")]), measure)


def _curves(title: str, all_facts: Sequence[dict]):
    """A panel for each kind of score, of each of several data."""
    panels = {}
    for facts in all_facts:
        kinds = dict.fromkeys((score["kind"], score["ratio"]) for row in facts["rows"] for score in row["scores"])
        for kind in kinds:
            each = {row["row"]: [one for one in row["scores"] if (one["kind"], one["ratio"]) == kind]
                    for row in facts["rows"]}  # fmt: skip
            way = f"linear probe, {linear_probe.share(kind[1])}" if kind[0] == "linear_probe" else "asked by name"
            panels["\n".join([way, *facts["about"][0].split("; ")])] = {
                label: [(_count(one["leads"]), one["name"], _bar(one)) for one in scores if one["task"] == MEAN]
                for label, scores in each.items()
                if scores
            }
    return pictures.curves(panels, title)


def _bar(score: dict) -> dict:
    return {"macro_auroc": score["value"], "macro_ci95": score["ci95"]}


def _auroc(table: Table) -> bool:
    return all(column.statistic == "auroc" for column in table.columns)


def _title(name: str, table: Table) -> str:
    if name.startswith("fig"):
        return f"Figure {name[3:]}: {table.title}"
    return f"Table {name}: {table.title}" if name[0].isdigit() else table.title.capitalize()  # some are ours


def _wheres(table: Table, found: Found) -> list[tuple[Measure, str]]:
    """Columns as they are printed."""
    tasks = list(dict.fromkeys(task for row in found.values() for _, task in row if task != MEAN))
    if not table.by_task or len(tasks) == 1:
        return [(column, MEAN) for column in table.columns]
    return [(column, task) for task in (*tasks, MEAN) for column in table.columns]


def _head(column: str, task: str) -> str:
    return column if task == MEAN else f"{task}: {column}"


def _theirs(known: Printed, label: str, where: tuple[Measure, str]) -> str:
    one = known.get(label, {}).get((where[0].name, where[1]))
    return f"{number(one.value)}{_spread(one.deviation)}" if one else "-"


def _cell(score: Score | None) -> str:
    if score is None:
        return "-"
    low, high = score.ci95
    return f"{number(score.value)}{_spread(score.deviation)} ({number(low)}-{number(high)})"


def _spread(deviation: float | None) -> str:
    return "" if deviation is None else f" ± {deviation:.3f}"


def _less(found: Found, first: str, other: str, where: tuple[Measure, str]) -> str:
    one, two = found[first].get(where), found[other].get(where)
    if one is None or two is None:
        return "-"
    value, (low, high) = scores.less(one, two)
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]


def _paper(known: Printed, label: str, where: tuple[str, str]) -> dict:
    value, deviation = known.get(label, {}).get(where, (None, None))
    return {"paper": value, "paper_deviation": deviation}


def _facts(name: str, table: Table, found: Found, about: Sequence[str], failed: Mapping[str, str]) -> dict:
    rows = []
    first, gained = found.get(table.rows[0].label, {}), _gains(table, found)
    for row in table.rows:
        cells = [
            dataclasses.asdict(column)
            | {"task": task, "seeds": score.seeds.tolist(), "value": score.value, "ci95": score.ci95}
            | _paper(printed(name), row.label, (column.name, task))
            | {"first_row_less_this": scores.less(first[column, task], score) if (column, task) in first else None}
            for (column, task), score in found.get(row.label, {}).items()
        ]
        rows.append(
            {
                "row": row.label,
                "config": row.config,
                "changes": dict(row.changes),
                "scaled": dict(row.scaled),
                "gain_of_first_row": gained.get(row.label),
                "scores": cells,
            }
        )
    return {"table": name, "title": table.title, "about": list(about), "rows": rows, "failed": dict(failed)}
