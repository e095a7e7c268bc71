"""Chapman-Shaoxing-Ningbo: SNOMED CT codes in headers, acronyms in a table."""

import pytest

from kmerl_jax.cohorts import catalog, preparation
from kmerl_jax.cohorts.csn import CONDITIONS
from kmerl_jax.cohorts.store import Store
from tests.cohorts.sources import challenge

TABLE = """Acronym Name,Full Name,Snomed_CT
LBBB,left bundle branch block,164909002
LBBBB,left back bundle branch block,164909002
CR,colockwise rotation,251198002
SR,Sinus Rhythm,426783006
AVNRT,Atrioventricular  Node Reentrant Tachycardia,233896004
"""


def csn(folder, records, **options):
    challenge(
        folder, {f"WFDBRecords/{name[2:4]}/{name[2:5]}/{name}": codes for name, codes in records.items()}, **options
    )
    (folder / CONDITIONS).write_text(TABLE)


@pytest.mark.parametrize("dx", ["#Dx: {}", "# Dx: {}", "#Dx:{}", "# dx: {} "])
def test_codes_become_acronyms(tmp_path, dx):
    csn(tmp_path, {"JS20002": "164909002,426783006", "JS00001": "426783006, 251198002,426783006"}, dx=dx)
    cohort = catalog.load("csn", tmp_path)
    assert cohort.table["record"].to_pylist() == ["JS00001", "JS20002"]
    assert cohort.table["labels"].to_pylist() == [["SR", "CR"], ["LBBB", "SR"]]  # the first of two acronyms
    assert cohort.table["report"].to_pylist() == [
        "Sinus Rhythm. colockwise rotation",
        "left bundle branch block. Sinus Rhythm",
    ]
    assert cohort.label_names == {
        "LBBB": "left bundle branch block",
        "LBBBB": "left back bundle branch block",
        "CR": "colockwise rotation",
        "SR": "Sinus Rhythm",
        "AVNRT": "Atrioventricular  Node Reentrant Tachycardia",
    }
    assert (cohort.left_out, cohort.notes, cohort.patient_ids) == ({}, {}, False)


def test_damaged_headers_and_unknown_codes_are_counted(tmp_path):
    csn(
        tmp_path,
        {"JS00001": "426783006", "JS00002": "999999999,426783006,6374002", "JS01052": "426783006", "JS23074": None},
    )
    (tmp_path / "WFDBRecords" / "01" / "010" / "JS01052.hea").write_bytes(b"\x00\xff\xfe damaged")
    (tmp_path / "WFDBRecords" / "00" / "000" / "JS00003.mat").write_bytes(b"")
    (tmp_path / "WFDBRecords" / "00" / "000" / "JS00004.hea").write_text("#Dx: 426783006\n")
    cohort = catalog.load("csn", tmp_path)
    assert cohort.table["record"].to_pylist() == ["JS00001", "JS00002", "JS00004"]
    assert cohort.left_out == {
        "header without #Dx (JS01052, JS23074)": 2,
        "signal file without a header (JS00003)": 1,
    }
    assert cohort.notes == {f"record with a code that {CONDITIONS} does not name (JS00002)": 1}
    assert cohort.table["labels"][1].as_py() == ["999999999", "SR", "6374002"]
    assert list(cohort.label_names.items())[-2:] == [("6374002", "6374002"), ("999999999", "999999999")]
    manifest = preparation.prepare(cohort, tmp_path / "store")
    assert manifest["rejects"] == {"unreadable file": 1}
    assert manifest["patient_ids"] is False
    summary = Store(tmp_path / "store").summary()
    assert "JS01052, JS23074" in summary
    assert "does not name" in summary


def test_links_are_followed_and_dead_ones_counted(tmp_path):
    csn(tmp_path / "real", {"JS00001": "426783006"})
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / CONDITIONS).symlink_to(tmp_path / "real" / CONDITIONS)
    (tmp_path / "linked" / "WFDBRecords").symlink_to(tmp_path / "real" / "WFDBRecords")
    (tmp_path / "linked" / "JS00002.hea").symlink_to(tmp_path / "nothing")
    cohort = catalog.load("csn", tmp_path / "linked")
    assert cohort.table["record"].to_pylist() == ["JS00001"]
    assert cohort.left_out == {"header without #Dx (JS00002)": 1}


def test_without_its_table(tmp_path):
    csn(tmp_path, {"JS00001": "426783006"})
    (tmp_path / CONDITIONS).write_text("Acronym,Code\n")
    with pytest.raises(ValueError, match="no column 'Acronym Name'"):
        catalog.load("csn", tmp_path)
    (tmp_path / CONDITIONS).unlink()
    with pytest.raises(FileNotFoundError, match="ConditionNames"):
        catalog.load("csn", tmp_path)


def test_no_record(tmp_path):
    csn(tmp_path, {})
    with pytest.raises(ValueError, match="no recording found"):
        catalog.load("csn", tmp_path)


def test_real_csn(real_data, tmp_path):
    cohort = catalog.load("csn", real_data / "csn")
    labels = dict(zip(cohort.table["record"].to_pylist(), cohort.table["labels"].to_pylist(), strict=True))
    assert labels["JS00001"] == ["AFIB", "RBBB", "TWC"]
    assert labels["JS20001"] == ["APB", "ST", "IDC"]  # IDC and IVB share a code
    assert labels["JS00005"] == ["AF", "STDD", "STTC", "1AVB"]
    assert len(cohort.label_names) == 63
    manifest = preparation.prepare(cohort, tmp_path / "store")
    assert (manifest["records"], manifest["rejects"]) == (29, {})
    assert manifest["leads"] == {"12": 21, "2": 8}
