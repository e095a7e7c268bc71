import pandas as pd
import pytest

from kmerl_jax.cohorts import catalog
from tests.cohorts.sources import LEADS, mimic, noise


def test_a_table_without_its_column(tmp_path):
    mimic(tmp_path, [(noise(), 500, LEADS)])
    (tmp_path / "record_list.csv").write_text("subject_id,path\n1,a\n")
    with pytest.raises(ValueError, match="no column 'study_id'"):
        catalog.load("mimic_iv_ecg", tmp_path)
    (tmp_path / "record_list.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"record_list\.csv not found"):
        catalog.load("mimic_iv_ecg", tmp_path)


def test_records_without_reports_are_counted(tmp_path):
    mimic(tmp_path, [(noise(), 500, LEADS)] * 4)
    reports = pd.read_csv(tmp_path / "machine_measurements.csv")
    reports["study_id"] = reports["study_id"].replace(40_000_002, 49_999_999)
    reports.to_csv(tmp_path / "machine_measurements.csv", index=False)
    cohort = catalog.load("mimic_iv_ecg", tmp_path)
    assert cohort.table.num_rows == 3
    assert cohort.left_out == {"record without a machine report": 1, "machine report without a record": 1}


def test_a_study_twice(tmp_path):
    mimic(tmp_path, [(noise(), 500, LEADS)] * 2)
    table = tmp_path / "machine_measurements.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    with pytest.raises(ValueError, match=r"machine_measurements\.csv has study_id 40000001 twice"):
        catalog.load("mimic_iv_ecg", tmp_path)


def test_a_damaged_table(tmp_path):
    mimic(tmp_path, [(noise(), 500, LEADS)])
    with open(tmp_path / "record_list.csv", "a") as file:
        file.write("10000032,40689238\n")
    with pytest.raises(ValueError, match=r"record_list\.csv is damaged: .*Expected 3 columns, got 2"):
        catalog.load("mimic_iv_ecg", tmp_path)


def test_cells_are_kept_as_written(tmp_path):
    mimic(tmp_path, [(noise(), 500, LEADS)])
    reports = pd.read_csv(tmp_path / "machine_measurements.csv", dtype=str, keep_default_na=False)
    cells = {
        "report_0": "NA",
        "report_3": '"Normal", they say',
        "report_7": " Sinus rhythm. ",
        "report_17": "two\nlines",
    }
    reports.assign(**cells).to_csv(tmp_path / "machine_measurements.csv", index=False)
    (line,) = catalog.load("mimic_iv_ecg", tmp_path).table.to_pylist()
    assert line["statements"] == list(cells.values())
    assert line["report"] == 'NA. "Normal", they say. Sinus rhythm. two\nlines'


def test_the_true_tables(real_data):
    """The columns as published; the signals are not needed."""
    cohort = catalog.load("mimic_iv_ecg", real_data / "mimic_iv_ecg")
    (line,) = cohort.table.to_pylist()
    assert (line["record"], line["patient"], line["words"]) == ("40689238", "10000032", 8)
    assert line["statements"] == ["Sinus rhythm", "Possible right atrial abnormality", "Borderline ECG"]
    assert line["path"].endswith("files/p1000/p10000032/s40689238/40689238")
