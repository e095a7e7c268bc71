"""How cost grows: of the step with its batch, with the model's size and with tokens; of the input with records."""

import copy
import dataclasses
import logging
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from kmerl_jax.throughput import input_stream, machine, work
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.step import Step
from kmerl_jax.throughput.timing import Contender, Timed, race
from kmerl_jax.training import methods, plan, sharding
from kmerl_jax.training.methods import product_dtype
from kmerl_jax.training.stream import Examples

log = logging.getLogger(__name__)

SIZES = {"vit_tiny": 192, "vit_small": 384, "vit_middle": 512, "vit_base": 768}
"""Widths of the encoders in configs/."""
LEADS = (1, 2, 3, 6, 12)
"""How many leads are visible."""
_BATCHES = {"cpu": (8, 16, 32, 64), "gpu": (512, 1024, 2048, 4096, 8192), "tpu": (512, 1024, 2048, 4096, 8192)}
_SHARES = (64, 16, 4, 1)  # one in so many records is read
_HEAD = 64  # width of a head of the encoder, of whatever size
_MOST_PARTS = 32  # of a batch that does not fit


@dataclasses.dataclass(frozen=True)
class Point:
    """A training step of some size.

    Attributes:
        name: what is particular about it.
        batch: ECGs a step.
        microbatches: parts in which they are taken.
        width: of the encoder.
        tokens: visible ones of an ECG, on average.
        flops: of an ECG, useful ones.
        timed: what was measured; None if memory did not suffice.
        matrix_flops_per_s: of plain matrix products on a device, measured in turn with the step.
        utilisation: the step's useful FLOPs a second over those of the products.
        memory: bytes of a device that the compiled step sets aside.
    """

    name: str
    batch: int
    microbatches: int
    width: int
    tokens: float
    flops: float
    timed: Timed | None = None
    matrix_flops_per_s: float | None = None
    utilisation: float | None = None
    memory: int | None = None

    def describe(self) -> str:
        """Everything but the rate, in a line."""
        size = f"{self.name:<14} {self.tokens:.0f} tokens, {self.flops / 1e9:.3g} GFLOP an ECG"
        if self.microbatches > 1:
            size += f", a batch in {self.microbatches} parts"
        if not self.timed:
            return f"{size}: out of memory"
        return f"{size}: {1e3 / self.timed.rate:.3g} ms, utilisation {self.utilisation:.1%}, {self.memory / 1e9:.3g} GB"

    def facts(self) -> dict:
        """As JSON values."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        timed = found.pop("timed")
        return found | {"out_of_memory": not timed} | (_rates(timed) if timed else {})


def measure(
    config, batches: Sequence[int] | None, sizes: Sequence[str], examples: Examples | None, options: Options
) -> Result:
    """Times steps of several batches, sizes and numbers of leads, one after another, and the input of many records.

    Args:
        config: a resolved config.
        batches: ECGs a step, the smallest first: everything else is measured with that one. None: as suits the device.
        sizes: of the encoder, of `SIZES`.
        examples: the training records; without them the input is left out.
        options: how.

    Raises:
        ValueError: a batch that the devices do not divide, an unknown size, or another method than K-MERL.
    """
    if config.method != "kmerl":
        raise ValueError("--what=growth is of K-MERL's sizes and tokens: a config of another method has --what=step")
    mesh = sharding.make_mesh(config.mesh.fsdp)
    batches = batches or _BATCHES[jax.default_backend()]
    for batch in batches:
        sharding.check_batch_size(batch, mesh, config.train.microbatches)
    if unknown := set(sizes) - set(SIZES):
        raise ValueError(f"no size {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
    small = _with(config, "train.batch_size", batches[0])
    series = {"batches": [], "sizes": [], "leads": []}
    parts = config.train.microbatches
    for batch in batches:  # what did not fit in so many parts will not with more ECGs
        series["batches"] += _points(f"batch {batch:,}", _with(small, "train.batch_size", batch), parts, options)
        parts = series["batches"][-1].microbatches
    for size in sizes:
        sized = _with(_with(small, "model.width", SIZES[size]), "model.heads", SIZES[size] // _HEAD)
        series["sizes"] += _points(size, sized, config.train.microbatches, options)
    for leads in LEADS:
        seen = _with(_with(small, "masking.min_leads", leads), "masking.max_leads", leads)
        series["leads"] += _points(f"{leads} lead{'s' * (leads > 1)}", seen, config.train.microbatches, options)
    records = _inputs(small, examples, options) if examples else []
    points = [point for some in series.values() for point in some]
    facts = {name: [point.facts() for point in some] for name, some in series.items()}
    facts["records"] = [{"records": count, **_rates(timed)} for count, timed in records]
    timed = [point.timed for point in points if point.timed]
    if not timed:
        raise ValueError(f"not even {points[0].name} fits into the memory; name smaller --batches")
    lines = [point.describe() for point in points]
    for _, one in records:
        slow, fast = one.spread
        rates = f"{one.rate:,.0f} ECG/s ({slow:,.0f} to {fast:,.0f})"
        lines.append(f"{one.name:<14} {1e3 / one.rate:.3g} ms an ECG of the input: {rates}")
    if examples:
        lines.append("a record of few costs more: Grain's shuffle walks through 65,536 places at least")
    else:
        lines.append(f"the input is left out: there is no store at {config.data.store}")
    lines.append("GB: arguments, results and temporaries of the compiled step on a device, by XLA's account")
    title = (
        f"growth: {config.name}:{config.recipe}, {batches[0]:,} ECGs a step unless it says otherwise, "
        f"{options.queries} queries, {mesh.size} x {jax.devices()[0].device_kind}"
    )
    return Result(title, "ECG", timed, facts, lines)


def _with(config, field: str, value):
    """A copy of a config with another value of one field."""
    changed = copy.deepcopy(config)
    changed.update_from_flattened_dict({field: value})
    return changed


def _points(name: str, config, microbatches: int, options: Options) -> Iterator[Point]:
    """A step that does not fit into memory, and then the same batch in twice as many parts, until one fits."""
    devices = sharding.make_mesh(config.mesh.fsdp).size
    while True:
        point = _point(name, _with(config, "train.microbatches", microbatches), options)
        log.info(point.describe())
        yield point
        microbatches *= 2
        if point.timed or microbatches > _MOST_PARTS or config.train.batch_size % (devices * microbatches):
            return


def _point(name: str, config, options: Options) -> Point:
    """A step, which gives back its memory, beside matrix products."""
    flops = sum(part.step for part in work.of_training(config, options.queries, plan.MEDCPT, plan.NAME_TOKENS).values())
    rules, size = methods.rules(config), config.train.batch_size
    tokens = (rules.min_leads + rules.max_leads) / 2 * rules.kept
    point = Point(name, size, config.train.microbatches, config.model.width, tokens, flops)
    products, product_flops = machine.products(product_dtype(config.train.dtype))
    try:
        step = Step(config, options.queries)
        timed, product = race([Contender(name, size, step.run), products], options.repeats, options.seconds)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return point
    matrix = product.rate * product_flops
    utilisation = timed.rate * flops / (matrix * step.devices)
    return dataclasses.replace(
        point, timed=timed, matrix_flops_per_s=matrix, utilisation=utilisation, memory=step.memory
    )


def _inputs(config, examples: Examples, options: Options) -> list[tuple[int, Timed]]:
    """The stream over ever more of the records, interleaved."""
    contenders = {}
    for share in _SHARES:
        rows = np.arange(0, len(examples.rows), share)
        some = dataclasses.replace(
            examples, rows=examples.rows[rows], text_id=examples.text_id[rows], labels=examples.labels[rows]
        )
        contenders[len(rows)] = input_stream.contender(f"{len(rows):,} records", some, config)
    timed = race(list(contenders.values()), options.repeats, options.seconds)
    return list(zip(contenders, timed, strict=True))


def _rates(timed: Timed) -> dict:
    return {"ecg_per_s": timed.rate, "spread": timed.spread}
