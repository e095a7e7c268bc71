import json
import shutil

import pytest

from kmerl_jax.cohorts import catalog, preparation
from kmerl_jax.cohorts.store import Store
from tests.cohorts.sources import ptb_xl


def test_ptb_xl(tmp_path):
    source = tmp_path / "ptb_xl"
    ptb_xl(source)
    cohort = catalog.load("ptb_xl", source, 100)
    table = cohort.table
    assert table["split"].to_pylist() == ["train", "val", "test"]
    assert table["report"].to_pylist() == [
        "normal ECG. sinus rhythm",
        "ischemic ST-T changes in anterolateral leads",
        "inferior myocardial infarction",
    ]
    assert table["labels"].to_pylist() == [["NORM", "SR"], ["ISCAL"], ["IMI"]]  # whatever the likelihood, 0 included
    assert cohort.left_out == {"file without a row in ptbxl_database.csv": 1}
    assert catalog.load("ptb_xl", source, 100, "german").table["report"].to_pylist() == ["sinusrhythmus"] * 3

    slow, fast = (
        preparation.prepare(catalog.load("ptb_xl", source, rate), tmp_path / f"{rate}") for rate in (100, 500)
    )
    assert (slow["entries"], fast["entries"]) == (3, 2)
    assert fast["rejects"] == {"file missing": 1}
    assert Store(tmp_path / "100")[0].segments == 50
    with pytest.raises(ValueError, match="250 Hz"):
        catalog.load("ptb_xl", source, 250)
    with pytest.raises(ValueError, match="--rate"):
        catalog.load("mimic_iv_ecg", source, 100)
    shutil.rmtree(source / "records100")
    with pytest.raises(ValueError, match=r"all 3 recordings were rejected \(file missing\), .*records100"):
        preparation.prepare(catalog.load("ptb_xl", source, 100), tmp_path / "none")


def test_folds(tmp_path):
    source = tmp_path / "ptb_xl"
    ptb_xl(source)  # three records of the folds 8, 9 and 10
    cohort = catalog.load("ptb_xl", source, 100, folds=(9, 8))
    assert cohort.table["split"].to_pylist() == ["test", "val"]
    assert cohort.left_out["record of fold 10"] == 1
    assert cohort.about == {"rate": 100, "text": "statements", "folds": [9, 8]}
    assert catalog.load("ptb_xl", source, 100).about["folds"] == [9, 10]
    preparation.prepare(cohort, tmp_path / "store")
    with pytest.raises(FileExistsError):  # the same records in other splits are another store
        preparation.prepare(catalog.load("ptb_xl", source, 100, folds=(8, 9)), tmp_path / "store")
    for folds in ((9, 9), (1, 2), (10, 11), (0, 5)):
        with pytest.raises(ValueError, match="--folds="):
            catalog.load("ptb_xl", source, 100, folds=folds)
    with pytest.raises(ValueError, match="--folds is an option of ptb_xl"):
        catalog.load("mimic_iv_ecg", source, folds=(9, 10))


def test_real_ptb_xl(real_data, tmp_path):
    cohort = catalog.load("ptb_xl", real_data / "ptb_xl", 500)
    manifest = preparation.prepare(cohort, tmp_path / "store")
    assert manifest["splits"]["train"] > manifest["splits"]["val"] > 0
    assert manifest["records"] + sum(manifest["rejects"].values()) == len(cohort.table)
    assert json.loads((tmp_path / "store" / "manifest.json").read_text()) == manifest
