"""Names of ECG leads: the standard order, aliases met in files, and sets that devices record.

Leads always go by name, never by position: MIMIC-IV-ECG writes aVR aVF aVL where the others write aVR aVL aVF.
"""

import functools
from collections.abc import Iterable

import numpy as np

STANDARD = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The 12 leads in the order of a store's rows and of the model's lead embedding."""

LIMB = STANDARD[:6]
"""The leads of the frontal plane; any two of them determine the other four."""

PROGRESSIVE = ("I", "II", "III", "aVF", "aVR", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order in which the paper adds leads, one at a time (appendix D.3, "Partial Lead Setting")."""

LEAD_SETS = {
    "12": STANDARD,
    "I": ("I",),
    "II": ("II",),
    "V1": ("V1",),
    "watch": ("I",),
    "I+II": ("I", "II"),
    "I,II,V2": ("I", "II", "V2"),
    "limb": LIMB,
    "holter": ("II", "V1", "V5"),
    "chest": ("V1", "V2", "V3", "V4", "V5", "V6"),
    "8": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
}
"""Lead sets with a name: one lead, a watch, a handheld with limb leads, a Holter, the 8 independent leads, all 12."""

CLINICAL = ("I", "II", "I+II", "I,II,V2", "limb", "holter", "8", "12")
"""Names of the sets that devices record: what a partial-lead evaluation scores beside `PROGRESSIVE`."""

_ALIASES = {"MLI": "I", "MLII": "II", "MLIII": "III", "DI": "I", "DII": "II", "DIII": "III", "D1": "I", "D2": "II"}
_ALIASES |= {"D3": "III", "L1": "I", "L2": "II", "L3": "III", "1": "I", "2": "II", "3": "III"}
_ALIASES |= {f"{prefix}V{n}": f"V{n}" for prefix in ("M", "ML") for n in range(1, 7)}
_ALIASES |= {f"C{n}": f"V{n}" for n in range(1, 7)}
_CANONICAL = {name.upper(): name for name in STANDARD} | _ALIASES


def canonical(name: str) -> str | None:
    """Standard spelling of a lead name, or None for a channel that is none of the 12 leads (Frank vx, pleth, ...).

    Letter case, white space and the usual prefixes ("Lead II", "ECG aVR", "MDC_ECG_LEAD_V1") do not matter.
    """
    key = "".join(name.upper().replace("-", " ").replace("_", " ").split())
    for prefix in ("MDC", "ECG", "LEAD"):
        key = key.removeprefix(prefix)
    return _CANONICAL.get(key)


def parse_leads(text: str) -> tuple[str, ...]:
    """Leads of a set's name ("limb") or of a comma-separated list ("I,II,v2"), in the standard order.

    Raises:
        ValueError: a name that is neither a set nor a lead, or a list with a lead twice.
    """
    if text in LEAD_SETS:
        return LEAD_SETS[text]
    if text.lower() in LEAD_SETS:
        return LEAD_SETS[text.lower()]
    names = [canonical(part) for part in text.split(",")]
    if None in names:
        unknown = text.split(",")[names.index(None)].strip()
        raise ValueError(
            f"unknown lead or lead set {unknown!r}; leads are {' '.join(STANDARD)}, sets are {' '.join(LEAD_SETS)}"
        )
    if len(set(names)) != len(names):
        raise ValueError(f"a lead is named twice in {text!r}")
    return standard_order(names)


def standard_order(names: Iterable[str]) -> tuple[str, ...]:
    """The given canonical names in the standard order."""
    return tuple(sorted(names, key=STANDARD.index))


def lead_ids(names: Iterable[str]) -> tuple[int, ...]:
    """Index of each canonical name in the standard order."""
    return tuple(STANDARD.index(name) for name in names)


@functools.cache
def limb_from_pair() -> np.ndarray:
    """How all limb leads follow from two: [6, 6, 6, 2], coefficients of leads a and b at [a, b]; zero where a is b.

    III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2 (Einthoven, Goldberger).
    """
    of_i_and_ii = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])
    table = np.zeros((len(LIMB), len(LIMB), len(LIMB), 2))
    for a in range(len(LIMB)):
        for b in range(len(LIMB)):
            if a != b:
                table[a, b] = of_i_and_ii @ np.linalg.inv(of_i_and_ii[[a, b]])
    return table
