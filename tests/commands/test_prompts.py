"""The prompts command as users run it, from a language model on this machine to scores."""

import json

import pytest

from tests.commands.forks import run
from tests.knowledge.llm_server import serving


@pytest.fixture
def served():
    with serving() as running:
        yield running


def write(served, out, *flags, model="tiny"):
    return run(f"--out={out}", f"--llm.base_url={served.url}", f"--llm.model={model}", *flags, module="prompts")


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("code,name,synonyms\nL,left bundle branch block,LBBB\nTEA,tea leaves,\n")
    return path


def test_from_names_to_scores(served, demo_store, small_run, tmp_path):
    out = tmp_path / "made" / "demo.json"
    done = write(served, out, "--labels=demo", f"--store={demo_store}", "--dry_run")
    assert done.returncode == 0, done.stderr
    calls = int(done.stdout.splitlines()[-1].split()[0])
    assert served.asked.total() == 0
    assert not out.parent.exists()
    done = write(served, out, "--labels=demo", f"--store={demo_store}")
    assert done.returncode == 0, done.stderr
    assert served.asked.total() == calls
    prompts = json.loads(out.read_text())
    assert prompts["t wave inversion"] == "t wave inversion, inferior t wave inversion, abnormal q wave."
    assert prompts["t wave inversion"] in done.stdout
    assert " described terms that are not in the source, for example" in done.stdout
    assert "lucky wave" in done.stdout
    provenance = json.loads((tmp_path / "made" / "demo.provenance.json").read_text())
    assert provenance["model"] == "tiny"
    assert list(provenance["classes"]) == list(prompts)
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "demo.answers.sqlite", "demo.json", "demo.provenance.json"
    ]  # fmt: skip
    done = write(served, out, "--labels=demo", f"--store={demo_store}")
    assert done.returncode == 1
    assert "demo.json exists" in done.stderr
    flags = [f"--run={small_run}", f"--store={demo_store}", "--labels=demo", f"--out={tmp_path / 'scored'}"]
    done = run("--task=zero_shot", "--scores=cosine", f"--prompts={out}", *flags, module="evaluate")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "scored" / "results.json").read_text())
    assert results["tasks"]["demo"]["prompts"].items() <= prompts.items()


def test_classes_and_terms_of_ones_own(served, mine, tmp_path):
    source = tmp_path / "terms.csv"
    source.write_text("code,name\n1,left bundle branch block of Tawara\n")
    out = tmp_path / "out.json"
    done = write(served, out, f"--classes={mine}", f"--source={source}")
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text()) == {
        "L": "left bundle branch block, LBBB, left bundle branch block of Tawara.",
        "TEA": "tea leaves.",
    }
    assert "no term beside the class's own name: TEA" in done.stdout
    assert (
        "these codes have several names, and one prompt with all of them: L (left bundle branch block; LBBB)"
        in done.stdout
    )
    served.asked.clear()
    out.unlink()
    done = write(served, out, f"--classes={mine}", f"--source={source}")
    assert f"{out.with_suffix('.provenance.json')} exists" in done.stderr
    out.with_suffix(".provenance.json").unlink()
    assert write(served, out, f"--classes={mine}", f"--source={source}").returncode == 0
    assert served.asked.total() == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "which classes? --labels names tasks, or --classes"),
        (["--labels=luck"], "unknown labels 'luck'"),
        (["--labels=csn_clean"], "--labels=csn_clean needs a store of csn; --store names none"),
        (["--labels=csn", "--store=nowhere"], "no store at nowhere"),
        (["--classes=nowhere.csv"], "nowhere.csv: No such file"),
        (["--classes=README.md"], "README.md has no columns 'code' and 'name'"),
        (["--source=README.md"], "README.md has no columns 'code' and 'name'"),
        (["--llm.connections=0"], "--llm.connections=0"),
        (["--names=nice"], "--names=nice"),
        (["--names=readable"], "--names is how --labels are spelt"),
        (["--out=super"], "--out=super does not end in .json"),
        (["--source=", "--llm.model="], "--source is empty"),
    ],
)
def test_mistakes_end_in_one_line(served, tmp_path, flags, message):
    done = write(served, tmp_path / "out.json", *flags)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(tmp_path.glob("out*.json"))


@pytest.mark.parametrize(
    ("lines", "message"), [("A,one\nA,two\n", "the code 'A' stands there twice"), (",one\n", "'one' has no code")]
)
def test_classes_have_a_code_each(served, tmp_path, lines, message):
    (tmp_path / "mine.csv").write_text("code,name\n" + lines)
    done = write(served, tmp_path / "out.json", f"--classes={tmp_path / 'mine.csv'}")
    assert done.returncode == 1
    assert message in done.stderr


def test_a_server_that_refuses_leaves_nothing_half_written(served, mine, tmp_path):
    done = write(served, tmp_path / "out.json", f"--classes={mine}", model="huge")
    assert done.returncode == 1
    assert "refuses model 'huge'" in done.stderr
    assert not list(tmp_path.glob("out*.json"))


def test_help():
    done = run("--help", module="prompts")
    assert done.returncode == 0
    for flag in ("--labels", "--store", "--classes", "--source", "--out", "--llm.base_url", "--llm.model", "--dry_run"):
        assert flag in done.stdout
