"""Mines entities from the reports of a store, by the grammar or by a language model, and compares two readings.

    python -m kmerl_jax.mine --store=data/mimic_iv_ecg
    python -m kmerl_jax.mine --store=data/mimic_iv_ecg --extractor=llm --llm.base_url=http://localhost:8000/v1 \\
        --llm.model=meta-llama/Llama-3.1-70B-Instruct --name=llama --dry_run
    python -m kmerl_jax.mine --store=data/mimic_iv_ecg --name=llama --compare=grammar

A reading is written to STORE/knowledge/NAME; train takes it with --config.data.knowledge=NAME. --nomerging and
--nosuperclasses leave a step out and write to NAME-unmerged and NAME-flat (train: --config.data.merging=False,
--config.data.superclasses=False); answers that were kept serve them too. The language model runs
on any OpenAI-compatible server (vLLM, llama.cpp, Ollama, TGI). Its answers are kept in STORE/knowledge/answers.sqlite,
so an interrupted command goes on where it was. The key, if the server needs one, is read from OPENAI_API_KEY.
"""

from pathlib import Path

from absl import flags

from kmerl_jax import command
from kmerl_jax.cohorts.store import Store
from kmerl_jax.knowledge import agreement, llm_extractor, mining, reading
from kmerl_jax.knowledge.llm import Server, kept_in
from kmerl_jax.knowledge.statements import clean_report

_STORE = flags.DEFINE_string("store", None, "Folder of the store.", required=True)
_EXTRACTOR = flags.DEFINE_enum("extractor", "grammar", ("grammar", "llm"), "What reads the reports.")
_NAME = flags.DEFINE_string("name", None, "Name of the reading. Default: grammar, or the model's name.")
_MERGING = flags.DEFINE_boolean("merging", True, "Whether what is said in several ways is one entity.")
_SUPERCLASSES = flags.DEFINE_boolean("superclasses", True, "Whether an entity makes its superclasses present.")
_COMPARE = flags.DEFINE_string("compare", None, "Name of another reading to compare with, entity by entity.")
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Only print how many calls and tokens the language model would take.")
_BASE_URL = flags.DEFINE_string("llm.base_url", None, "The server, for example http://localhost:8000/v1.")
_MODEL = flags.DEFINE_string("llm.model", None, "The model, as the server calls it.")
_PER = flags.DEFINE_enum("llm.per", "statement", ("statement", "report"), "What the model is asked about at a time.")
_CONNECTIONS = flags.DEFINE_integer("llm.connections", 8, "Most questions under way at a time.", lower_bound=1)
_TIMEOUT = flags.DEFINE_float(
    "llm.timeout",
    120.0,
    "Seconds without a byte of the server, after which a question is asked again.",
    lower_bound=0.1,
)
_THINKING = flags.DEFINE_integer(
    "llm.thinking", 0, "Tokens that the model may think with, beside those of an answer.", lower_bound=0
)

_SHOWN = 20

log = command.log


def main() -> None:
    """Reads the flags, then mines or reads what was mined before, says what came of it, and compares."""
    _check_flags()
    store = Store(_STORE.value)
    name = mining.variant(_NAME.value or _default_name(), _MERGING.value, _SUPERCLASSES.value)
    folder = mining.folder_of(store, name)
    if _EXTRACTOR.value == "grammar":
        if _DRY_RUN.value:
            log.info("the grammar asks no server: 0 calls, 0 tokens")
            return
        own = _NAME.value in (None, mining.GRAMMAR)
        if not own and not folder.exists() and not _COMPARE.value:
            read = mining.by_grammar(store.table["statements"], _MERGING.value, _SUPERCLASSES.value)
            reading.save(read, folder)
        base = mining.GRAMMAR if own else _NAME.value
        read, how = mining.open_reading(store, base, _MERGING.value, _SUPERCLASSES.value)
    else:
        with _server(store) as server:
            if _DRY_RUN.value:
                _print_estimate(llm_extractor.estimate(_texts(store), server))
                return
            read, how = _ask(store, server, folder)
    log.info(f"{folder}, {how}")
    log.info(describe(read))
    if _COMPARE.value:
        other, _ = mining.open_reading(store, _COMPARE.value)
        reports = [clean_report([report]) for report in store.table["report"]]
        log.info(agreement.table(agreement.compare(read, other, reports), (name, _COMPARE.value), reports))


