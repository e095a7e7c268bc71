"""What a model says of a store's records, computed once for all tasks and kept in the run directory."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from kmerl_jax.evaluation import metrics
from kmerl_jax.evaluation.inference import Outputs, View
from kmerl_jax.evaluation.pretrained import Pretrained
from kmerl_jax.evaluation.task import Part

ENCODERS = ("pretrained", "random")
_HELD = 4  # outputs in memory: of both encoders, of what probes learn from and of what they are scored on


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers about some entries of a store, whatever is shown of them.

    Attributes:
        pretrained: the model.
        names: that are asked for.
        rows: [N] entries of the store, ascending.
        batch_size: ECGs of 12 leads at a time on each device.
        seed: of the random encoder.
        progress: makes, of what is done, a function of the ECGs done and the number in all.
        cost: what was computed, and how long it took; grows with use.
    """

    pretrained: Pretrained
    names: tuple[str, ...]
    rows: np.ndarray
    batch_size: int
    seed: int
    progress: Callable[[str], Callable[[int, int], None]]
    cost: list[dict] = dataclasses.field(default_factory=list)
    _known: dict[tuple[str, View], Outputs] = dataclasses.field(default_factory=dict)

    def logits(self, part: Part, names: tuple[str, ...], view: View) -> tuple[np.ndarray, np.ndarray]:
        """Logits [R, C] of some of the names, means over a record's windows; and [R] bool: it has any of the leads."""
        values, seen = self._of(part, "pretrained", view, "logits")
        return part.average(values[:, [self.names.index(name) for name in names]], seen)

    def cosines(self, part: Part, texts: list[str], view: View) -> tuple[np.ndarray, np.ndarray]:
        """Cosines [R, C] of projected ECGs and projected texts, and [R] bool, as of `logits`."""
        values, seen = self._of(part, "pretrained", view, "ecg")
        return part.average(metrics.cosines(values, self.pretrained.project_texts(texts)), seen)

    def features(self, part: Part, encoder: str, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Pooled features [R, D] of an encoder, "pretrained" or "random", and [R] bool, as of `logits`."""
        return part.average(*self._of(part, encoder, view, "pooled"))

    def _of(self, part: Part, encoder: str, view: View, name: str) -> tuple[np.ndarray, np.ndarray]:
        if (encoder, view) not in self._known:
            if len(self._known) >= _HELD:
                del self._known[next(iter(self._known))]
            self._known[encoder, view] = self._compute(encoder, view)
        out, places = self._known[encoder, view], np.searchsorted(self.rows, part.rows)
        return out[name][places], out["seen"][places]

    def _compute(self, encoder: str, view: View) -> Outputs:
        what = f"{encoder} encoder, {','.join(view.leads)}"
        how = {"batch_size": self.batch_size, "progress": self.progress(what)}
        begun = time.perf_counter()
        if encoder == "random":
            out, new = self.pretrained.random_pooled(self.seed, view, self.rows, **how)
        else:
            out, new = self.pretrained.describe(self.names, view, self.rows, **how)
        seconds = time.perf_counter() - begun
        if new:
            self.cost.append({"what": what, "ecgs": len(self.rows), "seconds": seconds})
        return out
