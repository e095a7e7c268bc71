"""PyTorch's part of the benchmark: who takes part, and with what. How fast anything is, is not tested."""

import builtins

import jax
import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.models.bert import BertSizes
from kmerl_jax.text.lexical import LexicalEncoder
from kmerl_jax.throughput import inference, peers, synthetic
from kmerl_jax.throughput.result import Options
from kmerl_jax.training import pairs, plan, sharding


@pytest.fixture
def config(small_config, monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    torch.set_num_threads(1)  # what is so small is slowed by threads, and tests run side by side
    monkeypatch.setattr(plan, "MEDCPT", BertSizes(500, 32, 1, 2, 64, 256, 2, "gelu", 1e-12))
    small_config.model.depth = small_config.masking.max_leads = 1
    small_config.text.window = 64
    small_config.train.batch_size = 4
    return small_config


def take_a_turn(contenders) -> list[tuple[str, int]]:
    for contender in contenders:
        contender.run(1)
    return [(contender.name, contender.items) for contender in contenders]


def test_steps(config, caplog):
    caplog.set_level("WARNING", logger="kmerl_jax")
    names = ["PyTorch, our tokens", "PyTorch, padded tokens", "MERL as published", "MERL, texts embedded before"]
    assert take_a_turn(peers.steps(config, 9, forms=(None,))) == [(name, 4) for name in names]
    assert caplog.messages == []
    config.optimizer.name = "muon"
    peers.steps(config, 9, forms=())
    assert caplog.messages == ["PyTorch's steps are of AdamW, ours of muon"]


def test_what_does_not_compile_is_left_out(config, monkeypatch, caplog):
    torch = pytest.importorskip("torch")

    def compiled(module, **how):
        def fail(batch):
            raise RuntimeError("no C++ compiler\nand much more")

        return fail if type(module).__name__ == "MerlObjective" else module

    monkeypatch.setattr(torch, "compile", compiled)
    caplog.set_level("WARNING", logger="kmerl_jax")
    found = peers.steps(config, 9, forms=("default",))
    assert [one.name for one in found] == ["PyTorch, our tokens, compiled", "PyTorch, padded tokens, compiled"]
    assert caplog.messages == [
        f"left out: {name}, compiled: torch.compile failed (RuntimeError: no C++ compiler)"
        for name in ("MERL as published", "MERL, texts embedded before")
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("text.trainable_layers", 1, "frozen texts only"), ("data.normalization", "zscore", "only mv tokens")],
)
def test_steps_that_the_reference_does_not_know(config, field, value, message):
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        peers.steps(config, 9, forms=(None,))


def test_answers_are_raced_with_ours(config, monkeypatch):
    real = sharding.make_mesh
    monkeypatch.setattr(sharding, "make_mesh", lambda: real(devices=jax.devices()[:1]))
    monkeypatch.setattr(inference, "LEADS", {12: inference.LEADS[12], 1: inference.LEADS[1]})
    config.evaluation.batch_size = 1
    result = inference.measure(config, Options(queries=9, seconds=0.01, repeats=2, peer=True))
    sizes = [("kmerl_jax, 12 leads", 1), ("PyTorch, 12 leads", 1), ("kmerl_jax, 1 lead", 12), ("PyTorch, 1 lead", 12)]
    assert [(one.name, one.items) for one in result.timed] == sizes
    p50 = {name: one["p50"] for name, one in result.facts["latency_s"].items()}
    pairs = [(1, 0), (3, 2), (0, 2)]
    expected = {f"{sizes[n][0]} / {sizes[m][0]}": p50[sizes[n][0]] / p50[sizes[m][0]] for n, m in pairs}
    assert result.facts["latency_ratio"] == expected


def test_answers_in_another_unit(config):
    config.data.normalization = "zscore"
    with pytest.raises(ValueError, match="millivolts only"):
        peers.Answers(config, 9)


@pytest.fixture
def examples(config):
    return pairs.load(Store(config.data.store), LexicalEncoder(), config)[1]


def test_inputs(config, examples, tmp_path):
    written = []
    found = peers.inputs(examples, config, tmp_path, lambda *done: written.append(done))
    assert written[-1] == (len(examples.rows), len(examples.rows))
    ways = ("item by item, as MERL", "whole batches")
    names = [f"PyTorch, {way}, {where}" for way in ways for where in ("no worker", "2 worker processes")]
    assert [(one.name, one.items, one.ahead) for one in found] == [
        (name, 4, 4 * (n % 2)) for n, name in enumerate(names)
    ]
    take_a_turn(one for one in found if not one.ahead)  # to start processes takes seconds


def test_inputs_without_room(config, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(peers.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10**6})())
    with pytest.raises(ValueError, match=r"GB of arrays, .* has room for 0.001 GB; TMPDIR names"):
        peers.inputs(examples, config, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_texts(config):
    tokens = synthetic.random_tokens(np.random.default_rng(0), 5, 64)[0].tolist()
    assert take_a_turn([peers.texts(config, tokens)]) == [("PyTorch, padded to 64", 5)]


def test_many_devices_are_one_line(config):
    with pytest.raises(ValueError, match=r"races on one device, here are 8 in 1 process\(es\)"):
        peers.check()


def test_without_torch(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name == "torch":
            raise ImportError("No module named 'torch'")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"--peer needs PyTorch .*No module named 'torch'.*requirements-dev.txt"):
        peers.check()
