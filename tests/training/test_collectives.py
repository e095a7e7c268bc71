import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from kmerl_jax.training import collectives, hardware, sharding
from kmerl_jax.training.collectives import Collective

EIGHT = [list(range(8))]


def read(function, *args):
    return collectives.read(jax.jit(function).lower(*args).compile().as_text())


def split(mesh, spec, *shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))


def total(found, kind):
    return sum(one.payload * one.times for one in found if one.kind == kind)


def loss(params, x):
    hidden = jnp.tanh(x @ params["up"])
    out = hidden @ params["down"]
    return jax.nn.logsumexp(out @ out.T, axis=1).sum()


def test_data_parallelism_sums_gradients_and_gathers_what_is_compared():
    mesh = sharding.make_mesh()
    params = {"up": split(mesh, P(), 64, 256), "down": split(mesh, P(), 256, 16)}
    found = read(jax.grad(loss), params, split(mesh, P(("data", "fsdp")), 128, 64))
    gradients, outputs = 4 * (64 * 256 + 256 * 16), 4 * 128 * 16
    # Every row of the outputs is gathered; what each device then finds of their gradient is summed.
    assert total(found, "all-gather") == outputs
    assert total(found, "all-reduce") == pytest.approx(gradients + outputs, rel=0.001)
    sent = sum(sum(one.sent(8)) for one in found)
    assert sent == pytest.approx(7 / 8 * (outputs + 2 * (gradients + outputs)), rel=0.001)


def test_split_parameters_are_gathered():
    mesh = sharding.make_mesh(fsdp=8)
    params = {"up": split(mesh, P(None, "fsdp"), 64, 256), "down": split(mesh, P("fsdp"), 256, 16)}
    found = read(loss, params, split(mesh, P(("data", "fsdp")), 1024, 64))
    assert total(found, "all-gather") >= 4 * (64 * 256 + 256 * 16)
    assert not total(found, "reduce-scatter")


def mapped(function):
    mesh = jax.sharding.Mesh(jax.devices(), ("i",))
    args = jax.ShapeDtypeStruct((64, 32), jnp.float32)
    return read(jax.shard_map(function, mesh=mesh, in_specs=P("i"), out_specs=P("i"), check_vma=False), args)


@pytest.mark.parametrize(
    ("function", "kind", "payload", "sent"),
    [
        # A device has 8 x 32 numbers: 1 KiB.
        (lambda x: jax.lax.psum(x, "i"), "all-reduce", 1024, 2 * 7 / 8 * 1024),
        (lambda x: jax.lax.all_gather(x, "i", tiled=True), "all-gather", 8 * 1024, 7 * 1024),
        (lambda x: jax.lax.psum_scatter(x, "i", tiled=True), "reduce-scatter", 1024, 7 / 8 * 1024),
        (lambda x: jax.lax.all_to_all(x, "i", 0, 1, tiled=True), "all-to-all", 1024, 7 / 8 * 1024),
        (lambda x: jax.lax.ppermute(x, "i", [(n, (n + 1) % 8) for n in range(8)]), "collective-permute", 1024, 1024),
    ],
)
def test_each_kind(function, kind, payload, sent):
    (one,) = mapped(function)
    assert (one.kind, one.payload, one.times) == (kind, payload, 1)
    assert sum(one.sent(8)) == sum(one.sent(4)) == sent


def test_a_loop_counts_as_often_as_it_turns():
    def loop(x):
        return jax.lax.scan(lambda x, _: (jnp.sin(jax.lax.psum(x, "i")), None), x, None, length=5)[0]

    (one,) = mapped(loop)
    assert (one.kind, one.payload, one.times) == ("all-reduce", 1024, 5)
    assert sum(one.sent(8)) == 5 * 2 * 7 / 8 * 1024


def test_sums_of_16_bits_count_as_such():
    def half(x):
        return jax.lax.psum(x.astype(jnp.bfloat16), "i").astype(jnp.float32)

    (one,) = mapped(half)
    assert one.payload == 512


def program(line, *others):
    return "\n".join(
        ["HloModule m, num_partitions=8", *others, "ENTRY %main (p: f32[8]) -> f32[8] {", f"  {line}", "}"]
    )


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("{}", EIGHT),
        ("{{0,1,2,3},{4,5,6,7}}", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("[2,4]<=[8]", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("[4,2]<=[2,4]T(1,0)", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("mesh['a'=8,'b'=1] {'a'}", EIGHT),
        ("mesh['a'=2,'b'=4] {'a'}", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b','a'}", [[0, 1, 2, 3, 4, 5, 6, 7]]),
    ],
)
def test_notations_of_groups(groups, expected):
    line = f"%r = f32[10,3]{{1,0}} all-reduce(%x), replica_groups={groups}, to_apply=%add"
    (one,) = collectives.read(program(line))
    np.testing.assert_array_equal(one.groups, expected)
    assert one.payload == 120


@pytest.mark.parametrize(
    ("line", "payload"),
    [
        ("%r = (f32[4]{0}, bf16[2,3]{1,0}) all-reduce-start(f32[4]{0} %x, bf16[2,3]{1,0} %y), replica_groups={}", 28),
        ("%r = (f32[4]{0}, f32[32]{0}) all-gather-start(f32[4]{0} %x), replica_groups={}, dimensions={0}", 128),
        ("%r = f32[4]{0} all-reduce-done((f32[4]{0}) %x)", None),
        ("%r = pred[16]{0} all-gather(pred[2]{0} %x), replica_groups={}, dimensions={0}", 16),
        ("%r = f32[2]{0} reduce-scatter(%x), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add", 32),
    ],
)
def test_asynchronous_ones_count_once(line, payload):
    assert [one.payload for one in collectives.read(program(line))] == ([] if payload is None else [payload])


def test_rings_on_nodes_and_between_them():
    sixteen = np.arange(16)[None]
    # On two nodes of eight: 7/8 of it within, then an eighth is exchanged with one other device.
    assert Collective("all-gather", 1600, sixteen).sent(8) == (1400, 100)
    assert Collective("all-reduce", 1600, sixteen, 2).sent(8) == (5600, 400)
    assert Collective("all-gather", 1600, sixteen).sent(1) == (0, 1500)
    # Pairs across nodes have nobody to share with.
    pairs = np.arange(16).reshape(2, 8).T
    assert Collective("all-gather", 1600, pairs).sent(8) == (0, 800)
    assert Collective("all-to-all", 1600, sixteen).sent(8) == (700, 800)
    assert Collective("collective-permute", 100, np.array([[0, 1], [7, 8]])).sent(8) == (0, 100)
    h100 = hardware.load("h100")
    assert Collective("all-gather", 1600, sixteen).seconds(h100) == pytest.approx(1400 / 450e9 + 100 / 50e9)


def test_what_cannot_be_read():
    reduce = "all-reduce(%x), replica_groups={{0,1}}, to_apply=%add"
    with pytest.raises(ValueError, match="unknown notation: other"):
        collectives.read(program("%r = f32[4]{0} all-reduce(%x), replica_groups=other, to_apply=%add"))
    body = ["%body (p: f32[4]) -> f32[4] {", f"  %r = f32[4]{{0}} {reduce}", "}"]
    loop = "%w = f32[4]{0} while(%x), condition=%c, body=%body"
    with pytest.raises(ValueError, match="a loop of unknown length"):
        collectives.read(program(loop, *body))
    known = loop + ', backend_config={"known_trip_count":{"n":"3"}}'
    assert [one.times for one in collectives.read(program(known, *body))] == [3]
