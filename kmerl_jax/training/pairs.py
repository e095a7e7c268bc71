"""ECGs paired with what is said of them: from a store to the examples of each split."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kmerl_jax.cohorts import catalog, demo, preparation
from kmerl_jax.cohorts.store import Store
from kmerl_jax.knowledge import mining, queries
from kmerl_jax.knowledge.statements import clean_report
from kmerl_jax.processes import together
from kmerl_jax.text import cache
from kmerl_jax.text.encoder import TextEncoder
from kmerl_jax.training.stream import Examples

log = logging.getLogger(__name__)


def open_store(config, progress: Callable[[str, str], Callable[[int, int], None]]) -> Store:
    """The store of a config; the demo's own is simulated first if it is not there yet.

    Args:
        config: the run's config.
        progress: of a piece of work and what is counted, makes what is called with the number done and the number in
            all.

    Raises:
        FileNotFoundError: there is no store.
        ValueError: it is of another version, or damaged.
    """
    path = Path(config.data.store)
    with together.first_process_first():
        if config.recipe == "demo" and path == demo.STORE and not path.exists():
            log.info(f"simulating {demo.RECORDS:,} ECGs into {demo.files_of(path)}: not patients, a demonstration")
            workers = os.cpu_count() or 1
            demo.simulate(demo.files_of(path), demo.RECORDS, 0, workers, progress("simulating", "ECGs"))
            cohort = catalog.load("demo", demo.files_of(path))
            preparation.prepare(cohort, path, workers, progress=progress("preparing", "records"))
    store = Store(path, config.data.unreadable == "skip")
    log.info(store.summary())
    for line in store.damaged:
        log.info(line)
    return store


def load(
    store: Store, encoder: TextEncoder, config, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[queries.Queries, Examples, Examples | None]:
    """Reads the knowledge, embeds the reports (both kept beside the store), and puts them to the ECGs.

    Args:
        store: the ECGs and their reports.
        encoder: of texts.
        config: the run's config.
        progress: called with the number of reports embedded and the number to embed.

    Returns:
        The queries with the labels of every entry; the training examples; the validation examples, if there are any.

    Raises:
        ValueError: no training record is left, or no entity is frequent enough.
    """
    table = store.table
    train = table["split"].to_numpy() == "train"
    with together.first_process_first():
        read, how = mining.open_reading(store, config.data.knowledge, config.data.merging, config.data.superclasses)
    asked = queries.select(read, train, config.data.min_positives, config.data.possible)
    log.info(f"knowledge {config.data.knowledge!r}, {how}: {mining.summary(read)}")
    log.info(f"queries: {len(asked.entities)} entities with {config.data.min_positives} positives or more")

    reports = [clean_report([report]) for report in table["report"]]
    texts = sorted(set(reports))
    if encoder.trainable:
        said = dict(zip(("text_tokens", "text_valid"), encoder.tokens(texts), strict=True))
        log.info(f"reports: {len(texts):,} distinct, embedded at every step by the {encoder.name} text encoder")
    else:
        said = {}
        said["text"], new = cache.embed(encoder, texts, store.path / "text", progress)
        log.info(f"reports: {len(texts):,} distinct, {new:,} newly embedded by the {encoder.name} text encoder")
    if encoder.cut:
        log.info(f"reports longer than text.window={config.text.window} tokens, read up to there: {encoder.cut:,}")
    place = {text: n for n, text in enumerate(texts)}
    text_id = np.array([place[report] for report in reports], np.int32)

    long_enough = table["words"].to_numpy() >= config.data.min_report_words
    short = int((train & ~long_enough).sum())
    if short:
        log.info(f"left out of training: {short:,} records with reports under {config.data.min_report_words} words")

    def examples(split: str) -> Examples:
        rows = np.flatnonzero((table["split"].to_numpy() == split) & long_enough)
        return Examples(store.entries, rows, said, text_id[rows], asked.labels[rows])

    training, validation = examples("train"), examples("val")
    if len(training.rows) == 0:
        raise ValueError(f"store {store.path} has no training record with a report")
    return asked, training, validation if len(validation.rows) else None
