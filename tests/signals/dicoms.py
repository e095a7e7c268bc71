"""DICOM waveforms for tests."""

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

CODES = {"I": 1, "II": 2, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64} | {f"V{n}": n + 2 for n in range(1, 7)}


def group(signal: np.ndarray, leads, rate: float, unit: str = "uV", sensitivity: float = 5.0, scheme: str = "5.6.3-9-"):
    """A group of channels: signal [L, S] in steps of `sensitivity` units; scheme "": leads named in words."""
    one = Dataset()
    one.NumberOfWaveformChannels, one.NumberOfWaveformSamples = signal.shape
    one.SamplingFrequency = rate
    one.WaveformOriginality = "ORIGINAL"
    channels = []
    for lead in leads:
        channel, source = Dataset(), Dataset()
        source.CodeValue = f"{scheme}{CODES[lead]}" if scheme else "x"
        source.CodingSchemeDesignator, source.CodeMeaning = "SCPECG", f"Lead {lead} (Einthoven)"
        channel.ChannelSourceSequence = Sequence([source])
        if unit:
            units = Dataset()
            units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = unit, "UCUM", unit
            channel.ChannelSensitivityUnitsSequence = Sequence([units])
        channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = sensitivity, 1
        channel.ChannelBaseline = 0
        channel.WaveformBitsStored = 16
        channels.append(channel)
    one.ChannelDefinitionSequence = Sequence(channels)
    one.WaveformBitsAllocated, one.WaveformSampleInterpretation = 16, "SS"
    one.WaveformData = np.ascontiguousarray(signal.T, "<i2").tobytes()
    return one


def write(path, *groups, syntax=ExplicitVRLittleEndian):
    """A file of these groups."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = TwelveLeadECGWaveformStorage, generate_uid()
    meta.TransferSyntaxUID = syntax
    file = pydicom.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    if groups:
        file.WaveformSequence = Sequence(groups)
    file.save_as(path, enforce_file_format=True)
    return path
