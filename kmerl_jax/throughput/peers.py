"""PyTorch on the same work, to be raced in the same run.

The models are those of `tests/torch_reference`, which the tests compare ours with; so the clone must be there, and
torch. Both a plain and a compiled (torch.compile) form take part, where compiling works.
"""

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from kmerl_jax.models.masking import Masking
from kmerl_jax.signals.leads import lead_ids
from kmerl_jax.throughput import synthetic
from kmerl_jax.throughput.timing import Contender
from kmerl_jax.training.objective import product_dtype
from kmerl_jax.training.stream import Examples

log = logging.getLogger(__name__)

_TEXT_TOKENS = 256  # to which MERL pads every report


def check() -> None:
    """Raises ValueError if PyTorch or the reference models are not there."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401

        from tests import torch_reference  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--peer needs PyTorch and the tests of a clone ({error}): pip install -r requirements-dev.txt, and start "
            "the command in the clone"
        ) from error


def steps(config, queries: int) -> list[Contender]:
    """Training steps of K-MERL in PyTorch, with our tokens and with padded ones, and of MERL, on one device.

    MERL's is as published, a BERT-base over 256 padded tokens in every step, and with embeddings made before.
    """
    from transformers import BertConfig

    from tests import torch_reference as reference

    batch = synthetic.batch(config, queries)
    rules = Masking(**config.masking)
    drawn = reference.draw(batch, jax.random.key(config.seed), rules)
    names = synthetic.names(config, queries)
    tokens, valid = synthetic.random_tokens(np.random.default_rng(0), len(batch["index"]), _TEXT_TOKENS)
    reports = {"signal": batch["signal"], "text_tokens": tokens, "text_valid": valid}

    def kmerl(layout: str) -> Callable:
        return lambda: reference.KMerlObjective(config, names, layout)

    entries = [
        ("PyTorch, our tokens", kmerl("grouped"), drawn),
        ("PyTorch, padded tokens", kmerl("padded"), drawn),
        ("MERL as published", lambda: reference.MerlObjective(config.model, BertConfig()), reports),
        ("MERL, texts embedded before", lambda: reference.MerlObjective(config.model), batch),
    ]
    forms = (None, "default")
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

    name = f"{name}, compiled" if form else name
    if form:
        try:
            run(1)
        except Exception as error:  # of the C++ compiler, of Triton, of what cannot be traced
            log.warning(f"left out: {name}: torch.compile failed ({type(error).__name__}: {_first_line(error)})")
            torch.compiler.reset()
            return None
    return Contender(name, len(data["signal"]), run)


def answers(config, leads: tuple[str, ...], size: int, queries: int) -> Contender:
    """The answers of the model in PyTorch, windows on the host to answers on the host."""
    import torch

    from tests import torch_reference as reference

    device, dtype = _where(config)
    names = torch.tensor(synthetic.names(config, queries), device=device)
    model = reference.KMerl(config.model, names.shape[1]).to(device).eval()
    signal = synthetic.signals(np.random.default_rng(0), size)["signal"]
    ids = lead_ids(leads)

    def run(turns: int) -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
            for _ in range(turns):
                bag = reference.all_tokens(torch.from_numpy(signal).to(device), ids)
                model.describe(bag, names)["logits"].cpu()

    return Contender(f"PyTorch, {len(leads)} lead{'s' * (len(leads) > 1)}", size, run)


def inputs(examples: Examples, config, folder: Path) -> list[Contender]:
    """PyTorch's DataLoader over a memory-mapped array, as MERL reads: in this process, and in two.

    Args:
        examples: the records; they are written to the folder as arrays first, 120 KB each.
        config: a resolved config.
        folder: an empty one.
    """
    from tests import torch_reference as reference

    arrays = reference.write_arrays(examples, folder / "arrays")

    def contender(workers: int) -> Contender:
        batches = reference.batches(arrays, config.train.batch_size, config.seed, workers)

        def run(turns: int) -> None:
            for _ in itertools.islice(batches, turns):
                pass

        how = f"{workers} worker processes" if workers else "no worker"
        return Contender(f"PyTorch DataLoader, memory map, {how}", config.train.batch_size, run)

    return [contender(workers) for workers in (0, 2)]


def texts(config, tokens: list[list[int]]) -> Contender:
    """BERT-base of the transformers library over texts that are padded to 256 tokens, as MERL embeds them."""
    import torch
    from transformers import BertConfig, BertModel

    device, dtype = _where(config)
    ids = torch.zeros((len(tokens), _TEXT_TOKENS), dtype=torch.int64)
    valid = torch.zeros((len(tokens), _TEXT_TOKENS), dtype=torch.bool)
    for row, text in enumerate(tokens):
        ids[row, : len(text)], valid[row, : len(text)] = torch.tensor(text), True
    model = BertModel(BertConfig()).to(device).eval()

    def run(turns: int) -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
            for _ in range(turns):
                for start in range(0, len(ids), 16):
                    part = slice(start, start + 16)
                    model(ids[part].to(device), valid[part].to(device)).pooler_output.float().cpu()

    return Contender(f"PyTorch, padded to {_TEXT_TOKENS}", len(tokens), run)


def _where(config) -> tuple:
    """The device and the precision of the matrix products that match ours."""
    import torch

    bfloat16 = product_dtype(config.train.dtype) == jnp.bfloat16
    return "cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16 if bfloat16 else torch.float32


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
