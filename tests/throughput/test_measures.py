"""What each benchmark reports. How fast anything is, is not tested."""

import jax
import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.models.bert import BertSizes
from kmerl_jax.text.lexical import LexicalEncoder
from kmerl_jax.throughput import end_to_end, inference, input_stream, machine, prediction, step, synthetic, text, work
from kmerl_jax.throughput.result import Options
from kmerl_jax.training import pairs, plan, sharding

OPTIONS = Options(queries=9, seconds=0.02, repeats=2, peer=False)


@pytest.fixture
def config(small_config, monkeypatch):
    monkeypatch.setitem(machine._SIDE, "cpu", 64)
    real = sharding.make_mesh
    monkeypatch.setattr(sharding, "make_mesh", lambda fsdp=1, devices=None: real(fsdp, devices or jax.devices()[:2]))
    monkeypatch.setattr(plan, "MEDCPT", BertSizes(500, 32, 2, 2, 64, 64, 2, "gelu", 1e-12))
    small_config.model.depth = small_config.masking.max_leads = 1
    small_config.text.window = 64
    return small_config


def test_the_step_is_held_against_matrix_products(config):
    result = step.measure(config, OPTIONS)
    (ours,), facts = result.timed, result.facts
    useful = sum(part.step for part in work.of_training(config, 9, plan.MEDCPT, plan.NAME_TOKENS).values())
    assert sum(part["step"] for part in facts["flops_per_ecg"].values()) == useful
    assert facts["ecg_per_s_per_device"] == ours.rate / 2
    assert facts["model_flop_utilisation"] == pytest.approx(ours.rate * useful / (2 * facts["matrix_flops_per_s"]))
    assert facts["compile_s"] > 0
    assert facts["peak_memory_bytes"] > 1e8
    assert result.title.endswith("8 ECGs a step, 9 queries, 2 x cpu")


def test_the_input_and_the_whole(config):
    encoder = LexicalEncoder()
    asked, examples, _ = pairs.load(Store(config.data.store), encoder, config)
    alone = input_stream.measure(config, examples, OPTIONS)
    assert alone.facts["bytes_seen_per_ecg"] == 38 * 100 * 2
    batch = synthetic.batch(config, len(asked.entities)) | {"text": examples.texts["text"][:8]}
    assert alone.facts["bytes_per_ecg"] == work.bytes_to_device(batch)
    assert alone.timed[0].items == 8
    whole = end_to_end.measure(config, examples, asked.entities, encoder, OPTIONS)
    names = ["kmerl_jax", "kmerl_jax, the step alone", "kmerl_jax, the input alone"]
    assert [one.name for one in whole.timed] == names
    assert whole.facts["steps"] >= 2
    assert 0 <= whole.facts["input_wait_share"] < 1


def test_answers_by_the_number_of_leads(config):
    config.evaluation.batch_size = 2
    result = inference.measure(config, OPTIONS)
    sizes = {"kmerl_jax, 12 leads": 4, "kmerl_jax, 6 leads": 8, "kmerl_jax, 3 leads": 16, "kmerl_jax, 1 lead": 48}
    assert {one.name: one.items for one in result.timed} == sizes
    assert all(0 < one["p50"] <= one["p95"] for one in result.facts["latency_s"].values())
    assert list(result.facts["gflops_per_ecg"]) == [12, 6, 3, 1]
    p50 = {name: one["p50"] for name, one in result.facts["latency_s"].items()}
    ratio = p50["kmerl_jax, 12 leads"] / p50["kmerl_jax, 1 lead"]
    assert result.facts["latency_ratio"] == {"kmerl_jax, 12 leads / kmerl_jax, 1 lead": ratio}


def test_prediction_from_the_start_and_again(config):
    result = prediction.measure(config, OPTIONS)
    assert [(one.name, one.items) for one in result.timed] == [
        ("another record, once it runs", 1),
        ("the command, from start to end", 1),
    ]
    assert all(one.rate > 0 for one in result.timed)
    assert "9 findings" in result.title


def test_reports_are_embedded_alike_however_they_are_padded(config, monkeypatch):
    embedded = []
    real = text.BatchedBert.__call__

    def call(self, texts):
        embedded.append(real(self, texts))
        return embedded[-1]

    monkeypatch.setattr(text.BatchedBert, "__call__", call)
    result = text.measure(config, Store(config.data.store), OPTIONS)
    assert [one.name for one in result.timed] == ["kmerl_jax", "kmerl_jax, padded to 64"]
    assert [one.items for one in result.timed] == [8, 8]
    for other in embedded[1:]:
        np.testing.assert_allclose(other, embedded[0], atol=1e-5)
    facts = result.facts
    reached = result.timed[0].rate * facts["flops_per_text"] / facts["matrix_flops_per_s"]
    assert facts["model_flop_utilisation"] == pytest.approx(reached / len(jax.local_devices()))
    assert 2 < result.facts["tokens"]["median"] <= result.facts["tokens"]["longest"] <= 64


def test_words_and_marks_are_tokens():
    rng = np.random.default_rng(0)
    lengths = [len(ids) for ids in text.random_tokens(["Sinus rhythm.", "a " * 99], rng, 50)]
    assert lengths == [5, 50]  # and those that begin and end a text; or what fits
