"""What a config would need and do on devices that are not here: its training step, compiled but never run.

The step is the one that trains, with its real mesh and shardings, on virtual CPU devices. FLOPs and activations are
counted from shapes, collectives read from the compiled program; times are a roofline on paper, not a measurement.
"""

import copy
import dataclasses
import logging
import math
from collections import Counter
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from kmerl_jax.models.bert import Bert, BertSizes
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SAMPLES
from kmerl_jax.training import collectives, flops, hardware, sharding
from kmerl_jax.training.collectives import Collective
from kmerl_jax.training.hardware import Hardware
from kmerl_jax.training.methods import build_objective, check, product_dtype
from kmerl_jax.training.objective import Objective
from kmerl_jax.training.optimizer import TRAINED, optimizer
from kmerl_jax.training.step import make_step, state_shapes
from kmerl_jax.training.texts import Batch, FrozenTexts, Params, Texts, TrainedTexts

log = logging.getLogger(__name__)

UTILISATION = 0.4
"""Share of the peak FLOP/s that matrix products are taken to reach."""
QUERIES = 277
"""The paper's entities: how many a store gives is not known without it."""
NAME_TOKENS = 16
"""Of the longest name of an entity, about."""
MEDCPT = BertSizes(30522, 768, 12, 12, 3072, 512, 2, "gelu", 1e-12)
"""BERT-base with PubMedBERT's vocabulary."""
# Sums that are combined are named after one of them; apart, each tells whether it is of 16 bits. Code that is never run
# need not be fast.
_COMPILER_OPTIONS = {"xla_disable_hlo_passes": "cpu-all-reduce-combiner", "xla_backend_optimization_level": 0}


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training step on paper. Bytes are of one device.

    Attributes:
        name: of the config and the recipe.
        hardware: the kind of device.
        devices: how many.
        batch_size: ECGs of a step, over all devices.
        microbatches: parts of a batch, one after another.
        dtype: of the matrix products.
        parameters: how many numbers.
        forward_flops: of the loss of a batch, over all devices.
        step_flops: of everything that a step computes, over all devices, the optimiser's products left out.
        update_flops: of the optimiser's matrix products, which every device computes alike.
        weights: bytes.
        optimizer: bytes of the optimiser's state.
        gradients: bytes.
        activations: bytes of what a part's backward pass reads of its forward pass, by JAX's account: compilers keep
            less, since they compute again what is cheap.
        batch: bytes.
        temporaries: bytes that XLA's CPU compiler sets aside for all that is not weights, optimiser state and batch.
        collectives: of a step.
    """

    name: str
    hardware: Hardware
    devices: int
    batch_size: int
    microbatches: int
    dtype: str
    parameters: int
    forward_flops: int
    step_flops: int
    update_flops: int
    weights: int
    optimizer: int
    gradients: int
    activations: int
    batch: int
    temporaries: int
    collectives: tuple[Collective, ...]

    @property
    def held(self) -> int:
        """Bytes of all that a device holds at once, at most."""
        return self.weights + self.optimizer + self.gradients + self.activations + self.batch

    @property
    def fits(self) -> bool:
        """Whether the device has as much memory."""
        return self.held <= self.hardware.memory

    @property
    def compute_s(self) -> float:
        """Seconds of the matrix products, at `UTILISATION`."""
        return (self.step_flops / self.devices + self.update_flops) / (self.hardware.bfloat16 * UTILISATION)

    @property
    def memory_s(self) -> float:
        """Seconds in which all that a device holds is written once and read once, the activations of every part."""
        moved = self.held + (self.microbatches - 1) * self.activations
        return 2 * moved / self.hardware.memory_bandwidth

    @property
    def communication_s(self) -> float:
        """Seconds of the collectives, one after another."""
        return sum(collective.seconds(self.hardware) for collective in self.collectives)

    @property
    def step_s(self) -> float:
        """Seconds of a step: the longer of computing and memory, and then communication."""
        return max(self.compute_s, self.memory_s) + self.communication_s

    @property
    def ecg_per_s(self) -> float:
        """ECGs a second, over all devices."""
        return self.batch_size / self.step_s

    @property
    def communication_share(self) -> float:
        """Share of a step."""
        return self.communication_s / self.step_s


def provide_devices(count: int) -> None:
    """Makes virtual CPU devices of this process; before anything has asked JAX for a device."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", count)


