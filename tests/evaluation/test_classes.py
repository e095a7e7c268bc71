import subprocess
import sys

import pandas as pd
import pytest

from kmerl_jax.evaluation import classes
from kmerl_jax.knowledge import ontology

TASKS = {
    "ptb_xl.super": ("ptbxl/super_class/ptbxl_super_class_test.csv", 5),
    "ptb_xl.sub": ("ptbxl/sub_class/ptbxl_sub_class_test.csv", 23),
    "ptb_xl.form": ("ptbxl/form/ptbxl_form_test.csv", 19),
    "ptb_xl.rhythm": ("ptbxl/rhythm/ptbxl_rhythm_test.csv", 12),
    "cpsc2018": ("icbeb/icbeb_test.csv", 9),
    "csn": ("chapman/chapman_test.csv", 38),
}
ABOUT = {"ecg_id", "patient_id", "strat_fold", "filename_lr", "filename_hr", "filename", "validation", "age", "sex"}
ABOUT |= {"scp_codes", "ecg_path", "diagnose", "super_class", "sub_class", "form", "rhythm"}


@pytest.mark.parametrize("task", TASKS)
def test_each_task_has_its_classes(task):
    assert len(classes.load()[task]) == TASKS[task][1]
    assert all(one.covers for one in classes.load()[task].values())


@pytest.mark.parametrize("task", TASKS)
def test_classes_are_those_of_the_published_splits(task, real_data):
    columns = pd.read_csv(real_data / "merl_splits" / TASKS[task][0], nrows=1).columns
    assert set(columns) - ABOUT == set(classes.load()[task])


@pytest.mark.parametrize("command", ["mine", "train"])
def test_mining_and_training_do_not_read_them(command):
    program = f"import sys, kmerl_jax.{command}; print('kmerl_jax.evaluation.classes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_statements_of_ptb_xl_lie_in_their_classes(real_data):
    """A diagnostic statement's entity, or a superclass of it, is covered by the class that PTB-XL gives it."""
    table = pd.read_csv(real_data / "ptb_xl" / "scp_statements.csv", index_col=0).dropna(subset=["diagnostic_class"])
    known = ontology.load()
    coded = {code: name for name, entity in known.entities.items() for code in entity.codes.get("scp", ())}
    for code, row in table.iterrows():
        reached = {coded[code], *known.ancestors(coded[code])}
        assert reached & set(classes.load()["ptb_xl.super"][row["diagnostic_class"]].covers), code
        assert reached & set(classes.load()["ptb_xl.sub"][row["diagnostic_subclass"].strip("_")].covers), code


def test_snomed_codes_of_csn_agree(real_data):
    """Where the ontology has the SNOMED CT code of a class of CSN, it is an entity that the class covers."""
    table = pd.read_csv(real_data / "csn" / "ConditionNames_SNOMED-CT.csv", dtype=str)
    coded = {code: name for name, entity in ontology.load().entities.items() for code in entity.codes.get("snomed", ())}
    csn = {code: one.covers for code, one in classes.load()["csn"].items()}
    agreeing = 0
    for name, code in zip(table["Acronym Name"], table["Snomed_CT"].str.strip(), strict=True):
        if name in csn and code in coded:
            covered = {below for entity in csn[name] for below in (entity, *ontology.load().ancestors(entity))}
            assert coded[code] in covered or set(csn[name]) & ontology.load().ancestors(coded[code]), name
            agreeing += 1
    assert agreeing >= 32


def test_classes_of_ptb_xl_are_made_of_its_statements(real_data):
    """Super- and subclasses have exactly the codes that the data set's own table gives them."""
    table = pd.read_csv(real_data / "ptb_xl" / "scp_statements.csv", index_col=0)
    for task, column in (("ptb_xl.super", "diagnostic_class"), ("ptb_xl.sub", "diagnostic_subclass")):
        for code, one in classes.load()[task].items():
            assert set(one.codes) == set(table.index[table[column].fillna("").str.strip("_") == code]), code
    for task in ("form", "rhythm"):
        codes = [one.codes[0] for one in classes.load()[f"ptb_xl.{task}"].values()]
        assert sorted(codes) == sorted(table.index[table[task] == 1])


def test_names_are_the_data_sets_own_words(real_data):
    table = pd.read_csv(real_data / "csn" / "ConditionNames_SNOMED-CT.csv", dtype=str)
    words = dict(zip(table["Acronym Name"], table["Full Name"], strict=True))
    csn = list(classes.load()["csn"].values())
    raw, readable = classes.names(csn, words, "raw"), classes.names(csn, words, "readable")
    assert raw == tuple(words[one.code] for one in csn)
    mended = {old: new for old, new in zip(raw, readable, strict=True) if old != new}
    assert mended["countercolockwise rotation"] == "counterclockwise rotation"
    assert mended["colockwise rotation"] == "clockwise rotation"
    assert "ST tilt up" in readable


def test_a_store_without_the_words_is_refused():
    with pytest.raises(ValueError, match="no name for class AQW"):
        classes.names(list(classes.load()["csn"].values()), {}, "raw")
    with pytest.raises(ValueError, match="unknown spelling 'nice'"):
        classes.names([], {}, "nice")
