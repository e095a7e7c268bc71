"""The training loop in this process: one seed gives one run."""

import dataclasses
import errno
import json
import os
import signal
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from kmerl_jax.cohorts import store
from kmerl_jax.cohorts.store import Store
from kmerl_jax.text.lexical import LexicalEncoder
from kmerl_jax.training import checkpoints, loop, pairs, sharding, stream
from kmerl_jax.training.methods import build_objective
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.preemption import Preempted
from kmerl_jax.training.texts import make_texts


@pytest.fixture
def fit(small_config, tmp_path):
    """Trains in a folder of that name, and returns the lines of metrics.jsonl and the final state."""
    small_config.model.depth = small_config.masking.max_leads = 1  # nearly all of these tests' time is compilation
    encoder = LexicalEncoder()
    asked, train, val = pairs.load(Store(small_config.data.store), encoder, small_config)
    texts = make_texts(encoder, asked.entities)

    def run(name, devices=1, objective=None, validated=False, **changes):
        config = small_config.copy_and_resolve_references()
        config.update_from_flattened_dict(changes)
        objective = objective or build_objective(config, texts)
        mesh = sharding.make_mesh(config.mesh.fsdp, jax.devices()[:devices])
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        state = loop.fit(objective, train, val if validated else None, config, config.train.steps, folder, mesh)
        return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()], state

    return run


def losses(lines, split=None):
    return {line["step"]: line["loss"] for line in lines if line.get("split") == split}


def test_the_loss_falls_and_everything_is_written(fit, tmp_path):
    changes = {"train.steps": 60, "train.validate_every": 30, "optimizer.warmup_steps": 5}
    lines, state = fit("a", validated=True, **changes)
    train, val = losses(lines), losses(lines, "val")
    assert list(train) == list(range(1, 61))
    assert list(val) == [30, 60]
    assert np.mean([train[n] for n in range(51, 61)]) < 0.9 * train[1]
    fields = {"loss_contrast", "loss_entities", "retrieval", "learning_rate", "gradient_norm", "ecg_per_s"}
    assert fields | {"input_wait_s"} <= set(lines[0])
    np.testing.assert_allclose([lines[0]["learning_rate"], lines[5]["learning_rate"]], [0, 5e-4], atol=1e-9)
    assert int(state["step"]) == 60
    assert list((tmp_path / "a" / "tensorboard").glob("events.*"))


def test_one_seed_is_one_run_and_another_is_another(fit):
    first, again, other = fit("a")[0], fit("b")[0], fit("c", seed=1)[0]
    assert losses(first) == losses(again)
    assert losses(first) != losses(other)


class Interrupted(Exception):
    pass


def test_an_interrupted_run_goes_on_to_the_bit(fit, monkeypatch):
    whole, final = fit("whole", validated=True)
    real = loop._Loop._train

    def stop_at_five(self, step, *arguments):
        if step == 5:
            raise Interrupted
        real(self, step, *arguments)

    monkeypatch.setattr(loop._Loop, "_train", stop_at_five)
    with pytest.raises(Interrupted):
        fit("killed", validated=True)
    monkeypatch.setattr(loop._Loop, "_train", real)
    lines, resumed = fit("killed", validated=True)
    assert losses(lines) == losses(whole)
    assert losses(lines, "val") == losses(whole, "val")
    assert [line["step"] for line in lines if "split" not in line] == [1, 2, 3, 4, 5, 6]
    jax.tree.map(np.testing.assert_array_equal, resumed, final)


def test_devices_and_workers_change_only_the_rounding(fit, monkeypatch):
    seen = {}
    real = stream.Stream.__iter__

    def watched(self):
        for batch in real(self):
            seen.setdefault(name, []).append((batch["index"].tolist(), batch["entry"].tolist()))
            yield batch

    monkeypatch.setattr(stream.Stream, "__iter__", watched)
    runs, masks = {}, {}
    for name, options in {
        "one": {},
        "fsdp": {"devices": 8, "mesh.fsdp": 4},
        "parts": {"devices": 2, "train.microbatches": 2},
        "workers": {"data.workers": 2},
    }.items():
        lines, _ = fit(name, **{"optimizer.name": "muon"}, **options)  # iterates on what was rounded
        runs[name], masks[name] = losses(lines), [line["masks"] for line in lines if "split" not in line]
    for name in ("fsdp", "parts", "workers"):
        assert seen[name] == seen["one"]
        assert masks[name] == masks["one"]
        np.testing.assert_allclose(list(runs[name].values()), list(runs["one"].values()), rtol=2e-5)
    assert runs["workers"] == runs["one"]


def test_a_run_resumes_on_another_number_of_devices(fit):
    whole = losses(fit("whole")[0])
    fit("moved", **{"train.steps": 4})
    # A shorter run has another schedule, so only the stream and the state's layout are compared here.
    lines, state = fit("moved", devices=8)
    assert list(losses(lines)) == list(whole)
    assert int(state["step"]) == 6


def test_any_number_of_present_leads_shares_one_compiled_step(fit, small_config, monkeypatch):
    """Records with 1 to 12 leads and 1 to 50 segments, in one stream, compile once."""
    real = store.Entries.__getitem__

    def partial(self, entry):
        rng = np.random.default_rng(entry)
        presence = np.zeros(12, bool)
        presence[rng.choice(12, rng.integers(1, 13), replace=False)] = True
        return dataclasses.replace(real(self, entry), presence=presence, segments=int(rng.integers(1, 51)))

    monkeypatch.setattr(store.Entries, "__getitem__", partial)
    lines, _ = fit("partial", **{"masking.max_leads": 3})  # a compiled step takes no other shapes
    assert all(np.isfinite(list(losses(lines).values())))


