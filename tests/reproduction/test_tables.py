"""The tables: every row is a config that can be, and every number of the paper has its place."""

import pytest

from kmerl_jax.config import base
from kmerl_jax.reproduction import paper
from kmerl_jax.reproduction.tables import EVALUATED, TABLES
from kmerl_jax.training.methods import check
from tests.test_config import REPOSITORY, resolved

FORMS = "as published", "zero-filled", "leads masked"
ROWS = [(name, row) for name, table in TABLES.items() for row in table.rows]


@pytest.mark.parametrize(("name", "row"), ROWS, ids=lambda x: x if isinstance(x, str) else x.label)
def test_a_row_is_a_config_that_can_be(name, row):
    for recipe in EVALUATED:
        config = resolved(REPOSITORY / "configs" / f"{row.config}.py", recipe)
        before = config.to_json()
        config.update_from_flattened_dict(dict(row.changes))
        check(config)
        if recipe != "demo":  # some of its fields are as a row wants them already
            assert not row.changes or config.to_json() != before or name in ("7b", "7d", "7e")


def test_rows_and_columns_have_names_of_their_own():
    for table in TABLES.values():
        assert len({row.label for row in table.rows}) == len(table.rows)
        assert len({(column.kind, column.name) for column in table.columns}) == len(table.columns)


def test_some_rows_of_a_table_have_the_first_to_be_compared_with():
    labels = [row.label for row in TABLES["fig6"].only("zero|ViT").rows]
    assert labels == ["K-MERL", "MERL (ResNet), zero-filled", *(f"MERL (ViT), {form}" for form in FORMS)]


@pytest.mark.parametrize("name", TABLES)
def test_the_papers_numbers_have_their_place(name):
    table = TABLES[name]
    columns = {column.name for column in table.columns}
    for row, values in paper.printed(name).items():
        assert row in {one.label for one in table.rows}, row
        for (column, task), known in values.items():
            assert column in columns
            assert 0.4 < known.value < 0.95
            assert known.deviation is None or 0 < known.deviation < 0.03
            assert table.by_task or task == paper.MEAN


def test_what_the_paper_prints():
    assert paper.printed("2a")["without the entity loss"] == {
        ("1 lead", "mean"): pytest.approx((0.6544, None)),
        ("12 leads", "mean"): pytest.approx((0.6895, None)),
    }
    assert paper.printed("1")["random (ResNet), as published"]["10 %", "csn"].value == pytest.approx(0.6317)
    assert paper.printed("1")["K-MERL"]["1 %", "ptb_xl.rhythm"].value == pytest.approx(0.6372)
    assert paper.printed("1")["SimCLR (ViT)"]["100 %", "mean"].value == pytest.approx(0.72818, abs=1e-4)
    assert paper.printed("6")["MERL (ViT), as published"]["zero-shot", "mean"] == pytest.approx((0.637, 0.02))
    assert paper.printed("fig5") == {}


def test_all_methods_of_a_table_share_what_is_not_the_methods():
    """But for "as published": normalisation, duplicates, optimiser, schedule, records seen, the text that is read."""
    for name in ("1", "6", "fig4", "fig5", "fig6", "fig8"):
        for recipe in EVALUATED:
            shared = []
            for row in TABLES[name].rows:
                config = resolved(REPOSITORY / "configs" / f"{row.config}.py", recipe)
                config.update_from_flattened_dict(dict(row.changes))
                if "as published" not in row.label:
                    if config.method == "simclr":
                        config.text = base("any", recipe).text
                    about = config.data, config.text, config.optimizer, config.train, config.loss, config.seed
                    shared.append([str(part) for part in about])
            assert all(one == shared[0] for one in shared), (name, recipe)
