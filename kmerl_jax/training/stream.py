"""The one stream: which record stands at which place, on any number of processes and workers.

A record's place in the endless global stream decides everything random about it: one global shuffle decides which
record stands there, and its masks are drawn from the place. A global batch is a run of consecutive places; each process
reads a contiguous block of it. So the state of the whole input is one integer.
"""

import dataclasses
import sys
import threading
import time
from collections.abc import Iterator

import grain
import jax
import numpy as np
from absl import flags
from grain.experimental import index_shuffle

from kmerl_jax.cohorts import store
from kmerl_jax.signals import leads
from kmerl_jax.signals.waveform import SAMPLES, Window

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examples:
    """The records of one split, with their texts and labels.

    Attributes:
        entries: the store's windows.
        rows: [N] indices of the split's entries in the store.
        texts: name -> [D, ...], what is known of each of D distinct reports: "text", their embeddings, or their tokens,
            "text_tokens" and "text_valid".
        text_id: [N] int32, which of them is each record's.
        labels: [N, Q] int8: 1 present, 0 absent, -1 not known.
    """

    entries: store.Entries
    rows: np.ndarray
    texts: dict[str, np.ndarray]
    text_id: np.ndarray
    labels: np.ndarray

    def describe(self, row: np.ndarray) -> Batch:
        """Texts and labels of the records at [B] positions of the split."""
        text_id = self.text_id[row]
        texts = {name: values[text_id] for name, values in self.texts.items()}
        return texts | {"text_id": text_id.astype(np.int32), "labels": self.labels[row]}


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """Batches of this process, its contiguous block of each global batch: all that a worker process needs to be sent.

    Attributes:
        entries: the store's windows.
        rows: [N] indices of the split's entries in the store.
        seed: of the first pass's order; each further pass counts one up.
        start: the place of the first global batch's first record.
        stride: records of a global batch.
        offset: of the block in its global batch.
        size: records of the block.
        skip_unreadable: whether another record stands in for one that cannot be read.
        reading: which entry each thread is reading, and since when.
    """

    entries: store.Entries
    rows: np.ndarray
    seed: int
    start: int
    stride: int
    offset: int
    size: int
    skip_unreadable: bool
    reading: dict[int, tuple[int, float]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return (sys.maxsize - self.start) // self.stride

    def __getitem__(self, n: int) -> Batch:
        first = self.start + n * self.stride
        places = range(first + self.offset, first + self.offset + self.size)
        row, unreadable, segments = np.empty((3, self.size), np.int32)
        signal = np.empty((self.size, len(leads.STANDARD), SAMPLES), np.int16)
        presence = np.empty((self.size, len(leads.STANDARD)), bool)
        for k, place in enumerate(places):
            row[k], unreadable[k], window = self._read(self._row(place))
            # Copied at once: windows that are kept to be stacked at the end are twice the memory, in fresh pages.
            signal[k], presence[k], segments[k] = window.signal, window.presence, window.segments
        return {
            "row": row,
            "entry": self.rows[row].astype(np.int32),
            "unreadable": unreadable,
            "signal": signal,
            "presence": presence,
            "segments": segments,
            "index": np.array(places).astype(np.uint32),
            "first": np.full(self.size, first).astype(np.uint32),
        }

    def _row(self, place: int) -> int:
        """Which record stands at a place: each pass over the records has an order of its own."""
        # As Grain's seed().shuffle().repeat(), whose layers of Python hold the reading threads up.
        turn, index = divmod(place, len(self.rows))
        return index_shuffle(index, max_index=len(self.rows) - 1, seed=(self.seed + turn) % 2**32, rounds=4)

    def _read(self, row: int) -> tuple[int, int, Window]:
        """The window of a record, or of the one that stands in for it.

        Returns:
            Which record it is, the entry that it stands in for or -1, and the window.
        """
        unreadable = -1
        for stand_in in self._stand_ins(row):
            entry = int(self.rows[stand_in])
            thread = threading.get_ident()
            self.reading[thread] = entry, time.monotonic()
            try:
                return stand_in, unreadable, self.entries[entry]
            except ValueError as error:
                if not self.skip_unreadable:
                    raise ValueError(
                        f"{error}; prepare the store again, or --config.data.unreadable=skip goes on without it"
                    ) from error
                unreadable = int(self.rows[row])
            finally:
                del self.reading[thread]
        raise ValueError(f"nothing of the split can be read, entry {entry} of the store for one")

    def _stand_ins(self, row: int) -> Iterator[int]:
        """The row itself, then others that depend on it alone: the same on any process, at any time."""
        yield row
        yield from np.random.default_rng(row).integers(len(self.rows), size=1000).tolist()


class Stream:
    """The endless stream of training batches, as this process sees it.

    Attributes:
        next_index: the place of the next global batch's first record; the stream's whole state.
    """

    def __init__(
        self,
        examples: Examples,
        batch_size: int,
        seed: int,
        next_index: int = 0,
        process: int = 0,
        processes: int = 1,
        workers: int = 0,
        skip_unreadable: bool = False,
    ):
        """Args:
            examples: the records.
            batch_size: of the global batch.
            seed: of the shuffle; every pass over the records has an order of its own.
            next_index: where to begin.
            process: this process.
            processes: how many there are.
            workers: Grain worker processes; 0 reads in threads, which is enough unless a profile says otherwise.
            skip_unreadable: whether another record stands in for one that cannot be read; else that is an error.

        Raises:
            ValueError: no records, or a batch that the processes do not divide.
        """
        if len(examples.rows) == 0:
            raise ValueError("no record to read: the split is empty")
        if batch_size % processes:
            raise ValueError(f"train.batch_size={batch_size} is not divisible by {processes} processes")
        self.next_index, self._batch_size, self._workers, self._examples = next_index, batch_size, workers, examples
        size = batch_size // processes
        self._blocks = _Blocks(
            examples.entries,
            examples.rows,
            # As Grain's shuffle derives its seed.
            seed=int(np.random.SeedSequence((seed, 1)).generate_state(1)[0]),
            start=next_index,
            stride=batch_size,
            offset=process * size,
            size=size,
            skip_unreadable=skip_unreadable,
        )

    def __iter__(self) -> Iterator[Batch]:
        """Batches from `next_index` on; `next_index` moves with each.

        A batch holds, of each record: "index" (uint32, its place), "first" (uint32, the place of the global batch's
        first record), "entry" (int32, its row in the store), "unreadable" (int32, the entry that it stands in for, or
        -1), "signal" [12, 5000] int16 µV, "presence" [12], "segments", "text_id", "labels" [Q], and what
        `Examples.texts` has.
        """
        # Grain's default buffers 500 elements, and an element is a batch here.
        blocks = grain.MapDataset.source(self._blocks)
        data = blocks.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
        if self._workers:
            if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags, which a library user never parsed
                flags.FLAGS.mark_as_parsed()
            data = data.mp_prefetch(grain.MultiprocessingOptions(self._workers, per_worker_buffer_size=2))
        iterator = iter(data)
        try:
            for batch in iterator:
                self.next_index += self._batch_size
                yield batch | self._examples.describe(batch.pop("row"))
        finally:
            if self._workers:
                iterator.close()

    def doing(self) -> str:
        """What is being read just now: for a warning that it takes long."""
        if self._workers:
            return f"waiting for {self._workers} worker processes that read records"
        if not self._blocks.reading:
            return "waiting for a batch, and no record is being read"
        entry, since = min(list(self._blocks.reading.values()), key=lambda reading: reading[1])
        file = self._examples.entries.file_of(entry)
        return f"reading entry {entry}, in {file}, for {time.monotonic() - since:.0f} s"


def make_stream(examples: Examples, config, next_index: int = 0, workers: int = 0) -> Stream:
    """This process's stream as a config has it.

    Args:
        examples: the records.
        config: a resolved config.
        next_index: where to begin.
        workers: Grain worker processes; see `Stream`.
    """
    return Stream(
        examples,
        config.train.batch_size,
        config.seed,
        next_index,
        jax.process_index(),
        jax.process_count(),
        workers,
        config.data.unreadable == "skip",
    )
