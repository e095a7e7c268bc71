"""ECGs from memory-mapped arrays, MERL's way, through PyTorch's DataLoader: the batches of a `Stream`."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import SAMPLES
from kmerl_jax.training.stream import Examples

AHEAD = 2  # batches that each worker process prepares before they are asked for


def write_arrays(
    examples: Examples, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Path:
    """Writes the records of a split as .npy files, N of them in one array, to be read by mapping them into memory.

    Args:
        examples: the records.
        folder: where to: records/ with arrays [N, ...] ("signal" [N, 12, 5000] int16, "entry", "presence", "segments",
            "text_id", "labels"), reports/ with those of the D distinct reports [D, ...].
        progress: called with the number of records done and the number in all.

    Returns:
        The folder.
    """
    records, reports = folder / "records", folder / "reports"
    records.mkdir(parents=True)
    reports.mkdir()
    size = len(examples.rows)
    signal = np.lib.format.open_memmap(records / "signal.npy", "w+", np.int16, (size, len(STANDARD), SAMPLES))
    presence, segments = np.zeros((size, len(STANDARD)), bool), np.zeros(size, np.int32)
    for n, entry in enumerate(examples.rows):
        window = examples.entries[int(entry)]
        signal[n], presence[n], segments[n] = window.signal, window.presence, window.segments
        progress(n + 1, size)
    signal.flush()
    for name, array in (
        ("entry", examples.rows.astype(np.int32)),
        ("presence", presence),
        ("segments", segments),
        ("text_id", examples.text_id.astype(np.int32)),
        ("labels", examples.labels),
    ):
        np.save(records / f"{name}.npy", array)
    for name, array in examples.texts.items():
        np.save(reports / f"{name}.npy", array)
    return folder


class Records(Dataset):
    """The records of a folder of `write_arrays`; one is asked for at a time, or a whole batch."""

    def __init__(self, folder: Path):
        self.folder = folder

    # Opened where it is read: a worker process is sent the name of the folder, not its content.
    @functools.cached_property
    def _arrays(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        def opened(part: str) -> dict[str, np.ndarray]:
            # Nothing writes to them; but PyTorch takes no array that could not be written to.
            return {file.stem: np.load(file, mmap_mode="c") for file in sorted((self.folder / part).glob("*.npy"))}

        return opened("records"), opened("reports")

    def __getstate__(self) -> dict:
        return {"folder": self.folder}

    def __len__(self) -> int:
        return len(self._arrays[0]["entry"])

    def __getitem__(self, places: int | list[int]) -> dict[str, torch.Tensor]:
        """The record at a place of the split, or those at B places in tensors [B, ...]."""
        records, reports = self._arrays
        batch = {name: np.asarray(array[places]) for name, array in records.items()}
        batch |= {name: np.asarray(array[batch["text_id"]]) for name, array in reports.items()}
        return {name: torch.from_numpy(array) for name, array in batch.items()}


def batches(
    folder: Path, batch_size: int, seed: int = 0, workers: int = 0, pinned: bool = False, whole: bool = True
) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches, each pass over the records in another random order; a last part of a batch is left out.

    Args:
        folder: of `write_arrays`.
        batch_size: B.
        seed: of the orders.
        workers: processes that read; 0: this one does.
        pinned: whether batches lie in memory that a GPU copies from by itself.
        whole: whether a batch is read at once, which is faster; else record by record and stacked by the DataLoader,
            as MERL does.

    Yields:
        "signal" [B, 12, 5000] int16 in microvolts, "presence" [B, 12], "segments", "entry", "text_id" [B], "labels"
        [B, Q], the arrays of the reports [B, ...], and "index" [B] int64, the places in the stream.

    Raises:
        ValueError: there are fewer records than a batch has.
    """
    records = Records(folder)
    if len(records) < batch_size:
        raise ValueError(f"{len(records)} records are less than a batch of {batch_size}")
    order = RandomSampler(records, generator=torch.Generator().manual_seed(seed))
    how = {"batch_size": None, "sampler": BatchSampler(order, batch_size, drop_last=True)}
    loader = DataLoader(
        records,
        **(how if whole else {"batch_size": batch_size, "sampler": order, "drop_last": True}),
        prefetch_factor=AHEAD if workers else None,
        num_workers=workers,
        pin_memory=pinned,
        persistent_workers=workers > 0,
        # JAX runs threads in this process, which a fork does not survive.
        multiprocessing_context="spawn" if workers else None,
    )
    first = 0
    while True:
        for batch in loader:
            yield batch | {"index": torch.arange(first, first + batch_size)}
            first += batch_size
