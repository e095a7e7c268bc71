import json
import os
import subprocess
import sys

import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.command import parse_shard
from kmerl_jax.prepare import parse_folds
from tests.cohorts.sources import LEADS, challenge, mimic, noise, ptb_xl, write_table
from tests.conftest import REPOSITORY


def prepare(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "kmerl_jax.prepare", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


def test_the_demo_cohort(tmp_path):
    done = prepare("--cohort=demo", f"--out={tmp_path}/demo", "--records=40", "--seed=3", "--workers=2")
    assert done.returncode == 0, done.stderr
    assert "40 windows of 40 records" in done.stdout
    manifest = Store(tmp_path / "demo").manifest
    assert manifest["about"]["simulation"]["seed"] == 3
    assert (tmp_path / "demo-files" / "record_list.csv").exists()
    again = prepare("--cohort=demo", f"--out={tmp_path}/demo", "--records=40", "--seed=3")
    assert again.returncode == 0
    assert json.loads((tmp_path / "demo" / "manifest.json").read_text()) == manifest
    other = prepare("--cohort=demo", f"--out={tmp_path}/demo", "--records=41", "--seed=3")
    assert other.returncode == 1
    assert len(other.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cohort=demo"], "out"),
        (["--out=x"], "cohort"),
        (["--cohort=icu", "--out=x"], "icu"),
        (["--cohort=ptb_xl", "--out=x"], "--source is missing"),
        (["--cohort=ptb_xl", "--source=nowhere", "--out=x"], "no folder nowhere"),
        (["--cohort=ptb_xl", "--source=.", "--out=x"], "ptbxl_database.csv not found"),
        (["--cohort=mimic_iv_ecg", "--source=.", "--rate=100", "--out=x"], "--rate"),
        (["--cohort=ptb_xl", "--source=.", "--folds=9", "--out=x"], "--folds=9 is not VAL,TEST"),
        (["--cohort=csn", "--source=.", "--folds=9,10", "--out=x"], "--folds"),
        (["--cohort=csn", "--source=.", "--out=x"], "ConditionNames_SNOMED-CT.csv not found"),
        (["--cohort=cpsc2018", "--source=configs", "--out=x"], "neither headers"),
        (["--cohort=table", "--source=mine.csv", "--out=x"], "no file mine.csv"),
        (["--cohort=table", "--source=pyproject.toml", "--out=x"], "pyproject.toml"),
        (["--cohort=demo", "--dry_run"], "--source is missing"),
        (["--cohort=demo", "--source=nowhere", "--dry_run"], "no folder nowhere"),
        (["--cohort=demo", "--out=x", "--workers=-1"], "workers"),
        (["--cohort=demo", "--out=x", "--shard=2/2"], "--shard=2/2"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message):
    done = prepare(*arguments)
    assert done.returncode in (1, 2)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr


def test_shards():
    assert parse_shard("0/1") == (0, 1)
    assert parse_shard("3/16") == (3, 16)
    for text in ("1/1", "a/2", "1", "-1/2", "1/0", ""):
        with pytest.raises(ValueError, match="I/N"):
            parse_shard(text)


def test_folds():
    assert parse_folds("9,10") == (9, 10)
    for text in ("9", "9,", "a,b", "9,10,1", "-1,9"):
        with pytest.raises(ValueError, match="VAL,TEST"):
            parse_folds(text)


def sources(folder):
    """One small source a cohort, without any signal file."""
    mimic(folder / "mimic_iv_ecg", [(noise(1), 500, LEADS)] * 3)
    (folder / "ptb_xl").mkdir()
    ptb_xl(folder / "ptb_xl")
    challenge(folder / "cpsc2018", {"g1/A0001": "426783006", "g1/A0002": "164889003,59118001"})
    challenge(folder / "csn", {"WFDBRecords/01/010/JS00001": "426783006"})
    (folder / "csn" / "ConditionNames_SNOMED-CT.csv").write_text(
        "Acronym Name,Full Name,Snomed_CT\nSR,Sinus Rhythm,426783006\n"
    )
    write_table(folder / "table" / "mine.csv", [{"path": "a", "patient": "p", "report": "Sinus rhythm with PVCs"}])
    for path in (*folder.glob("**/*.dat"), *folder.glob("ptb_xl/records*/**/*.hea")):
        path.unlink()
    return {path.name: path for path in folder.iterdir()} | {"table": folder / "table" / "mine.csv"}


@pytest.mark.parametrize(
    ("cohort", "lines"),
    [
        ("mimic_iv_ecg", ["3 records of 3 patients", "3 records with a report of four words or more"]),
        ("ptb_xl", ["3 records of 3 patients (train 1, val 1, test 1)", "1 NORM: normal ECG", "task ptb_xl.super: "]),
        ("cpsc2018", ["2 records of 2 patients", "no patient ids", "1 AFIB: Atrial fibrillation", "task cpsc2018: "]),
        (
            "csn",
            [
                "1 records of 1 patients",
                "no patient ids",
                "1 SR: Sinus Rhythm",
                "0 records with a report of four words or more",
            ],
        ),
        ("table", ["1 records of 1 patients", "1 records with a report of four words or more"]),
    ],
)
def test_a_dry_run_reads_tables_only_and_writes_nothing(tmp_path, cohort, lines):
    source = sources(tmp_path / "sources")[cohort]
    before = sorted(tmp_path.rglob("*"))
    done = prepare(f"--cohort={cohort}", f"--source={source}", f"--out={tmp_path}/store", "--dry_run")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    for line in lines:
        assert line in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_of_the_demo(demo_files):
    done = prepare("--cohort=demo", f"--source={demo_files}", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "150 records" in done.stdout
    assert "sinus rhythm: sinus rhythm" in done.stdout


def slurm(source, out, task, count=2):
    environment = os.environ | {
        "COHORT": "demo",
        "SOURCE": str(source),
        "OUT": str(out),
        "PYTHON": sys.executable,
        "SLURM_SUBMIT_DIR": str(REPOSITORY),
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_ARRAY_TASK_COUNT": str(count),
    }
    return subprocess.Popen(
        ["bash", REPOSITORY / "launch" / "prepare_array.sbatch", "--records=150"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_slurm_array_makes_the_store_that_one_run_makes(demo_files, demo_store, tmp_path, side_by_side):
    out, said = tmp_path / "store", []
    tasks = [slurm(demo_files, out, 0)]
    if not side_by_side:
        said.append(tasks[0].communicate(timeout=300)[0])
        assert "part 0 of 2 is done" in said[0]
        assert not out.exists()
    tasks.append(slurm(demo_files, out, 1))
    said += [task.communicate(timeout=300)[0] for task in tasks if task.returncode is None]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert any("150 windows of 150 records" in lines for lines in said)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        path.name: path.read_bytes() for path in demo_store.iterdir() if path.is_file()
    }


def test_the_slurm_script_says_what_it_lacks(tmp_path):
    script = REPOSITORY / "launch" / "prepare_array.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    environment = {"PATH": os.environ["PATH"], "COHORT": "demo", "SOURCE": "x", "OUT": str(tmp_path / "store")}
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "--array=0-N" in done.stderr
