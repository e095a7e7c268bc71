"""The predict, embed and export commands as users run them."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

import kmerl_jax
from tests.commands.forks import run
from tests.prediction import malformed
from tests.prediction.conftest import evaluated_run  # noqa: F401 (a fixture)


@pytest.fixture(scope="module")
def records(demo_files):
    return sorted(demo_files.rglob("*.hea"))[:3]


def predict(path, *more):
    return run(f"--run={path}", *map(str, more), module="predict")


def test_a_table_and_files(evaluated_run, records, tmp_path):  # noqa: F811
    done = predict(
        evaluated_run,
        *records,
        "--leads=II",
        f"--json={tmp_path}/o/a.json",
        f"--csv={tmp_path}/o/a.csv",
        f"--plot={tmp_path}/p",
    )
    assert done.returncode == 0, done.stderr
    assert "For research only" in done.stdout
    for record in records:
        assert f"{record}: 10 s at 500 Hz, 1 lead: II" in done.stdout
    said = json.loads((tmp_path / "o" / "a.json").read_text())
    model = kmerl_jax.load(evaluated_run)
    for record, one in zip(records, said["records"], strict=True):
        found = {finding["name"]: finding["probability"] for finding in one["findings"]}
        expected = model.findings(kmerl_jax.read(record), leads=("II",))
        np.testing.assert_allclose([found[name] for name in model.entities], expected, atol=1e-5)
    with open(tmp_path / "o" / "a.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["record"] for row in rows] == list(map(str, records))
    assert float(rows[0][model.entities[0]]) == pytest.approx(
        model.findings(kmerl_jax.read(records[0]), leads=("II",))[0], abs=1e-5
    )
    assert len(list((tmp_path / "p").glob("*.png"))) == 3


def test_findings_in_words_and_a_page(evaluated_run, records, tmp_path):  # noqa: F811
    done = predict(
        evaluated_run,
        records[0],
        "--finding=atrial fibrillation",
        "--finding=left ear",
        "--leads=I,V1",
        f"--html={tmp_path}/a.html",
    )
    assert done.returncode == 0, done.stderr
    assert "left ear" in done.stdout
    assert "never trained" in done.stdout
    assert "atrial fibrillation" in (tmp_path / "a.html").read_text()


def test_what_cannot_be_read_is_said_and_the_rest_is_answered(evaluated_run, records, tmp_path):  # noqa: F811
    folder = tmp_path / "wrong"
    folder.mkdir()
    wrong = malformed.write_all(folder)
    out = tmp_path / "a.json"
    done = predict(evaluated_run, records[0], *wrong, "--rate=500", f"--json={out}")
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == len(wrong)
    assert all(line.startswith("error: ") for line in lines)
    assert "Traceback" not in done.stderr
    said = json.loads(out.read_text())
    assert len(said["records"]) == 1
    assert len(said["failed"]) == len(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no recording was named"),
        (("nowhere",), "no WFDB header nowhere.hea"),
        (("a.csv",), "does not say its rate: give --rate"),
        (("a.csv", "--rate=500", "--units=mmHg"), "--units=mmHg is no voltage"),
        (("a.csv", "--lead_names=I,II"), "which need --rate too"),
        (("nowhere", "--leads=V9"), "unknown lead or lead set 'V9'"),
        (("nowhere", "--labels=luck"), "unknown labels 'luck'"),
        (("nowhere", "--finding="), "--finding is empty"),
        (("a", "b", "--plot=x.png"), "--plot=x.png is one file for 2 recordings"),
        (("a", "--plot=x.jpg"), "a .png file, or a folder"),
        (("a", "--json=x", "--csv=x"), "--json and --csv are both x"),
        (("a", "--leads="), "unknown lead or lead set"),
        (("nowhere", "--luck=1"), "Unknown command line flag 'luck'"),
        (("nowhere", "--run=no/such/run"), "--run names the directory of a run"),
    ],
)
def test_a_wrong_command_is_one_line(evaluated_run, tmp_path, arguments, message):  # noqa: F811
    done = predict(evaluated_run, *arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_export_and_what_takes_it(evaluated_run, records, demo_store, tmp_path):  # noqa: F811
    out = tmp_path / "model"
    done = run(f"--run={evaluated_run}", f"--out={out}", module="export")
    assert done.returncode == 0, done.stderr
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    for path, file in ((evaluated_run, a), (out, b)):
        assert predict(path, records[0], f"--json={file}").returncode == 0
    assert json.loads(a.read_text())["records"] == json.loads(b.read_text())["records"]
    done = run(f"--run={out}", f"--out={tmp_path}/e.parquet", *map(str, records), module="embed")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "e.parquet")
    expected = kmerl_jax.load(out).embed(kmerl_jax.read(records[1]))
    np.testing.assert_allclose(table["pooled"][1], expected, atol=1e-5)
    done = run(f"--run={out}", f"--out={tmp_path}/store", f"--store={demo_store}", "--leads=I", module="embed")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_parquet(tmp_path / "store")) == 150


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("export", ["--out=x", "--format=stablehlo", "--push=a/b"], "--push hands on the model itself"),
        ("export", ["--out=x", "--finding=af"], "--finding is for --format=stablehlo"),
        ("embed", ["--out=x"], "name recordings, or a store with --store"),
        ("embed", ["--out=x", "--store=nowhere"], "no store at nowhere"),
        ("embed", ["--out=x.parquet", "--shard=1/2", "nowhere"], "are for --store"),
        ("embed", ["--out=x.parquet", "nowhere"], "none of the 1 recordings could be read"),
    ],
)
def test_wrong_flags_of_the_others(evaluated_run, module, arguments, message):  # noqa: F811
    done = run(f"--run={evaluated_run}", *arguments, module=module)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize("module", ["predict", "embed", "export"])
def test_help(module):
    done = run("--help", module=module)
    assert done.returncode == 0
    assert "--run:" in done.stdout
    if module != "export":
        assert "--lead_names:" in done.stdout
