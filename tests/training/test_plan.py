import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kmerl_jax.cohorts.store import Store
from kmerl_jax.config import base
from kmerl_jax.training import hardware, plan
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.stream import Examples, Stream

B, T, D, P, Q, E, W = 16, 38, 512, 16, 277, 768, 32


def small():
    """One layer each; one lead is visible, so that all records go the same way."""
    config = base("small", "mimic")
    config.model.update(width=D, depth=1, heads=8, projection=P, query_width=W, query_depth=1, query_heads=2)
    config.masking.update(min_leads=1, max_leads=1)
    config.train.batch_size = B
    return config


@pytest.fixture(scope="module")
def planned():
    """Pure data parallelism on eight devices."""
    return plan.plan(small(), 8, "h100")


@pytest.fixture(scope="module")
def split():
    """Parameters over four of the eight; with so many records it is they that move."""
    config = small()
    config.train.batch_size = 2048
    config.mesh.fsdp = 4
    return plan.plan(config, 8, "h100")


def payload(plan, kind):
    return sum(one.payload * one.times for one in plan.collectives if one.kind == kind)


def test_flops_in_closed_form(planned):
    tokens, reports, names = B * T * 100 * D, B * E * P, Q * E * W
    encoder = tokens + B * T * (4 + 2 * 4) * D**2 + 2 * B * T**2 * D
    projectors = B * (D * P + P**2) + reports + B * P**2
    # What is asked is projected once; from there on each ECG has an answer of its own.
    queries = names + Q * W**2 + B * (Q * (1 + 2 * 4) * W**2 + 2 * T * D * W + 2 * Q * T * W + Q * W)
    contrast = retrieval = B**2 * P
    forward = encoder + projectors + queries + contrast + retrieval
    assert planned.forward_flops == 2 * forward
    # Backward goes a product for each factor: signals, reports and names are not learnt, and retrieval is only told.
    assert planned.step_flops == 2 * (3 * forward - tokens - reports - names - 2 * retrieval)
    assert planned.update_flops == 0


