"""Which recordings a command line names, how those are read that do not say it, and which of their leads are seen."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags

from kmerl_jax.command import one_line
from kmerl_jax.signals import arrays, dicom
from kmerl_jax.signals.channels import millivolts
from kmerl_jax.signals.leads import parse_leads

_LEADS = flags.DEFINE_string("leads", None, "Leads that may be seen: I,II or the name of a set. Default: all.")
_RATE = flags.DEFINE_float("rate", None, "Samples per second of CSV and NumPy files, which do not say it.")
_UNITS = flags.DEFINE_string("units", "mV", "Of CSV and NumPy files: mV, uV, nV or V.")
_LEAD_NAMES = flags.DEFINE_string(
    "lead_names",
    None,
    "Of the columns or rows of CSV and NumPy files, in their order, '-' for one that is no lead; 12 is the usual order "
    "I II III aVR aVL aVF V1 .. V6. Default: a CSV file's first line.",
)

_WFDB = (".hea", ".dat", ".mat")


def find(named: Sequence[str], with_arrays: bool) -> list[Path]:
    """The recordings, each once, in the order in which they are named; those of a folder by name.

    Args:
        named: files (of WFDB with or without extension), folders (with all that is below them), patterns.
        with_arrays: whether CSV and NumPy files of a folder are recordings.

    Raises:
        FileNotFoundError: a folder or a pattern without a recording.
    """
    found: dict[Path, Path] = {}
    for name in named:
        path = Path(name)
        if path.is_dir():
            paths = sorted(_below(path, with_arrays))
        elif glob.has_magic(name) and not path.exists():
            paths = [each for each in map(Path, sorted(glob.glob(name, recursive=True))) if each.is_file()]
        else:
            paths = [path]
        if not paths:
            raise FileNotFoundError(
                f"no recording is in {name}" + ("" if with_arrays else " (CSV and NumPy need --rate)")
            )
        for each in paths:
            found.setdefault(each.with_suffix("") if each.suffix in _WFDB else each, each)
    return list(found.values())


def _below(folder: Path, with_arrays: bool) -> Iterator[Path]:
    suffixes = {".hea", ".mat", *dicom.SUFFIXES, *(arrays.SUFFIXES if with_arrays else ())}
    return (path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())


def why(path: Path, error: Exception) -> str:
    """Why a recording could not be answered, in a line that names it."""
    said = one_line(error)
    return said if path.stem in said else f"{path}: {said}"


def layout() -> arrays.Layout | None:
    """What CSV and NumPy files do not say; None if nothing was given.

    Raises:
        ValueError: a unit that is no voltage, or names without a rate.
    """
    if _RATE.value is None:
        if _LEAD_NAMES.value:
            raise ValueError("--lead_names are of CSV and NumPy files, which need --rate too")
        return None
    if millivolts(_UNITS.value) is None:
        raise ValueError(f"--units={_UNITS.value} is no voltage; there are mV, uV, nV, V")
    return arrays.Layout(
        _RATE.value, _UNITS.value, arrays.parse_names(_LEAD_NAMES.value) if _LEAD_NAMES.value else None
    )


def leads() -> tuple[str, ...] | None:
    """The leads that may be seen; None: all.

    Raises:
        ValueError: an unknown lead.
    """
    return parse_leads(_LEADS.value) if _LEADS.value else None