def plan(config, devices: int, kind: str) -> Plan:
    """Compiles a config's training step for devices that are not here.

    Args:
        config: a resolved config; its store is not read.
        devices: how many; as many virtual ones must be there (`provide_devices`).
        kind: of `hardware.toml`.

    Raises:
        ValueError: a config that cannot be, a batch that the devices do not divide, or an unknown kind.
    """
    target = hardware.load(kind)
    if not 1 <= devices <= len(jax.devices()):
        raise ValueError(f"--devices={devices} is not within 1 to {len(jax.devices())}, the virtual devices")
    check(config)
    mesh = sharding.make_mesh(config.mesh.fsdp, jax.devices()[:devices])
    sharding.check_batch_size(config.train.batch_size, mesh, config.train.microbatches)
    config = copy.deepcopy(config)
    if config.train.dtype == "auto":  # what it is there, not here
        config.train.dtype = "bfloat16"

    texts, batch = _texts(config), batch_shapes(config)
    objective = build_objective(config, texts, devices)
    tx = optimizer(config.optimizer, max(config.train.steps, 1), objective.role)
    key = jax.random.key(config.seed)
    state = state_shapes(objective, tx, batch, key, mesh)
    params = state["params"]
    log.info(f"compiling for {devices} virtual devices, which takes a minute or two; nothing is run")
    step = make_step(objective, tx, key, state, mesh, config.train.microbatches).trace(state, batch)
    compiled = step.lower().compile(compiler_options=_COMPILER_OPTIONS)
    forward = jax.make_jaxpr(lambda params, batch: objective.loss(params, batch, key, True))(params, batch)
    update = jax.make_jaxpr(tx.update)(params, state["optimizer"], params)
    # Of a batch in parts, what one part keeps is in memory at a time.
    size = config.train.batch_size // config.train.microbatches
    part = {name: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype) for name, x in batch.items()}
    trained = {name: x for name, x in flatten_dict(params).items() if objective.role(name) == TRAINED}
    return Plan(
        name=f"{config.name}:{config.recipe}",
        hardware=target,
        devices=devices,
        batch_size=config.train.batch_size,
        microbatches=config.train.microbatches,
        dtype=config.train.dtype,
        parameters=sum(x.size for x in jax.tree.leaves(params)),
        forward_flops=flops.count(forward),
        step_flops=flops.count(step.jaxpr) - flops.count(update),
        update_flops=flops.count(update),
        weights=_on_one_device(params),
        optimizer=_on_one_device(state["optimizer"]),
        gradients=_on_one_device(trained),
        activations=activations(lambda shards: build_objective(config, texts, shards), params, part, key, devices),
        batch=sum(_bytes(x) for x in batch.values()) // devices,
        temporaries=compiled.memory_analysis().temp_size_in_bytes,
        collectives=tuple(collectives.read(compiled.as_text())),
    )


def batch_shapes(config) -> Batch:
    """The shapes of a training batch (see `kmerl_jax.training.stream`), for as many entities as the paper asks for."""
    size, layers = config.train.batch_size, config.text.trainable_layers
    tokens = (config.text.window,)
    shapes = {
        "index": ((), jnp.uint32),
        "first": ((), jnp.uint32),
        "entry": ((), jnp.int32),
        "unreadable": ((), jnp.int32),
        "stop": ((), bool),
        "signal": ((len(STANDARD), SAMPLES), jnp.int16),
        "presence": ((len(STANDARD),), bool),
        "segments": ((), jnp.int32),
        "text_id": ((), jnp.int32),
        "labels": ((QUERIES,), jnp.int8),
    } | (
        {"text_tokens": (tokens, jnp.int32), "text_valid": (tokens, bool)}
        if layers
        else {"text": ((MEDCPT.width,), jnp.float32)}
    )
    return {name: jax.ShapeDtypeStruct((size, *shape), dtype) for name, (shape, dtype) in shapes.items()}


def activations(build: Callable[[int], Objective], params: Params, batch: Batch, key: jax.Array, devices: int) -> int:
    """Bytes that the backward pass needs of the forward pass, on each of the devices that the batch is split over.

    They are the residuals of `jax.vjp` that grow with the batch: what does not is weights, in whatever precision.

    Args:
        build: the objective, for a number of devices.
        params: shapes of the parameters.
        batch: shapes of a batch.
        key: for everything random.
        devices: how many.
    """

    def residuals(times: int) -> list[jax.ShapeDtypeStruct]:
        objective = build(times * devices)
        more = {name: jax.ShapeDtypeStruct((times * len(x), *x.shape[1:]), x.dtype) for name, x in batch.items()}

        def pull(params: Params, batch: Batch) -> Callable:
            return jax.vjp(lambda params: objective.loss(params, batch, key, True), params, has_aux=True)[1]

        return jax.tree.leaves(jax.eval_shape(pull, params, more))

    pairs = zip(residuals(1), residuals(2), strict=True)
    return sum(_bytes(one) for one, two in pairs if one.shape != two.shape) // devices


