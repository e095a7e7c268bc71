"""Flags of the commands that read recordings: what a file does not say, and which leads may be seen."""

from absl import flags

from kmerl_jax.signals import arrays
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
    return None if _LEADS.value is None else parse_leads(_LEADS.value)
