"""Reading DICOM ECG waveforms, by pydicom."""

import re
from pathlib import Path

import numpy as np

from kmerl_jax.signals import leads
from kmerl_jax.signals.channels import to_ecg
from kmerl_jax.signals.waveform import Ecg

SUFFIXES = (".dcm", ".dicom")
_DEFLATED = "1.2.840.10008.1.2.1.99"
# Numbers of the leads in the coding schemes of ECGs, MDC (2:1) and SCPECG (5.6.3-9-1).
_CODES = {1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF"} | {n + 2: f"V{n}" for n in range(1, 7)}


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does; archives name them by numbers."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def read(path: Path) -> Ecg:
    """Reads the recording of a DICOM file: of its groups of channels, the one with most leads, of these the longest.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no DICOM file, has no waveforms, or is damaged.
    """
    import pydicom  # as late as wfdb

    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        if pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta.TransferSyntaxUID == _DEFLATED:
            raise ValueError("it is compressed as a whole (deflated), and what it unpacks to has no bound; convert it")
        file = pydicom.dcmread(path)
        groups = file.get("WaveformSequence") or []
        if not groups:
            raise ValueError("it has no waveforms")
        named = [[_name(channel) for channel in group.ChannelDefinitionSequence] for group in groups]
        best = max(range(len(groups)), key=lambda n: (_leads(named[n]), groups[n].NumberOfWaveformSamples))
        units = [_unit(channel) for channel in groups[best].ChannelDefinitionSequence]
        signal = np.asarray(pydicom.waveforms.multiplex_array(file, best, as_raw=False)).T
        rate = float(groups[best].SamplingFrequency)
    except Exception as error:  # pydicom raises whatever its parsing runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a DICOM ECG that can be read: {reason}") from error
    return to_ecg(str(path), named[best], signal, units, rate)


def _leads(names: list[str]) -> int:
    return sum(leads.canonical(name) is not None for name in names)


def _name(channel) -> str:
    source = channel.ChannelSourceSequence[0]
    code = re.search(r"(?:5\.6\.3-9-|2:)(\d+)$", str(source.get("CodeValue", "")))
    if code and int(code[1]) in _CODES:
        return _CODES[int(code[1])]
    return re.sub(r"\(.*?\)", "", str(source.get("CodeMeaning", ""))).strip() or "unnamed"


def _unit(channel) -> str:
    units = channel.get("ChannelSensitivityUnitsSequence")
    return str(units[0].CodeValue) if units else "none"
