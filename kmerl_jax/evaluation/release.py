"""A model to hand on, as one folder: parameters, config, entities, embeddings of names, metrics, a card, checksums.

model.safetensors   the parameters, by their dotted names
config.json         the config of the run; under "release": the format, versions, step and digest of the parameters
entities.json       what it was trained to ask for, from which cohort, and with how many positives
text/               names.json and names.safetensors: embeddings of names, for which no text encoder is needed
evidence.json       what evaluations found, for each set of leads
README.md           the card
SHA256SUMS          of all of these; `sha256sum -c SHA256SUMS` checks them too
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

import kmerl_jax
from kmerl_jax.cohorts.store import digest
from kmerl_jax.evaluation import files

FORMAT = 1
SUMS = "SHA256SUMS"
_NEEDED = ("model.safetensors", "config.json", "entities.json", "evidence.json")
_NEEDED += ("text/names.json", "text/names.safetensors")
FILES = (*_NEEDED, "README.md", SUMS)
"""Patterns of all that a folder holds."""


def is_release(path: Path) -> bool:
    """Whether a folder is a model to hand on, and not a run."""
    return (path / SUMS).is_file() or (path / "model.safetensors").is_file()


def write(
    out: Path,
    params: dict,
    config: dict,
    about: dict,
    entities: dict,
    names: Sequence[str],
    embeddings: np.ndarray,
    evidence: list[dict],
    card: str,
) -> None:
    """Writes the folder, whole or not at all.

    Args:
        out: it must not be there yet.
        params: of the network, and of a text encoder that was trained along, under "text".
        config: of the run.
        about: "step", "checksum" of the parameters.
        entities: see `Pretrained.trained_on`.
        names: N known names.
        embeddings: [N, E] of these.
        evidence: see `kmerl_jax.evaluation.evidence`.
        card: a page of Markdown.

    Raises:
        FileExistsError: something is there.
    """
    versions = {"kmerl_jax": kmerl_jax.__version__} | {name: version(name) for name in ("jax", "flax")}
    arrays = {name: np.ascontiguousarray(x) for name, x in flat(jax.device_get(params)).items()}
    with files.whole_folder(out) as folder:
        (folder / "text").mkdir()
        _write_arrays(folder / "model.safetensors", arrays)
        _write(folder / "config.json", config | {"release": {"format": FORMAT, "versions": versions, **about}})
        _write(folder / "entities.json", entities)
        _write(folder / "text" / "names.json", list(names))
        _write_arrays(folder / "text" / "names.safetensors", {"embeddings": np.ascontiguousarray(embeddings)})
        _write(folder / "evidence.json", evidence)
        (folder / "README.md").write_text(card)
        add_sums(folder)


def flat(params: dict) -> dict:
    """Parameters by their dotted names."""
    return flax.traverse_util.flatten_dict(params, sep=".")


def add_sums(folder: Path) -> None:
    """Writes the checksums of all files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{digest(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths]
    (folder / SUMS).write_text("".join(lines))


def check(folder: Path) -> dict:
    """Holds the files against their checksums, and the format against what is known here.

    Returns:
        What `config.json` says.

    Raises:
        ValueError: a file is missing or is not what was written, or the format is a later one.
    """
    if not (folder / SUMS).is_file():
        raise ValueError(f"{folder} has no {SUMS}: the download is incomplete, or it is no model of kmerl_jax")
    listed = dict(reversed(line.split("  ", 1)) for line in (folder / SUMS).read_text().splitlines() if "  " in line)
    for name in sorted({*_NEEDED, *listed}):
        if name not in listed:
            raise ValueError(f"{folder}: {name} is not in {SUMS}; export the model again")
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{folder / SUMS} names {name}, which is outside of the folder; not read")
        if not path.is_file():
            raise ValueError(f"{folder}: {name} is missing; download the model again")
        if digest(path) != listed[name]:
            raise ValueError(f"{path} is not what was written (its checksum differs); download the model again")
    config = json.loads((folder / "config.json").read_text())
    about = config.get("release", {})
    found = about.get("format")
    if found != FORMAT:
        raise ValueError(
            f"{folder} is of format {found}, and this version ({kmerl_jax.__version__}) reads format {FORMAT}; "
            + ("update kmerl_jax" if isinstance(found, int) and found > FORMAT else "export the model again")
        )
    if missing := [name for name in ("step", "checksum", "versions") if name not in about]:
        raise ValueError(f"{folder / 'config.json'} does not say {missing[0]}; export the model again")
    return config


def read_params(folder: Path, shapes: dict) -> dict:
    """The parameters, as NumPy arrays.

    Args:
        folder: checked.
        shapes: of the network's parameters; those under "text", which are of another model, are taken as they are.

    Raises:
        ValueError: they are of another network.
    """
    arrays = _arrays(folder / "model.safetensors")
    own = {name: x for name, x in arrays.items() if not name.startswith("text.")}
    found, wanted = ({(name, x.shape, str(x.dtype)) for name, x in one.items()} for one in (own, flat(shapes)))
    if found != wanted:
        different = min(found ^ wanted)[0]
        raise ValueError(f"{folder}: model.safetensors is of another network than config.json says: {different}")
    return flax.traverse_util.unflatten_dict(arrays, sep=".")


def read_names(folder: Path) -> tuple[list[str], np.ndarray]:
    """Known names, and their embeddings [N, E]."""
    names = json.loads((folder / "text" / "names.json").read_text())
    return names, _arrays(folder / "text" / "names.safetensors")["embeddings"]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); download the model again") from error


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    # Not save_file, which makes files that their owner alone may read.
    path.write_bytes(safetensors.numpy.save(arrays, {"format": f"kmerl_jax {FORMAT}"}))


def _write(path: Path, content) -> None:
    path.write_text(json.dumps(content, indent=1))
