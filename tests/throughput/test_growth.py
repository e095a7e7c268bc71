"""What is said of growth. How cost grows here, is not tested."""

import time

import jax
import numpy as np
import pytest

from configs import vit_base, vit_middle, vit_small, vit_tiny
from kmerl_jax.throughput import growth, machine, picture, work
from kmerl_jax.throughput.result import Options
from kmerl_jax.throughput.timing import Contender
from kmerl_jax.training import plan, sharding
from kmerl_jax.training.stream import Examples

OPTIONS = Options(queries=5, seconds=0.01, repeats=2, peer=False)


@pytest.fixture
def config(small_config, monkeypatch):
    monkeypatch.setitem(machine._SIDE, "cpu", 16)
    monkeypatch.setitem(growth.SIZES, "one head", 64)
    monkeypatch.setattr(growth, "LEADS", (1,))
    real = sharding.make_mesh
    monkeypatch.setattr(sharding, "make_mesh", lambda fsdp=1: real(fsdp, jax.devices()[:1]))
    small_config.model.depth = small_config.masking.max_leads = 1
    return small_config


class FakeStep:
    """A step that fits into memory with four ECGs at a time."""

    devices, memory = 1, 1000

    def __init__(self, config, queries):
        if config.train.batch_size / config.train.microbatches > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")

    def run(self, turns):
        time.sleep(1e-3 * turns)


def test_sizes_are_those_of_the_configs():
    configs = [module.get_config() for module in (vit_tiny, vit_small, vit_middle, vit_base)]
    assert {config.name: config.model.width for config in configs} == growth.SIZES
    assert all(config.model.width == growth._HEAD * config.model.heads for config in configs)


def test_a_step_of_a_real_model(config, monkeypatch, tmp_path):
    monkeypatch.setattr(growth, "LEADS", ())
    result = growth.measure(config, [2], [], None, OPTIONS)
    (batch,) = result.facts["batches"]
    assert (batch["batch"], batch["width"], batch["tokens"]) == (2, 32, 38)
    config.train.batch_size = 2
    flops = sum(part.step for part in work.of_training(config, 5, plan.MEDCPT, plan.NAME_TOKENS).values())
    assert batch["flops"] == flops
    assert batch["utilisation"] == pytest.approx(batch["ecg_per_s"] * flops / batch["matrix_flops_per_s"])
    assert 12 * 5000 * 2 * 2 < batch["memory"] < 1e9
    assert f"no store at {config.data.store}" in result.describe()
    picture.draw(result, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def fake(config, monkeypatch):
    monkeypatch.setattr(growth, "Step", FakeStep)
    return config


def test_what_does_not_fit_is_kept_and_taken_in_parts(fake, tmp_path):
    result = growth.measure(fake, [4, 8, 16], ["one head"], None, OPTIONS)
    found = [(one["batch"], one["microbatches"], one["out_of_memory"]) for one in result.facts["batches"]]
    assert found == [(4, 1, False), (8, 1, True), (8, 2, False), (16, 2, True), (16, 4, False)]
    assert [one.name for one in result.timed] == ["batch 4", "batch 8", "batch 16", "one head", "1 lead"]
    (line,) = [line for line in result.lines if line.startswith("batch 16") and "2 parts" in line]
    assert line.endswith("GFLOP an ECG, a batch in 2 parts: out of memory")
    picture.draw(result, tmp_path / "growth.svg")
    text = (tmp_path / "growth.svg").read_text()
    assert "in 4 parts" in text
    assert "no store to read" in text


def test_sizes_and_tokens(fake, monkeypatch):
    monkeypatch.setattr(growth, "LEADS", (1, 12))
    result = growth.measure(fake, [4], ["vit_tiny", "vit_base"], None, OPTIONS)
    assert [one["width"] for one in result.facts["sizes"]] == [192, 768]
    few, many = result.facts["leads"]
    assert (few["tokens"], many["tokens"]) == (38, 456)
    encoder = 32 * (12 * 32 * 418 + 2 * (456**2 - 38**2)) * 6 + 418 * 100 * 32 * 4
    memory = 2 * 418 * 32 * (32 + 5) * 6  # of the query network
    assert many["flops"] - few["flops"] == pytest.approx(encoder + memory)


def test_nothing_fits(fake):
    with pytest.raises(ValueError, match="not even batch 5 fits"):
        growth.measure(fake, [5], [], None, OPTIONS)


def test_other_errors_are_not_of_memory(fake, monkeypatch):
    def broken(config, queries):
        raise jax.errors.JaxRuntimeError("INTERNAL: no kernel")

    monkeypatch.setattr(growth, "Step", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        growth.measure(fake, [4], [], None, OPTIONS)


def test_ever_more_records(fake, monkeypatch):
    read = []

    def contender(name, examples, config):
        assert len(examples.rows) == len(examples.text_id) == len(examples.labels)
        read.append(examples.rows.tolist())
        return Contender(name, config.train.batch_size, lambda turns: time.sleep(1e-3 * turns))

    monkeypatch.setattr(growth.input_stream, "contender", contender)
    rows = np.arange(1000, 1128)
    examples = Examples(None, rows, {}, np.zeros(128, np.int32), np.zeros((128, 3), np.int8))
    result = growth.measure(fake, [4], [], examples, OPTIONS)
    assert [one["records"] for one in result.facts["records"]] == [2, 8, 32, 128]
    assert read[0] == [1000, 1064]
    assert read[-1] == rows.tolist()


def test_unknown_sizes(config):
    with pytest.raises(ValueError, match="no size vit_huge; there are vit_tiny, "):
        growth.measure(config, [4], ["vit_tiny", "vit_huge"], None, OPTIONS)
