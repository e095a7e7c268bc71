"""Writes prompts for the cosine score by MERL's procedure (CKEPE): terms of which each stands in a clinical source.

    python -m kmerl_jax.prompts --labels=ptb_xl.super --store=data/ptb_xl --source=PTB_XL_FOLDER/scp_statements.csv \\
        --out=super.json --llm.base_url=http://localhost:8000/v1 --llm.model=meta-llama/Llama-3.1-70B-Instruct --dry_run
    python -m kmerl_jax.prompts --labels=cpsc2018,csn_clean --store=data/cpsc2018,data/csn --out=prompts.json ...
    python -m kmerl_jax.prompts --classes=mine.csv --out=mine.json ...
    python -m kmerl_jax.evaluate --task=zero_shot --scores=cosine --prompts=super.json --labels=ptb_xl.super ...

For each class a language model chooses among the source's terms that are near its name, and names the findings by which
it is recognised. What is not in the source is dropped. super.json holds the prompts, super.provenance.json how they
came about, super.answers.sqlite the model's answers, so that an interrupted command goes on where it was. The server is
any OpenAI-compatible one (vLLM, llama.cpp, Ollama, TGI); the key, if it needs one, is read from OPENAI_API_KEY.
"""

from pathlib import Path

from absl import flags

from kmerl_jax import command
from kmerl_jax.evaluation import classes, downstream, files
from kmerl_jax.knowledge import ckepe, source
from kmerl_jax.knowledge.llm import Server, kept_in, tokens

_LABELS = flags.DEFINE_list("labels", None, f"One or more of {', '.join(downstream.LABELS)}.")
_STORE = flags.DEFINE_list("store", None, "Store, as prepare makes it, or several: of the labels' data sets.")
_NAMES = flags.DEFINE_enum("names", "raw", classes.NAMES, "Classes as the data sets spell them, or mended.")
_CLASSES = flags.DEFINE_string(
    "classes",
    None,
    "Classes of your own: a CSV with the columns code, name and, if a class has more names, synonyms (joined by |).",
)
_SOURCE = flags.DEFINE_string(
    "source",
    None,
    "CSV of terms with the columns code, name and, if you have them, synonyms (joined by |) and description; PTB-XL's, "
    "CSN's and the PhysioNet Challenge's tables are read as they are. Default: this package's ontology.",
)
_OUT = flags.DEFINE_string("out", None, "JSON file of the prompts.", required=True)
_DRY_RUN = flags.DEFINE_boolean("dry_run", False, "Only print how many calls and tokens the language model would take.")
_BASE_URL = flags.DEFINE_string(
    "llm.base_url", None, "The server, for example http://localhost:8000/v1.", required=True
)
_MODEL = flags.DEFINE_string("llm.model", None, "The model, as the server calls it.", required=True)
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

log = command.log


def main() -> None:
    """Finds the names of the classes, asks about each, writes the prompts, and says what was dropped."""
    out = Path(_OUT.value)
    if out.suffix != ".json":
        raise ValueError(f"--out={out} does not end in .json")
    about = out.with_suffix(".provenance.json")
    for file in (out, about):
        if file.exists():
            raise FileExistsError(f"{file} exists; remove it or name another file with --out")
    terms = source.of_table(Path(_SOURCE.value)) if _SOURCE.value else source.of_ontology()
    asked = asked_classes()
    log.info(f"{len(asked)} classes; terms of {terms.name}, {len(terms.entries):,} entries")
    shared = [f"{code} ({'; '.join(names)})" for code, names in asked.items() if len(names) > 1]
    if shared:
        log.info(f"these codes have several names, and one prompt with all of them: {', '.join(shared)}")
    answers = kept_in(out.with_suffix(".answers.sqlite"), _DRY_RUN.value)
    how = _CONNECTIONS.value, _TIMEOUT.value, _THINKING.value
    with Server(_BASE_URL.value, _MODEL.value, answers, *how) as server:
        if _DRY_RUN.value:
            new = server.unanswered(list(ckepe.questions(asked, terms).values()))
            log.info(f"{len(new):,} calls, about {tokens(new):,} tokens sent, estimated at four characters each")
            return
        prompts = ckepe.write(asked, terms, server, command.Progress("asking", "answers"))
    files.write_json(about, prompts.provenance)
    files.write_json(out, prompts.texts)
    log.info(describe(prompts))
    log.info(f"{out}, {len(prompts.texts)} prompts by {_MODEL.value}; how they came about: {about}")


def asked_classes() -> dict[str, tuple[str, ...]]:
    """Code -> names of each class that the flags ask for; a code has several where tasks call it differently.

    Raises:
        ValueError: no class at all, one without a name or code, a code that stands twice in --classes, or --names where
            no data set spells anything.
    """
    if _NAMES.present and not _LABELS.value:
        raise ValueError("--names is how --labels are spelt; --classes are taken as they stand")
    named: list[tuple[str, str]] = []
    stores = downstream.open_stores([Path(path) for path in _STORE.value or ()])
    for label in _LABELS.value or ():
        named += downstream.class_names(downstream.store_of(label, stores), label, _NAMES.value).items()
    if _CLASSES.value:
        own = source.of_table(Path(_CLASSES.value)).entries
        codes = [entry.code for entry in own]
        if "" in codes:
            raise ValueError(f"--classes={_CLASSES.value}: {own[codes.index('')].texts[0]!r} has no code")
        if twice := [code for code in codes if codes.count(code) > 1]:
            raise ValueError(f"--classes={_CLASSES.value}: the code {twice[0]!r} stands there twice")
        named += [(entry.code, text) for entry in own for text in entry.texts]
    if not named:
        raise ValueError("which classes? --labels names tasks, or --classes a CSV of your own")
    asked: dict[str, tuple[str, ...]] = {}
    for code, name in named:
        known = asked.get(code, ())
        asked[code] = known if name.lower() in map(str.lower, known) else (*known, name)
    return asked


def describe(prompts: ckepe.Prompts) -> str:
    """The prompts, and what was dropped."""
    lines = [f"{code:10} {text}" for code, text in prompts.texts.items()]
    if alone := prompts.provenance["own_names_alone"]:
        lines.append(f"no term beside the class's own name: {', '.join(alone)}")
    for reason, entry in prompts.provenance["set_aside"].items():
        lines.append(f"dropped: {entry['count']:,} {reason}, for example")
        lines += [f"    {example}" for example in entry["examples"]]
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main, __doc__)
