"""Embedding reports: batches of similar length beside texts padded to the whole window."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from kmerl_jax.cohorts.store import Store
from kmerl_jax.knowledge.statements import clean_report
from kmerl_jax.text.bert import BatchedBert
from kmerl_jax.throughput import machine, peers, synthetic, work
from kmerl_jax.throughput.result import Options, Result
from kmerl_jax.throughput.timing import Contender, race
from kmerl_jax.training import plan


def random_tokens(reports: list[str], rng: np.random.Generator, window: int) -> list[list[int]]:
    """Tokens that mean nothing, as many as words and punctuation marks: about what a vocabulary of medicine gives."""
    counts = [min(len(re.findall(r"\w+|[^\w\s]", report)) + 2, window) for report in reports]
    return [rng.integers(0, plan.MEDCPT.vocabulary, count).tolist() for count in counts]


def measure(config, store: Store, options: Options) -> Result:
    """Times a BERT of MedCPT's size with random weights on a sample of a store's distinct reports."""
    rng, window = np.random.default_rng(config.seed), config.text.window
    reports = sorted({clean_report([report]) for report in store.table["report"]})
    sample = [reports[n] for n in rng.permutation(len(reports))[: config.train.batch_size]]
    tokens = random_tokens(sample, rng, window)
    bert = plan.bert_of(config)
    weights = synthetic.random_weights(bert, config.seed)
    products, flops = machine.products(bert.dtype)
    contenders = [
        _contender("kmerl_jax", BatchedBert(bert, weights, window), tokens),
        _contender(f"kmerl_jax, padded to {window}", BatchedBert(bert, weights, window, shortest=window), tokens),
    ]
    if options.peer:
        contenders.append(peers.texts(config, tokens))
    *timed, product = race([*contenders, products], options.repeats, options.seconds)
    lengths = [len(ids) for ids in tokens]
    useful, matrix_rate = work.of_texts(bert.sizes, lengths, bert.pooling), flops * product.rate
    utilisation = timed[0].rate * useful / (matrix_rate * len(jax.local_devices()))
    facts = {
        "tokens": {"median": float(np.median(lengths)), "longest": max(lengths)},
        "flops_per_text": useful,
        "matrix_flops_per_s": matrix_rate,
        "model_flop_utilisation": utilisation,
    }
    lines = [
        f"tokens         {np.median(lengths):.0f} of a report (median), {max(lengths)} of the longest",
        f"work a text    {useful / 1e9:.3g} GFLOP of its own tokens, the mean",
        f"utilisation    {utilisation:.1%} of {matrix_rate / 1e12:.3g} TFLOP/s, which {products.name} in "
        f"{jnp.dtype(bert.dtype).name} reach on a device in the same minutes",
    ]
    title = f"text: {len(sample):,} of {len(reports):,} distinct reports of {store.path}, BERT-base, random weights"
    return Result(title, "texts", timed, facts, lines)


def _contender(name: str, embed: BatchedBert, tokens: list[list[int]]) -> Contender:
    def run(turns: int) -> None:
        for _ in range(turns):
            embed(tokens)

    return Contender(name, len(tokens), run)
