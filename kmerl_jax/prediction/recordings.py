"""Which recordings a command line names: files, folders and patterns."""

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from kmerl_jax.signals import arrays, dicom

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
    return (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
