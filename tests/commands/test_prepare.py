import json
import subprocess
import sys

import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.prepare import parse_shard


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
