"""Headers of the PhysioNet challenges: WFDB headers with a recording's diagnoses as SNOMED CT codes in `#Dx`."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_DX = re.compile(r"^#\s*Dx\s*:(.*)$", re.MULTILINE | re.IGNORECASE)


def find(source: Path, names: str) -> tuple[dict[str, Path], Counter]:
    """The records anywhere below a folder.

    Args:
        source: the folder.
        names: pattern of the data set's record names; other data sets may lie beside it.

    Returns:
        Record -> path without extension, in the order of the names; and the counts of files that are no record of the
        data set.

    Raises:
        ValueError: a record is there twice.
    """
    pattern, found, signals, others = re.compile(names), {}, set(), 0
    for folder, _, files in os.walk(source):
        for file in files:
            stem, extension = os.path.splitext(file)
            if extension == ".mat" and pattern.fullmatch(stem):
                signals.add(stem)
            elif extension == ".hea" and not pattern.fullmatch(stem):
                others += 1
            elif extension == ".hea":
                path = Path(folder, stem)
                if stem in found:
                    raise ValueError(
                        f"record {stem} is there twice: {min(found[stem], path)}, {max(found[stem], path)}"
                    )
                found[stem] = path
    left_out = Counter({"header of another data set": others})
    left_out += named("signal file without a header", signals - set(found))
    return dict(sorted(found.items())), left_out


def codes(path: Path) -> list[str]:
    """The SNOMED CT codes in `#Dx` of a record's header, each once; none if it is damaged.

    Args:
        path: the record, without extension.
    """
    # By hand: wfdb takes some milliseconds a header, and stops at those that are damaged.
    text = path.with_name(path.name + ".hea").read_text(encoding="latin-1")
    return list(dict.fromkeys(re.findall(r"\d+", " ".join(_DX.findall(text)))))


def named(reason: str, records: Iterable[str]) -> Counter:
    """A count of records with the names of the first few: a data set's few damaged files are worth naming."""
    records = sorted(records)
    if not records:
        return Counter()
    return Counter({f"{reason} ({', '.join(records[:3])}{', ...' if len(records) > 3 else ''})": len(records)})
