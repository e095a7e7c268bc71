"""The train command as users run it: in processes of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.commands.forks import REPOSITORY, run

SMALL = [
    f"--config.{field}"
    for field in (
        "model.width=32", "model.heads=2", "model.depth=2", "model.projection=16", "model.query_width=32",
        "model.query_depth=1", "model.query_heads=2", "data.min_positives=5", "train.batch_size=8", "train.steps=40",
        "train.log_every=10", "train.validate_every=20", "train.validation_batches=1", "checkpoint.every=10",
        "evaluation.probe_records=40", "evaluation.min_positives=2",
    )
]  # fmt: skip


def command(*arguments):
    return [sys.executable, "-m", "kmerl_jax.train", *map(str, arguments)]


def train(store, workdir, *more):
    return [f"--config=configs/vit_tiny.py:{more[0] if more else 'demo'}", f"--config.data.store={store}",
            f"--workdir={workdir}", *SMALL, *more[1:]]  # fmt: skip


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "split" not in line}


@pytest.fixture(scope="module")
def finished(demo_store, tmp_path_factory):
    """A run from the first step to the results, and what it printed."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    done = subprocess.run(
        command(*train(demo_store, workdir)),
        cwd=REPOSITORY,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def test_the_main_job(finished):
    workdir, printed = finished
    results = json.loads((workdir / "results" / "zero_shot.json").read_text())
    assert results["labels"] == "the simulator's truth"
    assert list(results["lead_sets"]) == ["12", "II", "I"]
    one = results["lead_sets"]["12"]
    assert printed.splitlines()[-1] == f"zero-shot macro AUROC {one['macro_auroc']:.4f} (12 leads)"
    for entry in one["per_class"].values():
        assert {"auroc", "ci95", "positives"} < set(entry)
        assert entry["ci95"][0] <= entry["auroc"] <= entry["ci95"][1]
    assert set(results["unseen"]) & set(one["per_class"]) == set(results["unseen"]) != set()
    assert "macro, random encoder + linear probe" in printed
    assert sorted(losses(workdir)) == list(range(1, 41))
    for name in ("config.json", "entities.json", "entities.npy", "results/zero_shot.png", "tensorboard", "checkpoints"):
        assert (workdir / name).exists()
    assert not list(workdir.glob("*.tmp"))


@pytest.mark.parametrize(("config", "way"), [("merl_vit_tiny", "zero-shot"), ("simclr_vit_tiny", "linear probe")])
def test_the_other_methods(config, way, demo_store, tmp_path):
    """The same command, loop and results; what knows no names is probed, and is handed on all the same."""
    flags = [f"--config=configs/{config}.py", f"--config.data.store={demo_store}", f"--workdir={tmp_path / 'run'}"]
    shorter = ["--config.train.steps=6", "--config.evaluation.lead_sets=('II',)"]
    done = run(*flags, *SMALL, *shorter)
    assert done.returncode == 0, done.stderr
    method = config.partition("_")[0]
    assert (
        f"model.query_width is given, but a run of method={method} with this config does not look at it"
        in done.stdout + done.stderr
    )
    assert "model.width is given" not in done.stdout + done.stderr
    (file,) = (tmp_path / "run" / "results").glob("*.json")
    one = json.loads(file.read_text())["lead_sets"]["II"]
    assert file.stem == way.replace(" ", "_").replace("-", "_")
    assert done.stdout.splitlines()[-1] == f"{way} macro AUROC {one['macro_auroc']:.4f} (lead II)"
    assert one["macro_auroc"] != one["random_probe_macro_auroc"]
    again = run(*flags, *SMALL, *shorter)
    assert done.stdout.endswith(again.stdout[again.stdout.index("AUROC") :])
    exported = run(f"--run={tmp_path / 'run'}", f"--out={tmp_path / 'out'}", module="export")
    assert exported.returncode == 0, exported.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"{one['macro_auroc']:.3f} (" in card
    assert ("by a linear probe of its features" in card) == (way == "linear probe")
    assert ("zero-shot" in card, "knows no names" in card) == (way == "zero-shot", way != "zero-shot")


def test_a_finished_run_prints_its_results_again(finished, demo_store):
    workdir, printed = finished
    before = (workdir / "metrics.jsonl").read_text()
    again = run(*train(demo_store, workdir))
    assert again.returncode == 0
    table = printed[printed.index("AUROC on") :]
    assert again.stdout.endswith(table)
    assert (workdir / "metrics.jsonl").read_text() == before


def test_killed_and_started_again(finished, demo_store, tmp_path):
    workdir, printed = finished
    process = subprocess.Popen(
        command(*train(demo_store, tmp_path / "killed")),
        cwd=REPOSITORY,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
    )
    metrics = tmp_path / "killed" / "metrics.jsonl"
    for _ in range(600):
        if metrics.exists() and len(metrics.read_text().splitlines()) >= 25:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with open(metrics, "a") as file:
        file.write('{"step": 26, "lo')  # a line that was being written
    again = run(*train(demo_store, tmp_path / "killed"))
    assert again.returncode == 0, again.stderr
    assert "going on from the checkpoint of step" in again.stdout
    assert losses(tmp_path / "killed") == losses(workdir)
    assert (
        again.stdout[again.stdout.index("AUROC on") :].splitlines()[:-2]
        == printed[printed.index("AUROC on") :].splitlines()[:-2]
    )
    results = [json.loads((d / "results/zero_shot.json").read_text()) for d in (workdir, tmp_path / "killed")]
    assert results[0] == results[1]