def _texts(config) -> Texts:
    """The text side of a step in shapes: embeddings of BERT's width, or a BERT that learns."""
    if not config.text.trainable_layers:
        return FrozenTexts(np.zeros((QUERIES, MEDCPT.width), np.float32))
    bert = bert_of(config)
    tokens, valid = np.zeros((QUERIES, NAME_TOKENS), np.int32), np.ones((QUERIES, NAME_TOKENS), bool)
    weights = jax.eval_shape(bert.init, jax.random.key(0), tokens, valid)["params"]
    return TrainedTexts(bert, weights, tokens, valid)


def bert_of(config) -> Bert:
    """A BERT of MedCPT's size, as `config.text` wants it.

    Raises:
        ValueError: it has not as many layers to train.
    """
    text, dtype = config.text, product_dtype(config.train.dtype)
    if not 0 <= text.trainable_layers <= MEDCPT.depth:
        raise ValueError(
            f"text.trainable_layers={text.trainable_layers} is not within 0 to {MEDCPT.depth}, the layers of BERT-base"
        )
    return Bert(MEDCPT, text.pooling, text.trainable_layers, text.dropout, dtype, config.train.remat)


def _bytes(x) -> int:
    return x.size * x.dtype.itemsize


def _on_one_device(tree) -> int:
    shards = ((x.sharding.shard_shape(x.shape), x.dtype) for x in jax.tree.leaves(tree))
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in shards)


def describe(plan: Plan) -> str:
    """A plan in words, with what it assumes."""
    target, each = plan.hardware, plan.batch_size // plan.devices
    payload, sent = Counter(), Counter()
    for collective in plan.collectives:
        payload[collective.kind] += collective.payload * collective.times
        sent[collective.kind] += sum(collective.sent(target.node))
    said = [
        f"{kind:<18} {_si(payload[kind])}B; a device sends {_si(sent[kind])}B"
        for kind in collectives.KINDS
        if payload[kind]
    ]
    parts = {
        "weights": plan.weights,
        "optimiser": plan.optimizer,
        "gradients": plan.gradients,
        "activations": plan.activations,
        "batch": plan.batch,
    }
    fits = "" if plan.fits else ": DOES NOT FIT"
    sections = {
        "parameters": [f"{plan.parameters:,}"],
        "compute": [
            f"{_si(plan.step_flops)}FLOP a step in {plan.dtype}, {_si(plan.step_flops / plan.batch_size)}FLOP an ECG; "
            f"the forward pass {_si(plan.forward_flops / plan.batch_size)}FLOP an ECG"
        ],
        "memory": [
            f"{_si(plan.held)}B a device, which has {_si(target.memory)}B{fits}",
            ", ".join(f"{name} {_si(size)}B" for name, size in parts.items()),
            f"XLA's CPU compiler sets aside {_si(plan.temporaries)}B for gradients and activations",
        ],
        "collectives": said or ["none"],
        "a step": [
            f"compute {_ms(plan.compute_s)}, memory {_ms(plan.memory_s)}, communication {_ms(plan.communication_s)}",
            f"{_ms(plan.step_s)}: {float(f'{plan.ecg_per_s:.3g}'):,.0f} ECG/s; "
            f"{plan.communication_share:.1%} is communication",
        ],
        "assumed": [
            f"the longer of products at {UTILISATION:.0%} of bfloat16's peak and all held written and read once;",
            f"then links at full speed, no latency, no overlap; {QUERIES} queries, texts of {MEDCPT.width} numbers",
        ],
        "figures": list(target.sources),
    }
    lines = [
        f"On paper, nothing was run: {plan.name} on {plan.devices:,} x {target.name}, {plan.batch_size:,} ECGs a step, "
        f"{each:,} a device" + (f" in {plan.microbatches} parts" if plan.microbatches > 1 else "")
    ]
    for title, texts in sections.items():
        lines += [f"{name:<12} {text}" for name, text in zip([title, *[""] * len(texts)], texts, strict=False)]
    return "\n".join(lines)


def _si(x: float) -> str:
    """Three digits and a prefix."""
    power = min(max(int(math.log10(x) // 3), 0), 6) if x else 0
    return f"{x / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E'][power]}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
