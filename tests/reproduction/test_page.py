"""Pages of tables: every number in its place."""

import json

import numpy as np
import pytest

from kmerl_jax.reproduction import page
from kmerl_jax.reproduction.scores import Score
from kmerl_jax.reproduction.table import Measure, Row, Table

ONE, ALL = Measure("1 lead", "zero_shot", "I"), Measure("12 leads", "zero_shot")
TABLE = Table("losses", (Row("K-MERL"), Row("without the contrast"), Row("without the entity loss")), (ONE, ALL))


def score(value, spread=0.0, seeds=1):
    draws = value + spread * np.linspace(-1, 1, 101)
    return Score(np.full(seeds, value) + 0.01 * np.arange(seeds), draws)


def found(**rows):
    return {label: page.gather({where: [one] for where, one in row.items()}) for label, row in rows.items()}


FOUND = found(
    **{
        "K-MERL": {(ONE, "demo"): score(0.8, 0.1), (ALL, "demo"): score(0.9, 0.02)},
        "without the contrast": {(ONE, "demo"): score(0.7, 0.1), (ALL, "demo"): score(0.89, 0.02)},
    }
)


def test_ours_theirs_and_the_differences():
    text = page.markdown("2a", TABLE, FOUND, ["A rehearsal."], {"without the entity loss": "no space left"})
    assert text.startswith("# Table 2a: losses. A rehearsal.\n")
    assert "| K-MERL | 0.800 (0.705-0.895) | 0.900 (0.881-0.919) |" in text
    assert "| without the entity loss | - | - |" in text
    assert "| without the contrast | 0.692 | 0.740 |" in text  # the paper's
    assert "| without the contrast | +0.100 (+0.100 to +0.100) | +0.010 (+0.010 to +0.010) |" in text
    assert "- without the entity loss: no space left" in text


def test_what_is_to_be_known_of_the_papers_numbers_stands_above_them():
    table = Table("losses", TABLE.rows, TABLE.columns, published="They are of another cohort:")
    lines = page.markdown("2a", table, FOUND, ["x"], {}).splitlines()
    said = next(line for line in lines if line.startswith("Published"))
    assert said.endswith("the mean over its six). They are of another cohort:")


def test_seeds_have_a_deviation():
    runs = {(ALL, "demo"): [score(0.9), score(0.92), score(0.94)]}
    text = page.markdown("2a", TABLE, {"K-MERL": page.gather(runs)}, ["x"], {})
    assert "0.920 ± 0.020" in text


def test_the_papers_deviations_stand_beside_ours():
    column = Measure("zero-shot", "zero_shot")
    table = Table("over seeds", (Row("K-MERL"),), (column,), seeds=3)
    runs = {(column, "demo"): [score(0.9), score(0.92), score(0.94)]}
    text = page.markdown("6", table, {"K-MERL": page.gather(runs)}, ["x"], {})
    assert "| K-MERL | 0.765 ± 0.018 |" in text


def test_several_tasks_have_columns_of_their_own_and_a_mean():
    table = Table("by task", (Row("K-MERL"), Row("other")), (ALL,), by_task=True)
    rows = {"K-MERL": {(ALL, "a"): score(0.6), (ALL, "b"): score(0.8)}, "other": {(ALL, "a"): score(0.5)}}
    text = page.markdown("fig4", table, found(**rows), ["x"], {})
    assert "| macro AUROC | a: 12 leads | b: 12 leads | 12 leads |" in text
    assert "| K-MERL | 0.600 (0.600-0.600) | 0.800 (0.800-0.800) | 0.700 (0.700-0.700) |" in text
    assert "| K-MERL | - | - | 0.765 |" in text
    assert "# Figure 4: by task" in text


def test_the_headline_is_over_fewer_leads_than_twelve():
    columns = tuple(Measure(str(n), "zero_shot", f"first {n}") for n in (1, 2, 12))
    table = Table("adding", (Row("K-MERL"), Row("MERL")), columns, curve=True)
    rows = {
        label: {(column, "demo"): score(value, 0.01) for column, value in zip(columns, values, strict=True)}
        for label, values in {"K-MERL": (0.8, 0.9, 0.95), "MERL": (0.6, 0.8, 0.99)}.items()
    }
    (line, _) = page.gains(table, found(**rows))
    assert "Mean gain of K-MERL over MERL" in line
    assert "**+0.150** (+0.150 to +0.150)" in line
    assert page.gains(TABLE, FOUND) == []


def test_page_picture_and_json(tmp_path):
    written = page.write(
        tmp_path / "pages", "2a", TABLE, FOUND, ["A rehearsal."], {"without the entity loss": "x"}, {"stores": {}}
    )
    assert written == tmp_path / "pages" / "table_2a.md"
    assert (tmp_path / "pages" / "table_2a.png").read_bytes().startswith(b"\x89PNG")
    facts = json.loads((tmp_path / "pages" / "table_2a.json").read_text())
    assert [row["row"] for row in facts["rows"]] == ["K-MERL", "without the contrast", "without the entity loss"]
    first = facts["rows"][1]["scores"][0]
    assert (first["name"], first["task"], first["value"]) == ("1 lead", "demo", pytest.approx(0.7))
    means = [one for one in facts["rows"][1]["scores"] if one["task"] == "mean"]
    assert [one["paper"] for one in means] == [pytest.approx(0.6923), pytest.approx(0.7398)]
    assert first["first_row_less_this"] == [pytest.approx(0.1), pytest.approx([0.1, 0.1])]
    assert facts["stores"] == {}
    assert facts["failed"] == {"without the entity loss": "x"}


def test_nothing_was_found(tmp_path):
    written = page.write(tmp_path, "2a", TABLE, {}, ["x"], dict.fromkeys(["K-MERL"], "dead"), {})
    assert "- K-MERL: dead" in written.read_text()
    assert not (tmp_path / "table_2a.png").exists()


def test_a_curve_has_a_panel_for_each_data_and_kind(tmp_path, monkeypatch):
    first, last = Measure("1", "zero_shot", "first 1"), Measure("12", "zero_shot", "first 12")
    columns = first, last, Measure("probe, 12", "linear_probe", "first 12")
    table = Table("adding", (Row("K-MERL"), Row("MERL")), columns, curve=True)
    one = found(**{"K-MERL": {(column, "demo"): score(0.8) for column in columns}})
    page.write(tmp_path / "a", "fig6", table, one, ["Of a."], {}, {})
    beside = [json.loads((tmp_path / "a" / "fig6.json").read_text())]
    drawn = []
    draw = page.pictures.curves
    monkeypatch.setattr(page.pictures, "curves", lambda panels, title: drawn.append(panels) or draw(panels, title))
    page.write(tmp_path / "b", "fig6", table, one, ["Of b."], {}, {}, beside)
    (panels,) = drawn
    assert list(panels) == [f"{kind}\nOf {x}." for x in "ab" for kind in ("asked by name", "linear probe, 100 %")]
    assert [point[0] for point in panels["asked by name\nOf b."]["K-MERL"]] == [1, 12]
    assert (tmp_path / "b" / "fig6.png").exists()