def _check_flags() -> None:
    if _EXTRACTOR.value == "llm":
        for flag, value in (("llm.base_url", _BASE_URL.value), ("llm.model", _MODEL.value)):
            if not value:
                raise ValueError(f"--{flag} is missing: --extractor=llm asks a model on an OpenAI-compatible server")
        if _NAME.value == mining.GRAMMAR:
            raise ValueError(f"--name={mining.GRAMMAR} is the grammar's; choose another for a language model")


def _default_name() -> str:
    return mining.GRAMMAR if _EXTRACTOR.value == "grammar" else _MODEL.value.split("/")[-1]


def _server(store: Store) -> Server:
    answers = kept_in(store.path / "knowledge" / "answers.sqlite", _DRY_RUN.value)
    how = _CONNECTIONS.value, _TIMEOUT.value, _THINKING.value
    return Server(_BASE_URL.value, _MODEL.value, answers, *how)


def _texts(store: Store) -> list[list[str]]:
    if _PER.value == "report":
        return [[report] for report in store.table["report"]]
    return list(store.table["statements"])


def _ask(store: Store, server: Server, folder: Path) -> tuple[reading.Reading, str]:
    asked = {"extractor": "llm", "model": server.model, "per": _PER.value}
    steps = _MERGING.value, _SUPERCLASSES.value
    if folder.exists():
        read, how = mining.open_reading(store, folder.name)
        before = {key: read.provenance.get(key) for key in asked}
        if before != asked:
            raise ValueError(f"{folder} is of {before}, not of {asked}; choose another --name")
        return read, how
    read = llm_extractor.read(_texts(store), server, lambda step: command.Progress(step, "answers"), *steps)
    read.provenance["per"] = _PER.value
    reading.save(read, folder)
    return read, f"mined by {server.model}"


def describe(read: reading.Reading) -> str:
    """What was read, the most frequent entities, and what was not understood or not used."""
    lines = [mining.summary(read), f"{'entity':44} {'present':>9} {'possible':>9} {'negated':>9} {'previous':>9}"]
    ranks = (reading.PRESENT, reading.POSSIBLE, reading.NEGATED, reading.PREVIOUS)
    counts = {name: [int((read.statuses[:, n] == rank).sum()) for rank in ranks] for n, name in enumerate(read.names)}
    frequent = sorted(counts, key=lambda name: -counts[name][0])
    for name in frequent[:_SHOWN]:
        lines.append(f"{name:44} " + " ".join(f"{count:9,}" for count in counts[name]))
    if len(frequent) > _SHOWN:
        lines.append(f"... and {len(frequent) - _SHOWN} more")
    for title, left_out in _left_out(read.provenance).items():
        if left_out:
            lines.append(f"{title}: {len(left_out):,}, of which the most frequent")
            lines += [f"    {count:,} x {text}" for text, count in list(left_out.items())[:_SHOWN]]
    return "\n".join(lines)


def _left_out(provenance: dict) -> dict[str, dict[str, int]]:
    """Title -> text -> how often."""
    return {
        "statements that were not understood": provenance.get("not_understood", {}),
        "statements understood but for some words": provenance.get("understood_but_for_some_words", {}),
        "reasons why answers were set aside": {
            reason: entry["count"] for reason, entry in provenance.get("set_aside", {}).items()
        },
    }


def _print_estimate(steps: list[tuple[str, int, int]]) -> None:
    log.info(f"{'step':15} {'calls':>9} {'tokens sent':>12}")
    for step, calls, tokens in steps:
        log.info(f"{step:15} {calls:9,} {tokens:12,}")
    log.info(f"{'in all, about':15} {sum(row[1] for row in steps):9,} {sum(row[2] for row in steps):12,}")
    log.info("Answers kept from before are not counted. Tokens are estimated at four characters each.")


if __name__ == "__main__":
    command.run(main, __doc__)
