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
    assert all(classes.load()[task].values())


@pytest.mark.parametrize("task", TASKS)
def test_classes_are_those_of_the_published_splits(task, real_data):
    columns = pd.read_csv(real_data / "merl_splits" / TASKS[task][0], nrows=1).columns
    assert set(columns) - ABOUT == set(classes.load()[task])


def test_mining_and_training_do_not_read_them():
    program = "import sys, kmerl_jax.mine, kmerl_jax.train; print('kmerl_jax.evaluation.classes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_statements_of_ptb_xl_lie_in_their_classes(real_data):
    """A diagnostic statement's entity, or a superclass of it, is covered by the class that PTB-XL gives it."""
    table = pd.read_csv(real_data / "ptb_xl" / "scp_statements.csv", index_col=0).dropna(subset=["diagnostic_class"])
    known = ontology.load()
    coded = {code: name for name, entity in known.entities.items() for code in entity.codes.get("scp", ())}
    for code, row in table.iterrows():
        reached = {coded[code], *known.ancestors(coded[code])}
        assert reached & set(classes.load()["ptb_xl.super"][row["diagnostic_class"]]), code
        assert reached & set(classes.load()["ptb_xl.sub"][row["diagnostic_subclass"].strip("_")]), code


def test_snomed_codes_of_csn_agree(real_data):
    """Where the ontology has the SNOMED CT code of a class of CSN, it is an entity that the class covers."""
    table = pd.read_csv(real_data / "csn" / "ConditionNames_SNOMED-CT.csv", dtype=str)
    coded = {code: name for name, entity in ontology.load().entities.items() for code in entity.codes.get("snomed", ())}
    csn = classes.load()["csn"]
    agreeing = 0
    for name, code in zip(table["Acronym Name"], table["Snomed_CT"].str.strip(), strict=True):
        if name in csn and code in coded:
            covered = {below for entity in csn[name] for below in (entity, *ontology.load().ancestors(entity))}
            assert coded[code] in covered or set(csn[name]) & ontology.load().ancestors(coded[code]), name
            agreeing += 1
    assert agreeing >= 32