def truncated(store, folder):
    copy = shutil.copytree(store, folder / "truncated")
    path = copy / "records-00000.array_record"
    path.write_bytes(path.read_bytes()[:-5000])
    return copy


def versioned(store, folder):
    copy = shutil.copytree(store, folder / "versioned")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format_version": 0}))
    return copy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda s, t, w: ["--config=configs/vit_tiny.py", "--config.train.stepz=3"], "stepz"),
        (lambda s, t, w: ["--config=configs/vit_tiny.py", "--config.train.steps=many"], "many"),
        (lambda s, t, w: ["--config=configs/vit_nano.py"], "vit_nano"),
        (lambda s, t, w: ["--config=configs/vit_tiny.py:icu"], "unknown recipe 'icu'"),
        (lambda s, t, w: ["--config=configs/vit_tiny.py", "--confg.seed=1"], "confg"),
        (lambda s, t, w: ["--config=configs/vit_tiny.py", "surplus"], "surplus"),
        (lambda s, t, w: [], "--config is missing"),
        (lambda s, t, w: train(t / "nowhere", t / "run"), "no store at"),
        (lambda s, t, w: train(versioned(s, t), t / "run"), "format version 0"),
        (lambda s, t, w: train(truncated(s, t), t / "run"), "truncated"),
        (lambda s, t, w: [*train(s, t / "run"), "--config.model.heads=5"], "model.heads=5 does not divide"),
        (lambda s, t, w: [*train(s, t / "run"), "--config.data.normalization=robust"], "data.normalization='robust'"),
        (lambda s, t, w: [*train(s, t / "run"), "--config.text.encoder=gpt"], "text encoder 'gpt' is no folder"),
        (lambda s, t, w: [*train(s, t / "run"), "--config.data.min_positives=9999"], "no entity"),
        (lambda s, t, w: [*train(s, w), "--config.model.depth=3"], "model.depth was 2, is 3"),
    ],
)
def test_mistakes_end_in_one_line(demo_store, tmp_path, finished, arguments, message):
    done = run(*arguments(demo_store, tmp_path, finished[0]))
    assert done.returncode not in (0, None)
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr


def test_a_batch_that_the_devices_do_not_divide(demo_store, tmp_path):
    done = run(*train(demo_store, tmp_path), XLA_FLAGS="--xla_force_host_platform_device_count=3")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["error: train.batch_size=8 is not divisible by 3 devices; try 9"]


def dry(workdir, *more):
    store = workdir / "no store"
    return run("--config=configs/vit_tiny.py:mimic", "--dry_run", f"--config.data.store={store}",
               f"--workdir={workdir / 'run'}", *SMALL, *more)  # fmt: skip


def test_a_dry_run_needs_no_store_and_writes_nothing(tmp_path):
    done = dry(
        tmp_path, "--devices=4", "--device_kind=v5e", "--config.text.trainable_layers=1", "--config.text.window=16"
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert not list(tmp_path.iterdir())
    said = done.stdout
    assert "On paper, nothing was run: vit_tiny:mimic on 4 x Google TPU v5e 16 GB, 8 ECGs a step, 2 a device" in said
    for line in ("compute ", "memory ", "collectives  all-reduce ", "a step ", "assumed ", "figures "):
        assert f"\n{line}" in said
    # MedCPT's sizes, without its pooler, beside a model of a few ten thousand parameters.
    layer = 4 * (768**2 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    bert = (30522 + 512 + 2 + 2) * 768 + 12 * layer
    parameters = int(re.search(r"parameters +([\d,]+)", said)[1].replace(",", ""))
    assert 0 < parameters - bert < 1e5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device_kind=b200"], "--device_kind='b200' is not one of h100, h200, a100, v5e"),
        (["--devices=3"], "train.batch_size=8 is not divisible by 3 devices; try 9"),
        (["--devices=0"], "flag --devices=0: 0 is not a positive integer"),
    ],
)
def test_a_dry_run_that_cannot_be(tmp_path, arguments, message):
    done = dry(tmp_path, *arguments)
    assert done.returncode not in (0, None)
    assert done.stderr.splitlines() == [f"error: {message}"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["train", "prepare"])
def test_help(module):
    done = run("--help", module=module)
    assert done.returncode == 0
    assert f"python -m kmerl_jax.{module}" in done.stdout
    assert "--debug" in done.stdout
    assert not done.stderr


def test_a_sigterm_before_the_first_step(demo_store, tmp_path):
    process = subprocess.Popen(
        command(*train(demo_store, tmp_path / "run")),
        cwd=REPOSITORY,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "store" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143
    assert said == "terminated; the same command goes on where it was\n"


def test_debug_shows_the_traceback(tmp_path):
    done = run(*train(tmp_path / "nowhere", tmp_path / "run"), "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "no store at" in done.stderr
