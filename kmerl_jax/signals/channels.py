"""From the channels of a file to the leads of an ECG, whatever the file's form."""

from collections.abc import Sequence

import numpy as np

from kmerl_jax.signals import leads
from kmerl_jax.signals.waveform import Ecg

_MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "nv": 1e-6, "v": 1e3}


def millivolts(unit: str) -> float | None:
    """What one of a unit is in millivolts; None if it is no voltage."""
    return _MILLIVOLTS.get(unit.strip().lower())


def to_ecg(where: str, names: Sequence[str], signal: np.ndarray, units: Sequence[str], rate: float) -> Ecg:
    """The channels that are leads, in millivolts; the others (Frank leads, blood pressure, time) are left out.

    Args:
        where: the file, for errors.
        names: of C channels, as the file spells them.
        signal: [C, S].
        units: C of them.
        rate: samples per second.

    Raises:
        ValueError: an unknown unit, a lead twice, or no lead at all.
    """
    kept: dict[str, np.ndarray] = {}
    for name, row, unit in zip(names, signal, units, strict=True):
        lead = leads.canonical(name)
        if lead is None:
            continue
        if lead in kept:
            raise ValueError(f"{where}: lead {lead} is there twice")
        if (scale := millivolts(unit)) is None:
            raise ValueError(f"{where}: unit {unit!r} of lead {lead} is not a voltage")
        kept[lead] = np.asarray(row, np.float64) * scale
    if not kept:
        raise ValueError(f"{where}: none of its channels ({', '.join(names)}) is an ECG lead")
    left_out = tuple(name for name in names if leads.canonical(name) is None)
    return Ecg(np.stack(list(kept.values())), tuple(kept), rate, left_out)
