"""PyTorch on the same work, to be raced in the same run.

The models are those of `tests/torch_reference`, which the tests compare ours with; so the clone must be there, and
torch. Training steps take part in a plain and in a compiled (torch.compile) form, where compiling works.
"""

import itertools
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from kmerl_jax.signals.leads import STANDARD, lead_ids
from kmerl_jax.signals.waveform import SAMPLES
from kmerl_jax.text.bert import BATCH_TOKENS
from kmerl_jax.throughput import synthetic
from kmerl_jax.throughput.timing import Contender
from kmerl_jax.training import methods, plan
from kmerl_jax.training.methods import product_dtype
from kmerl_jax.training.stream import Examples

log = logging.getLogger(__name__)

FORMS = (None, "default")
"""Of a training step: plain, and a mode of torch.compile."""


def check() -> None:
    """Raises ValueError if PyTorch or the reference models are not there, or not on the same single device."""
    try:
        import torch
        import transformers  # noqa: F401

        from tests import torch_reference  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--peer needs PyTorch and the tests of a clone ({error}): pip install -r requirements-dev.txt, and start "
            "the command in the clone"
        ) from error
    if jax.device_count() > 1:
        raise ValueError(
            f"--peer races on one device, here are {jax.device_count()} in {jax.process_count()} process(es): show it "
            "one alone (CUDA_VISIBLE_DEVICES=0), in one process"
        )
    backend = jax.default_backend()
    if backend not in ("cpu", "gpu") or (backend == "gpu" and not torch.cuda.is_available()):
        raise ValueError(f"--peer needs PyTorch on the device that JAX uses, and this PyTorch cannot use a {backend}")


def steps(config, queries: int, forms: Sequence[str | None] = FORMS) -> list[Contender]:
    """Training steps of K-MERL in PyTorch, with our tokens and with padded ones, and of MERL, on one device.

    MERL's is as published, a BERT-base over 256 padded tokens in every step, and with embeddings made before. The
    tokens of K-MERL's are drawn before; in our step the drawing counts.

    Args:
        config: a resolved config.
        queries: entities that are asked for.
        forms: of each step: None is plain, else a mode of torch.compile.

    Raises:
        ValueError: a config that the reference does not know.
    """
    from tests import torch_reference as reference

    if config.method == "simclr":
        raise ValueError("--peer knows kmerl and merl alone; leave it out")
    if config.text.trainable_layers:
        raise ValueError("--peer knows frozen texts only: --config.text.trainable_layers=0")
    if config.optimizer.name != "adamw":
        log.warning(f"PyTorch's steps are of AdamW, ours of {config.optimizer.name}")
    batch = synthetic.batch(config, queries)
    rules = methods.rules(config)
    drawn = reference.draw(batch, jax.random.key(config.seed), rules)
    names = synthetic.names(config, queries)
    tokens, valid = synthetic.random_tokens(np.random.default_rng(0), len(batch["index"]), reference.TEXT_TOKENS)
    reports = {"signal": batch["signal"], "text_tokens": tokens, "text_valid": valid}

    def kmerl(layout: str) -> Callable:
        return lambda: reference.KMerlObjective(config, names, layout)

    entries = (
        []
        if config.method == "merl"
        else [
            ("PyTorch, our tokens", kmerl("grouped"), drawn),
            ("PyTorch, padded tokens", kmerl("padded"), drawn),
        ]
    )
    entries += [
        ("MERL as published", lambda: reference.MerlObjective(config.model, _bert_config()), reports),
        ("MERL, texts embedded before", lambda: reference.MerlObjective(config.model, text=names.shape[1]), batch),
    ]
    found = (_step(name, build, data, config, form) for name, build, data in entries for form in forms)
    return [contender for contender in found if contender is not None]


def _step(name: str, build: Callable, data: dict, config, form: str | None) -> Contender | None:
    import torch

    from tests import torch_reference as reference

    device, dtype = _where(config)
    keys = ("signal", "lead", "token_segment", "valid", "text", "text_id", "labels", "text_tokens", "text_valid")
    there = reference.to_device({key: data[key] for key in keys if key in data}, device)
    trainer = reference.Trainer(build(), config.optimizer, device, dtype, form)

    def run(turns: int) -> None:
        for _ in range(turns):
            loss = trainer.step(there)
        loss.item()

    if not form:
        return Contender(name, len(data["signal"]), run)
    name, begun = f"{name}, compiled", time.perf_counter()
    log.info(f"compiling: {name}; the first time on a machine this takes minutes")
    try:
        run(1)
    except Exception as error:  # of the C++ compiler, of Triton, of what cannot be traced
        log.warning(f"left out: {name}: torch.compile failed ({type(error).__name__}: {_first_line(error)})")
        torch.compiler.reset()
        return None
    log.info(f"compiled in {time.perf_counter() - begun:.0f} s")
    return Contender(name, len(data["signal"]), run)