class Bad(Objective):
    """An objective whose loss is NaN from a given update on."""

    def __init__(self, at):
        self.at = at

    def init(self, key, batch):
        return {"w": jax.numpy.zeros(())}

    def outputs(self, params, batch, key, train):
        bad = jax.numpy.where(batch["index"] >= 8 * (self.at - 1), jax.numpy.nan, 1.0)
        return {"error": (params["w"] - 1) ** 2 * bad}

    def combine(self, outputs, batch):
        loss = outputs["error"].mean()
        return loss, {"loss_contrast": loss, "loss_entities": loss, "retrieval": loss}


def test_a_non_finite_update_stops_the_run_and_nothing_is_saved_past_it(fit, tmp_path):
    with pytest.raises(ValueError, match=r"step 4: the loss \(nan\).* 8 records are in .*nonfinite-step-4\."):
        fit("bad", objective=Bad(4))
    folder = tmp_path / "bad" / "nonfinite-step-4"
    said = json.loads((folder / "records.json").read_text())
    assert said["step"] == 4
    assert said["index"] == list(range(24, 32))
    assert len(said["entries"]) == 8
    with ocp.StandardCheckpointer() as reader:
        before = reader.restore((folder / "state").absolute())
    assert int(before["step"]) == 3
    assert np.isfinite(before["params"]["w"])
    assert checkpoints.steps(tmp_path / "bad" / "checkpoints") == [2]
    lines = [json.loads(line) for line in (tmp_path / "bad" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "split" not in line] == [1, 2, 3]


def test_a_sigterm_stops_after_a_saved_step_and_the_run_goes_on_to_the_bit(fit, monkeypatch, tmp_path):
    whole, final = fit("whole", validated=True)
    real = loop._Loop._train

    def signalled(self, step, *arguments):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, step, *arguments)

    monkeypatch.setattr(loop._Loop, "_train", signalled)
    with pytest.raises(Preempted, match="SIGTERM: stopped after step 4, which is saved"):
        fit("stopped", validated=True)
    assert checkpoints.steps(tmp_path / "stopped" / "checkpoints") == [2, 4]
    monkeypatch.setattr(loop._Loop, "_train", real)
    lines, resumed = fit("stopped", validated=True)
    assert losses(lines) == losses(whole)
    assert losses(lines, "val") == losses(whole, "val")
    jax.tree.map(np.testing.assert_array_equal, resumed, final)


def test_a_sigterm_during_the_last_step_is_not_forgotten(fit, monkeypatch, tmp_path):
    real = loop._Loop._train

    def signalled(self, step, *arguments):
        real(self, step, *arguments)
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop._Loop, "_train", signalled)
    with pytest.raises(Preempted, match="stopped after the last step, 6, which is saved"):
        fit("stopped")
    assert checkpoints.steps(tmp_path / "stopped" / "checkpoints")[-1] == 6


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(fit, monkeypatch, tmp_path, caplog):
    """The second of three; and the last one, without which the run cannot be said to be done."""
    real = checkpoints._write_seal
    failing = {"4"}

    def seal(path):
        if path.name in failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path)

    monkeypatch.setattr(checkpoints, "_write_seal", seal)
    whole = losses(fit("whole")[0])
    assert "the checkpoint of step 4 could not be written" in caplog.text
    assert checkpoints.steps(tmp_path / "whole" / "checkpoints") == [2, 6]
    with pytest.raises(ValueError, match=r"step 4 could not be written .*No space left on device.*; make room"):
        fit("stopping", **{"checkpoint.on_failure": "stop"})
    failing.add("6")
    with pytest.raises(ValueError, match="step 6, the last one, has no checkpoint; make room"):
        fit("full")
    failing.clear()
    lines, _ = fit("full")
    assert losses(lines) == whole


def test_records_that_cannot_be_read_are_counted_and_named(fit, monkeypatch, caplog):
    real = store.Entries.__getitem__
    bad = set(range(0, 150, 10))

    def damaged(self, entry):
        if entry in bad:
            raise ValueError(f"entry {entry} of the store cannot be read (hash mismatch)")
        return real(self, entry)

    monkeypatch.setattr(store.Entries, "__getitem__", damaged)
    with pytest.raises(ValueError, match=r"entry \d+0? of the store cannot be read .*--config.data.unreadable=skip"):
        fit("stopping")
    lines, _ = fit("skipping", **{"data.unreadable": "skip"})
    count = sum(line["unreadable"] for line in lines if "split" not in line)
    named = {record.args or record.message for record in caplog.records if "it is skipped" in record.message}
    assert count == len(named) > 0  # six steps: no record comes twice


def test_a_stalled_input_is_named(fit, monkeypatch, caplog):
    """Reading stops in the fourth batch, until the warning is there."""
    real = store.Entries.__getitem__
    read = []

    def warned():
        return any("input has taken" in line and "reading entry" in line for line in caplog.messages)

    def slow(self, entry):
        read.append(entry)
        if len(read) > 40:  # the first batch is read twice
            end = time.monotonic() + 30
            while not warned() and time.monotonic() < end:
                time.sleep(0.05)
        return real(self, entry)

    monkeypatch.setattr(store.Entries, "__getitem__", slow)
    fit("stalled", **{"train.stall_s": 0.4, "train.validate_every": 100})
    assert warned()
