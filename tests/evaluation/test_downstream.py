import ast
import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kmerl_jax.evaluation import classes, downstream, splits
from tests.evaluation.conftest import CODES, WORDS

SIZES = downstream.SIZES


def published(real_data: Path, task: str, split: str):
    return splits.read(real_data / "merl_splits", task, split, tuple(classes.load()[task]))


@pytest.mark.parametrize("task", SIZES)
def test_published_splits_have_the_papers_sizes(task, real_data):
    parts = [published(real_data, task, split) for split in ("train", "val", "test")]
    assert tuple(len(records) for records, _ in parts) == SIZES[task]
    everything = [record for records, _ in parts for record in records]
    assert len(set(everything)) == len(everything)


def test_clean_labels_of_csn_differ_in_seven_classes(real_data):
    """As counted in the published test file: classes whose acronym is a part of another's."""
    codes = list(classes.load()["csn"])
    (_, as_published), (_, clean) = (published(real_data, task, "test") for task in ("csn", "csn_clean"))
    spurious = {
        code: int(((as_published != clean)[:, n]).sum())
        for n, code in enumerate(codes)
        if (as_published != clean)[:, n].any()
    }
    assert spurious == {"ST": 251, "AF": 297, "SA": 141, "AVB": 130, "VB": 169, "CR": 38, "2AVB": 1}
    assert (clean.sum(0) > 0).sum() == 37
    assert not ((clean == 1) & (as_published == 0)).any()


def test_labels_made_of_diagnoses_are_the_published_ones(real_data):
    for split in ("train", "val", "test"):
        file = real_data / "merl_splits" / "chapman" / f"chapman_{split}.csv"
        said = [cell.split(",") for cell in pd.read_csv(file)["diagnose"]]
        for task in ("csn", "csn_clean"):
            np.testing.assert_array_equal(downstream.label(task, said), published(real_data, task, split)[1])


@pytest.mark.parametrize("task", [task for task in SIZES if task.startswith("ptb_xl")])
def test_ptb_xl_is_rebuilt_from_its_own_table(task, real_data):
    """The same labels, and the same records, as far as the published files know the record at all."""
    table = pd.read_csv(real_data / "ptb_xl" / "ptbxl_database.csv")
    said = {
        str(record): list(ast.literal_eval(cell)) for record, cell in zip(table.ecg_id, table.scp_codes, strict=True)
    }
    known = {record for other in SIZES if other.startswith("ptb_xl") for record in every(real_data, other)}
    checked = 0
    for split, folds in (("train", range(1, 9)), ("val", [9]), ("test", [10])):
        records, labels = published(real_data, task, split)
        place = {record: n for n, record in enumerate(records)}
        own = [str(record) for record in table.ecg_id[table.strat_fold.isin(folds)] if str(record) in known]
        rebuilt = downstream.label(task, [said[record] for record in own])
        kept = [record for record, row in zip(own, rebuilt, strict=True) if row.any()]
        assert set(kept) == set(own) & set(records)
        expected = [labels[place[record]] for record in kept]
        np.testing.assert_array_equal(rebuilt[rebuilt.any(1)], np.reshape(expected, (len(kept), rebuilt.shape[1])))
        checked += len(kept)
    assert checked > 600


def every(real_data, task):
    return [record for split in ("train", "val", "test") for record in published(real_data, task, split)[0]]


def store_of(cohort, table, names):
    manifest = {"cohort": cohort, "labels_title": "codes in headers", "about": {}}
    return SimpleNamespace(path=Path("store"), manifest=manifest, table=pd.DataFrame(table), label_names=names)


def test_a_class_whose_acronym_is_part_of_anothers():
    """MERL's labels of a record that says STTC alone have ST too; a code that the table does not know is none."""
    said = [["STTC"], ["ST", "63593006"], ["SR"], ["WPW"]]
    codes = list(classes.load()["csn"])
    column = codes.index("ST")
    assert list(downstream.label("csn", said)[:, column]) == [1, 1, 0, 0]
    assert list(downstream.label("csn_clean", said)[:, column]) == [0, 1, 0, 0]
    for task in ("csn", "csn_clean"):  # its acronym is its name too
        assert list(downstream.label(task, said)[:, codes.index("WPW")]) == [0, 0, 0, 1]


def test_a_store_without_published_files():
    """Records with none of the classes are left out, splits are the store's, and the task says so."""
    table = {
        "record": ["a", "b", "b", "c", "d"],
        "patient": ["a", "b", "b", "c", "d"],
        "split": ["train", "test", "test", "val", "test"],
        "labels": [["SR"], ["AFIB", "SR"], ["AFIB", "SR"], ["SB"], ["SB"]],
    }
    words = {code: f"the {code}" for code in classes.load()["csn"]}
    task = downstream.make(store_of("csn", table, words | {"SB": "Sinus Bradycardia"}), "csn_clean")
    assert {split: list(part.records) for split, part in task.parts.items()} == {
        "train": ["a"],
        "val": [],
        "test": ["b"],
    }
    assert list(task.parts["test"].rows) == [1, 2]
    assert [task.codes[n] for n in np.flatnonzero(task.scored.labels[0])] == ["SR", "AFIB"]
    assert task.names[task.codes.index("SR")] == "the SR"
    assert "not MERL's" in task.notes[0]
    assert task.notes[1] == "1 / 0 / 1 records train / validate / are tested; in the paper 16,546 / 1,860 / 4,620"
    assert "mended" in task.notes[2]
    assert downstream.count(task.parts) == "1 / 0 / 1"