def test_memory_in_closed_form(planned):
    embedding = (12 + 50 + 100) * D
    encoder = 4 * (D**2 + D) + 2 * 4 * D**2 + 5 * D + 3 * 2 * D
    projectors = (D + 1 + 2 + P + 1) * P + (E + 1 + 2 + P + 1) * P
    queries = (E + 1 + 2) * W + 2 * (W**2 + W) + 2 * (D * W + W) + 2 * 4 * W**2 + 5 * W + 3 * 2 * W + W + 1
    assert planned.parameters == embedding + encoder + projectors + queries
    assert planned.weights == planned.gradients == 4 * planned.parameters
    assert planned.optimizer == pytest.approx(8 * planned.parameters, abs=64)  # and counters
    assert planned.batch == pytest.approx(B // 8 * (12 * 5000 * 2 + 12 + Q + 4 * E), rel=1e-3)  # and a few numbers
    assert planned.held == planned.activations + planned.batch + 2 * planned.weights + planned.optimizer
    assert planned.fits


def test_gradients_are_summed_in_16_bits(planned):
    # The tokens that are cut from signals, and embeddings, are a few per cent beside them.
    assert payload(planned, "all-reduce") == pytest.approx(2 * planned.parameters, rel=0.06)
    assert payload(planned, "all-gather") < 0.1 * planned.parameters
    assert sum(sum(one.sent(8)) for one in planned.collectives) < 2 * 2 * planned.parameters


def test_fsdp_holds_less_and_says_more(planned, split):
    assert split.parameters == planned.parameters
    large = 2 * 4 * D**2  # only the MLP's matrices are large enough to be worth it
    assert split.weights == split.gradients == planned.weights - 4 * large * 3 // 4
    assert split.optimizer == planned.optimizer - 8 * large * 3 // 4
    assert payload(split, "all-gather") >= 2 * large


def test_times_are_a_roofline(planned):
    h100 = hardware.load("h100")
    assert planned.compute_s == pytest.approx(planned.step_flops / 8 / (0.4 * h100.bfloat16))
    assert planned.memory_s == pytest.approx(2 * planned.held / h100.memory_bandwidth)
    assert planned.memory_s > planned.compute_s  # few products and many bytes
    assert planned.step_s == planned.memory_s + planned.communication_s
    assert planned.ecg_per_s == B / planned.step_s
    busy = dataclasses.replace(planned, step_flops=10**12, update_flops=10**12)
    assert busy.compute_s == pytest.approx((10**12 / 8 + 10**12) / (0.4 * h100.bfloat16))
    assert busy.step_s == busy.compute_s + planned.communication_s
    slow = dataclasses.replace(planned, hardware=dataclasses.replace(h100, node=1))
    assert slow.communication_s == pytest.approx(9 * planned.communication_s)
    assert slow.communication_share == slow.communication_s / slow.step_s


def test_it_says_what_it_is(planned):
    said = plan.describe(planned)
    assert said.startswith(
        "On paper, nothing was run: small:mimic on 8 x NVIDIA H100 SXM 80 GB, 16 ECGs a step, 2 a dev"
    )
    assert f"{planned.parameters:,}" in said
    for words in (
        "all-reduce",
        "40% of bfloat16's peak",
        "277 queries",
        "XLA's CPU compiler",
        "https://www.nvidia.com",
    ):
        assert words in said
    assert "DOES NOT FIT" not in said
    assert "80 GB: DOES NOT FIT" in plan.describe(dataclasses.replace(planned, activations=81 * 10**9))
    assert max(map(len, said.splitlines())) <= 120
    assert "none" in plan.describe(dataclasses.replace(planned, collectives=()))


def test_parts_and_recomputation_take_less_memory_and_more_work(planned):
    config = small()
    config.train.microbatches = 2
    config.train.remat = True
    parts = plan.plan(config, 8, "h100")
    assert parts.activations < planned.activations / 2
    # The outputs a second time for the parts, and the layers once more in the backward pass.
    assert 4 / 3 < parts.step_flops / planned.step_flops < 5 / 3
    assert (parts.parameters, parts.batch) == (planned.parameters, planned.batch)
    assert parts.memory_s == 2 * (parts.held + parts.activations) / parts.hardware.memory_bandwidth
    assert "2 a device in 2 parts" in plan.describe(parts)


class Mlp(Objective):
    """Two layers, without a bias."""

    def loss(self, params, batch, key, train):
        return (jnp.sin(batch["x"] @ params["up"]) @ params["down"]).sum(), {}


@pytest.mark.parametrize(("dtype", "size"), [(jnp.float32, 4), (jnp.bfloat16, 2)])
def test_activations_counted_by_hand(dtype, size):
    shape = jax.ShapeDtypeStruct
    params = {"up": shape((32, 48), dtype), "down": shape((48, 8), dtype)}
    batch = {"x": shape((64, 32), dtype)}
    # x for the gradient of the first matrix, the cosine, the sine for that of the second; and not the second matrix.
    kept = plan.activations(lambda devices: Mlp(), params, batch, jax.random.key(0), 4)
    assert kept == 64 // 4 * (32 + 48 + 48) * size


def test_the_batch_is_what_the_stream_gives(demo_store):
    config = small()
    entries, text = Store(demo_store).entries, {"text": np.zeros((1, E), np.float32)}
    examples = Examples(entries, np.arange(20), text, np.zeros(20, np.int32), np.zeros((20, Q), np.int8))
    given = next(iter(Stream(examples, B, 0))) | {"stop": np.zeros(B, bool)}  # which the loop adds
    assert {name: (x.shape, x.dtype) for name, x in given.items()} == {
        name: (x.shape, x.dtype) for name, x in plan.batch_shapes(config).items()
    }
    config.text.trainable_layers, config.text.window = 1, 64
    assert plan.batch_shapes(config)["text_tokens"].shape == (B, 64)


@pytest.mark.parametrize(
    ("change", "devices", "kind", "message"),
    [
        ({}, 8, "b200", "--device_kind='b200' is not one of h100, h200, a100, v5e"),
        ({}, 3, "h100", "train.batch_size=16 is not divisible by 3 devices; try 15"),
        ({}, 9, "h100", "--devices=9 is not within 1 to 8"),
        ({"mesh.fsdp": 3}, 8, "h100", "mesh.fsdp=3 does not divide 8 devices"),
        ({"model.heads": 5}, 8, "h100", "model.heads=5 does not divide"),
        ({"text.trainable_layers": 13}, 8, "h100", "text.trainable_layers=13 is not within 0 to 12"),
    ],
)
def test_what_cannot_be_planned(change, devices, kind, message):
    config = small()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        plan.plan(config, devices, kind)


@pytest.mark.parametrize("kind", ["h100", "h200", "a100", "v5e"])
def test_figures_are_plausible_and_have_sources(kind):
    found = hardware.load(kind)
    assert 1e14 < found.bfloat16 < 1e15
    assert 1e10 < found.memory < found.memory_bandwidth < 1e13
    assert found.network_bandwidth < found.node_bandwidth < found.memory_bandwidth
    assert found.sources
    assert all(source.startswith("https://") for source in found.sources)
