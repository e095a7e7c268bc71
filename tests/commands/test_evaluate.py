"""The evaluate command as users run it."""

import json
import shutil

import pytest

from tests.commands.forks import run


@pytest.fixture(scope="module")
def evaluated(small_run, demo_store, tmp_path_factory):
    """A run that was evaluated, and what the command printed."""
    path = shutil.copytree(small_run, tmp_path_factory.mktemp("evaluated") / "run")
    done = evaluate(path, demo_store, "--task=zero_shot", "--leads=12", "--leads=I,II", "--scores=query,cosine")
    assert done.returncode == 0, done.stderr
    return path, done.stdout


def evaluate(path, store, *more):
    return run(f"--run={path}", f"--store={store}", "--labels=demo", *more, module="evaluate")


def test_it_prints_macros_and_writes_a_page(evaluated):
    path, out = evaluated
    (folder,) = (path / "evaluation").glob("zero_shot-strict-demo-leads_12-leads_I_II-*")
    results = json.loads((folder / "results.json").read_text())
    for leads in ("12", "I,II"):
        macro = results["tasks"]["demo"]["lead_sets"][leads]["query"]["macro_auroc"]
        assert f"demo, {leads}: zero-shot, query: macro AUROC {macro:.3f} (" in out
    assert results["leads"]["I,II"] == ["I", "II"]
    assert results["flags"]["scores"] == ["query", "cosine"]
    assert "not comparable with published numbers:" in out
    assert out.splitlines()[-1] == f"report: {folder / 'report.md'}"
    assert (folder / "tasks.png").exists()


def test_nothing_is_computed_twice(evaluated, demo_store, tmp_path):
    path, _ = evaluated
    done = evaluate(path, demo_store, "--task=seen_unseen", "--rule=ontology", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert not any(one["ecgs"] for one in results["cost"])
    assert results["tasks"]["demo"]["groups"]["seen"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task=zero_shot", "--leads=V9"], "unknown lead or lead set 'V9'"),
        (["--task=zero_shot", "--scores=luck"], "--scores: unknown 'luck'"),
        (["--task=zero_shot", "--scores=cosine", "--prompts=nowhere.json"], "nowhere.json: No such file"),
        (["--task=zero_shot", "--scores=query", "--prompts=nowhere.json"], "--prompts are for the cosine"),
        (["--task=linear_probe", "--ratios=2"], "--ratios=2: shares are numbers above 0"),
        (
            ["--task=domain_transfer"],
            "demo alone has nothing to be transferred to. --labels and --store name",
        ),
        (["--task=domain_transfer", "--encoders=fine_tuned"], "--encoders: unknown 'fine_tuned'"),
        (["--task=fine_tune", "--encoders=random"], "--encoders: unknown 'random'"),
        (["--task=zero_shot", "--labels=csn"], "--labels=csn needs a store of csn"),
        (["--task=zero_shot", "--run=nowhere"], "nowhere/config.json not found"),
        (["--task=zero_shot", "--store=nowhere"], "no store at nowhere"),
        (["--task=zero_shot", "--out=README.md"], "--out=README.md is a file; it names a folder"),
        (["--task=luck"], "--task=luck: value should be one of"),
    ],
)
def test_a_wrong_flag_is_one_line(evaluated, demo_store, flags, message):
    done = evaluate(evaluated[0], demo_store, *flags)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_classes_without_a_prompt_are_named_before_anything_is_computed(evaluated, demo_store, tmp_path):
    (tmp_path / "prompts.json").write_text('{"atrial flutter": "flutter", "sinus rhythm": ""}')
    flags = ["--task=zero_shot", "--scores=query,cosine", f"--prompts={tmp_path / 'prompts.json'}", "--leads=V2"]
    done = evaluate(evaluated[0], demo_store, *flags)
    assert done.returncode == 1
    assert "--prompts has no prompt for" in done.stderr
    assert "sinus rhythm" in done.stderr
    assert "atrial flutter" not in done.stderr
    assert "macro AUROC" not in done.stdout


def test_help():
    done = run("--help", module="evaluate")
    assert done.returncode == 0
    for flag in ("--task", "--run", "--store", "--labels", "--leads", "--protocol", "--splits", "--names", "--out"):
        assert flag in done.stdout