def test_published_files_decide_records_labels_and_order(tmp_path):
    folder = tmp_path / "merl" / "finetune" / "data_split" / "icbeb"
    folder.mkdir(parents=True)
    codes = list(classes.load()["cpsc2018"])
    for split, records in (("train", ["A3"]), ("val", []), ("test", ["A2", "A1", "A9"])):
        with open(folder / f"icbeb_{split}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["patient_id", "ecg_id", "filename", *codes])
            for n, record in enumerate(records):
                writer.writerow([n, n, record, *(int(code == codes[n]) for code in codes)])
    table = {"record": ["A1", "A2", "A3"], "patient": ["A1", "A2", "A3"], "split": ["train"] * 3, "labels": [[]] * 3}
    store = store_of("cpsc2018", table, {code: code.lower() for code in codes})
    task = downstream.make(store, "cpsc2018", tmp_path / "merl")
    assert list(task.scored.records) == ["A2", "A1"]
    assert [int(row.argmax()) for row in task.scored.labels] == [0, 1]
    assert task.notes[0] == "1 of 3 published test records are not in the store"
    assert task.notes[1].startswith("1 / 0 / 2 records")
    assert "as MERL published them" in task.title
    (folder / "icbeb_test.csv").unlink()
    with pytest.raises(FileNotFoundError, match="--splits names a clone of MERL's repository"):
        downstream.make(store, "cpsc2018", tmp_path / "merl")
    (folder / "icbeb_test.csv").write_text("filename,AFIB\nA1,1\n")
    with pytest.raises(ValueError, match="has no column 'NORM'"):
        downstream.make(store, "cpsc2018", tmp_path / "merl")
    header = ",".join(["filename", *codes])
    (folder / "icbeb_test.csv").write_text(f"{header}\nA1{',0' * 9}\nA1{',0' * 9}\n")
    with pytest.raises(ValueError, match="names record A1 twice"):
        downstream.make(store, "cpsc2018", tmp_path / "merl")


def test_a_store_of_another_cohort_is_refused(rhythm_store):
    with pytest.raises(ValueError, match="is of ptb_xl, and --labels=csn are labels of csn"):
        downstream.make(rhythm_store, "csn")


def test_names_that_were_mended_are_listed(rhythm_store):
    raw, readable = (downstream.make(rhythm_store, "ptb_xl.rhythm", None, how) for how in ("raw", "readable"))
    assert raw.names == tuple(WORDS[code] for code in raw.codes)
    mended = [note for note in readable.notes if "is asked as" in note]
    assert len(mended) == 2
    assert set(readable.notes) - set(mended) == set(raw.notes)
    assert set(CODES.values()) <= set(raw.codes)


def test_sizes_of_tasks_follow_from_the_labels_alone():
    """What a dry run prints: no signal is needed to count."""
    said, splits = [["NORM"], ["SR", "STD_"], ["LAFB"], ["SR"], []], ["train", "train", "val", "test", "test"]
    assert downstream.sizes("ptb_xl", splits, said) == {
        "ptb_xl.super": "1 / 1 / 0",
        "ptb_xl.sub": "1 / 1 / 0",
        "ptb_xl.form": "1 / 0 / 0",
        "ptb_xl.rhythm": "1 / 0 / 1",
    }
    assert downstream.sizes("cpsc2018", splits, said) == {"cpsc2018": "2 / 1 / 2"}
    assert downstream.sizes("mimic_iv_ecg", splits, said) == {}


def test_sizes_of_the_whole_of_ptb_xl(real_data):
    """All 21,799 records, with statements that give each record the classes that MERL published for it."""
    said: dict[str, set[str]] = {}
    fold: dict[str, str] = {}
    diagnostic_only = {"STTC": "EL", "AVB": "1AVB", "LAFB/LPFB": "LAFB"}
    for task in ("ptb_xl.rhythm", "ptb_xl.form", "ptb_xl.sub"):
        known = classes.load()[task]
        for split in ("train", "val", "test"):
            for record, row in zip(*published(real_data, task, split), strict=True):
                fold[record] = split
                codes = said.setdefault(record, set())
                for code in (code for code, positive in zip(known, row, strict=True) if positive):
                    if not codes & set(known[code].codes):
                        codes.add(
                            diagnostic_only.get(code, known[code].codes[0])
                            if task.endswith("sub")
                            else known[code].codes[0]
                        )
    assert len(said) == 21799
    sizes = downstream.sizes("ptb_xl", list(fold.values()), [said[record] for record in fold])
    assert sizes == {task: " / ".join(f"{n:,}" for n in SIZES[task]) for task in sizes}
    assert len(sizes) == 4


def test_other_folds_are_not_merls(rhythm_store):
    """And a part of the data set is not the whole: the page says both before any number."""
    own = downstream.make(rhythm_store, "ptb_xl.rhythm")
    assert not any("not MERL's" in note for note in own.notes)
    assert any("in the paper 16,832 / 2,100 / 2,098" in note for note in own.notes)
    manifest = rhythm_store.manifest | {"about": {"folds": [8, 9]}}
    other = SimpleNamespace(**{name: getattr(rhythm_store, name) for name in ("path", "table", "label_names")})
    other.manifest = manifest
    assert any("not MERL's" in note for note in downstream.make(other, "ptb_xl.rhythm").notes)
