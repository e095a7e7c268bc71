"""What all cohorts share: words as MERL counts them, splits, tables."""

import pytest

from kmerl_jax.cohorts import cohort
from kmerl_jax.cohorts.cohort import Cohort, below, gather, join_statements, row, split_by_patient


@pytest.mark.parametrize(
    ("cells", "count"),
    [
        (["Sinus rhythm", "Normal ECG"], 4),
        (["Sinus rhythm.", "Normal ECG."], 4),
        (["*** Poor data quality ***"], 3),  # the frame of the whole report does not count
        (["*** Poor data quality ***", "Sinus rhythm"], 6),  # one inside it does
        (["--- Technically unsatisfactory tracing ---"], 3),
        (["--- Possible measurement error ---."], 4),  # the full stop keeps the frame
        (["Sinus rhythm", "."], 3),
        (["Sinus rhythm .", "LVH"], 4),
        (["LVH ", "LVH"], 3),
        (["Sinus rhythm", " "], 2),
        (["====", "LVH"], 2),
        (["Abnormal EKG"], 2),
        (["***"], 0),
        ([], 0),
    ],
)
def test_words_are_counted_as_merl_counts_them(cells, count):
    assert row("1", "1", "a", "train", cells, [])["words"] == count


def test_a_report_of_its_own_is_kept_and_counted():
    one = row("1", "1", "a", "train", ["normal ECG"], ["NORM"], "sinusrhythmus normales ekg ohne befund")
    assert (one["report"], one["words"]) == ("sinusrhythmus normales ekg ohne befund", 5)
    assert row("1", "1", "a", "train", ["Sinus rhythm.", "LVH"], [])["report"] == join_statements(
        ["Sinus rhythm", "LVH"]
    )


def test_splits_depend_on_the_patient_alone():
    patients = [str(number) for number in range(20_000)]
    splits = [split_by_patient(patient, 0.1, 0.2) for patient in patients]
    assert splits == [split_by_patient(patient, 0.1, 0.2) for patient in patients]
    for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert splits.count(split) / len(splits) == pytest.approx(share, abs=0.01)
    # Written down: a changed hash would move patients of stores that were made before.
    assert [split_by_patient(patient, 0.1, 0.2) for patient in ("10000032", "JS00001", "A0001", "7")] == [
        "val",
        "train",
        "test",
        "train",
    ]


def test_rows_are_gathered_in_batches_and_in_order(monkeypatch):
    monkeypatch.setattr(cohort, "_BATCH", 3)
    table = gather(row(str(n), "p", "a", "train", [f"said {n}"], ["x"] * n) for n in range(8))
    assert table["record"].to_pylist() == [str(n) for n in range(8)]
    assert [len(batch) for batch in cohort.batches(table)] == [3, 3, 2]
    assert [line for batch in cohort.batches(table) for line in batch] == table.to_pylist()
    assert table["labels"].to_pylist()[3] == ["x"] * 3


def test_an_empty_cohort_says_what_was_left_out():
    with pytest.raises(ValueError, match=r"no recording found \(3 x header without #Dx\)"):
        Cohort("csn", gather([]), {}, "", left_out={"header without #Dx": 3})
    with pytest.raises(ValueError, match="expected"):
        Cohort("csn", gather([]).drop_columns("words"), {}, "")


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/1", "files/../../1"])
def test_no_table_names_a_file_elsewhere(path, tmp_path):
    assert below(tmp_path, "files/p1/s2/2") == tmp_path / "files" / "p1" / "s2" / "2"
    with pytest.raises(ValueError, match="which is not below it"):
        below(tmp_path, path)