class Answers:
    """The model in PyTorch, plain, with random weights, that is asked the same names of one ECG or many."""

    def __init__(self, config, queries: int):
        """Makes the model of a config.

        Raises:
            ValueError: another method, or tokens of another unit, than the reference knows.
        """
        import torch

        from tests import torch_reference as reference

        if config.method != "kmerl":
            raise ValueError("--peer answers as K-MERL alone; leave it out, or take --what=step")
        if config.data.normalization != "mv":
            raise ValueError("--peer knows tokens in millivolts only: --config.data.normalization=mv")
        self._device, self._dtype = _where(config)
        self._names = torch.tensor(synthetic.names(config, queries), device=self._device)
        self._model = reference.KMerl(config.model, self._names.shape[1]).to(self._device).eval()

    def asked(self, leads: Sequence[str], windows: dict[str, np.ndarray]) -> Callable[[int], None]:
        """Turns from windows on the host to all answers on the host."""
        import torch

        from tests import torch_reference as reference

        signal, ids = torch.from_numpy(windows["signal"]), lead_ids(leads)

        def run(turns: int) -> None:
            with torch.inference_mode(), reference.autocast(self._device, self._dtype):
                for _ in range(turns):
                    bag = reference.all_tokens(signal.to(self._device), ids)
                    self._model.describe(bag, self._names)["logits"].cpu()

        return run


def inputs(
    examples: Examples, config, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Contender]:
    """PyTorch's DataLoader over memory-mapped arrays: as MERL reads, and at its strongest; here and in two processes.

    Args:
        examples: the records; they are written to the folder as arrays first, 120 KB each.
        config: a resolved config.
        folder: an empty one.
        progress: of writing; called with the number of records done and the number in all.

    Raises:
        ValueError: there is no room for the arrays.
    """
    from tests import torch_reference as reference

    needed = len(examples.rows) * len(STANDARD) * SAMPLES * 2 + examples.labels.nbytes
    needed += sum(x.nbytes for x in examples.texts.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"--peer writes {needed / 1e9:.3g} GB of arrays, and {folder.parent} has room for {free / 1e9:.3g} GB; "
            "TMPDIR names another folder"
        )
    log.info(f"writing {needed / 1e9:.3g} GB of arrays for PyTorch to {folder}, to be removed in the end")
    arrays, size = reference.write_arrays(examples, folder / "arrays", progress), config.train.batch_size

    def contender(whole: bool, workers: int) -> Contender:
        batches = reference.batches(arrays, size, config.seed, workers, whole=whole)

        def run(turns: int) -> None:
            for _ in itertools.islice(batches, turns):
                pass

        how = "whole batches" if whole else "item by item, as MERL"
        where = f"{workers} worker processes" if workers else "no worker"
        return Contender(f"PyTorch, {how}, {where}", size, run, reference.AHEAD * workers)

    return [contender(whole, workers) for whole in (False, True) for workers in (0, 2)]


def texts(config, tokens: list[list[int]]) -> Contender:
    """BERT-base of the transformers library over texts that are padded to the whole window, as MERL embeds them."""
    import torch
    from transformers import BertModel

    from tests import torch_reference as reference

    (device, dtype), window = _where(config), config.text.window
    ids = torch.zeros((len(tokens), window), dtype=torch.int64)
    valid = torch.zeros((len(tokens), window), dtype=torch.bool)
    for row, text in enumerate(tokens):
        ids[row, : len(text)], valid[row, : len(text)] = torch.tensor(text), True
    model = BertModel(_bert_config()).to(device).eval()
    # A CPU is a few per cent faster with 4 than with 16 (2 layers, 256 tokens, two cores); a GPU needs as many as ours.
    rows = 4 if device == "cpu" else max(BATCH_TOKENS // window, 1)

    def run(turns: int) -> None:
        with torch.inference_mode(), reference.autocast(device, dtype):
            for _ in range(turns):
                for start in range(0, len(ids), rows):
                    part = slice(start, start + rows)
                    model(ids[part].to(device), valid[part].to(device)).pooler_output.float().cpu()

    return Contender(f"PyTorch, padded to {window}", len(tokens), run)


def _bert_config():
    from transformers import BertConfig

    sizes = plan.MEDCPT
    return BertConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.depth,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.mlp_width,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.types,
        hidden_act=sizes.activation,
        layer_norm_eps=sizes.epsilon,
    )


def _where(config) -> tuple:
    """The device and the precision of the matrix products that match ours."""
    import torch

    from tests import torch_reference as reference

    bfloat16 = product_dtype(config.train.dtype) == jnp.bfloat16
    return reference.find_device(jax.default_backend() == "gpu"), torch.bfloat16 if bfloat16 else torch.float32


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
