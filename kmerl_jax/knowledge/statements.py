"""Statements of a machine report as text: one spelling for the many that carts print."""

import re
from collections.abc import Sequence

_DECORATION = re.compile(r"\*+|=-+|-{2,}")
_EKG = re.compile(r"\bekg\b")


def normalize(statement: str) -> str:
    """A statement in lower case, without decoration, doubled white space and trailing full stops.

    Carts frame alarms as `*** ... ***` and notes as `--- ... ---` or `=-`; the frame says nothing about the heart.
    Applying it twice changes nothing more.
    """
    text = _DECORATION.sub(" ", statement.lower())
    text = " ".join(_EKG.sub("ecg", text).split())
    return text.lstrip(" -").rstrip(" .-")


def clean_report(statements: Sequence[str]) -> str:
    """The report that a text encoder reads: normalised statements joined by ". ", ending with "."; "" if all are empty.

    Source: MERL's preprocessing of report_0 .. report_17 (joined with ". ", EKG -> ECG, frames stripped, lower case).
    """
    kept = [text for text in map(normalize, statements) if text]
    return ". ".join(kept) + "." if kept else ""
