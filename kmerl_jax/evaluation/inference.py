"""Running a model over the entries of a store, with a chosen set of leads, on all devices."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from kmerl_jax.cohorts.store import Store
from kmerl_jax.models import tokens
from kmerl_jax.models.tokens import Form
from kmerl_jax.models.transformer import apart
from kmerl_jax.processes import together
from kmerl_jax.signals.leads import STANDARD, lead_ids
from kmerl_jax.training import sharding
from kmerl_jax.training.methods import Model

Outputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class View:
    """What of a store a model is shown.

    Attributes:
        store: where the ECGs are.
        leads: the leads that may be seen; the others influence nothing.
        derive: computes the other limb leads of an ECG that shows two of them.
        samples: what comes later in a window is set to zero, and the window counts as full (MERL's way with CPSC2018);
            None shows what there is.
    """

    store: Store
    leads: tuple[str, ...]
    derive: bool = False
    samples: int | None = None

    def about(self) -> dict:
        """What decides the tokens, for the name of what is computed from them."""
        return {"store": self.store.checksum, "leads": self.leads, "derive": self.derive, "cut": self.samples}


def describe(model: Model, params: dict, queries: np.ndarray, form: Form, mesh: Mesh, **over) -> Outputs:
    """What the model says of ECGs.

    Args:
        model: the network.
        params: its parameters.
        queries: [C, E], embeddings of the names to ask for.
        form: of the tokens, as in training.
        mesh: the devices.
        **over: `view`, `rows`, `batch_size`, `progress`; see `apply`.

    Returns:
        "logits" [N, C], "ecg" [N, P], "pooled" [N, D] as of the model's `describe`, and "seen" [N] bool: the ECG had
        any of the leads.
    """

    def forward(params: dict, bag: tokens.Tokens) -> dict[str, jax.Array]:
        return model.apply({"params": params}, bag, queries, method="describe")

    return apply(forward, params, form, mesh, **over)


def pooled(model: Model, params: dict, form: Form, mesh: Mesh, **over) -> Outputs:
    """The encoder's features alone: "pooled" [N, D] and "seen" [N]; arguments as of `describe`."""

    def forward(params: dict, bag: tokens.Tokens) -> dict[str, jax.Array]:
        return {"pooled": model.apply({"params": params}, bag, method="pooled")}

    return apply(forward, params, form, mesh, **over)


def random_encoder(model: Model, seed: int, form: Form) -> dict:
    """Parameters of an encoder that has learnt nothing, for `pooled`; NumPy arrays, which any mesh takes."""
    init = jax.jit(lambda key: model.init(key, tokens.one(form), method="pooled")["params"])
    return jax.device_get(init(jax.random.key(seed)))


def over_windows(
    forward: Callable[[dict, tokens.Tokens], dict[str, jax.Array]],
    form: Form,
    mesh: Mesh,
    leads: Sequence[str],
    derive: bool = False,
    samples: int | None = None,
) -> Callable[..., dict[str, jax.Array]]:
    """A compiled function of parameters and windows that shows a function of tokens the chosen leads.

    Args:
        forward: of parameters and a batch's tokens to arrays [B, ...].
        form: of the tokens.
        mesh: the devices.
        leads: see `View`, as the rest.
        derive: see `View`.
        samples: see `View`.

    Returns:
        A function of (params, signal [B, 12, 5000], presence [B, 12], segments [B]) to what `forward` gives, and
        "seen" [B].
    """
    ids = lead_ids(leads)

    def run(params, signal, presence, segments):
        bag = tokens.all_tokens(signal, presence, segments, ids, derive, samples, form.length)
        return forward(params, tokens.formed(bag, form)) | {"seen": bag.valid.any(1)}

    return jax.jit(run, out_shardings=sharding.replicated(mesh))


def apply(*how, rows: np.ndarray, progress: Callable[[int, int], None] = lambda done, total: None, **over) -> Outputs:
    """What `batches` gives, of all entries at once.

    Args:
        *how: see `batches`.
        rows: [N] which entries of the store.
        progress: called with the number of ECGs done and the number in all.
        **over: see `batches`.
    """
    parts, done = [], 0
    for part in batches(*how, rows=rows, **over):
        parts.append(part)
        done += len(part["seen"])
        progress(done, len(rows))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def batches(
    forward: Callable[[dict, tokens.Tokens], dict[str, jax.Array]],
    params: dict,
    form: Form,
    mesh: Mesh,
    *,
    view: View,
    rows: np.ndarray,
    batch_size: int,
) -> Iterator[Outputs]:
    """Applies a function of tokens to entries, batch by batch; what it gives does not depend on the batches.

    Args:
        forward: of parameters and a batch's tokens to arrays [B, ...].
        params: the parameters.
        form: of the tokens.
        mesh: the devices.
        view: what is shown of the entries.
        rows: [N] which entries of the store.
        batch_size: ECGs of 12 leads at a time on each device, or more of fewer leads; no more than the store has.

    Yields:
        What it gives of the next entries, and "seen".
    """
    run = over_windows(forward, form, mesh, view.leads, view.derive, view.samples)
    params = apart(params)
    # A device computes the same however many there are, and whichever entries are asked for: the size is of its share,
    # which a store of few entries limits, and not the number of rows.
    batch_size = min(-(-batch_size * len(STANDARD) // len(view.leads)), len(view.store)) * mesh.size
    share = batch_size // jax.process_count()  # a process reads its own block of each batch, and gets the whole answer
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        # The last batch is filled up by repetition: one shape, one compilation.
        filled = np.resize(part, batch_size)[jax.process_index() * share :][:share]
        windows = [view.store[int(row)] for row in filled]
        batch = {
            "signal": np.stack([window.signal for window in windows]),
            "presence": np.stack([window.presence for window in windows]),
            "segments": np.array([window.segments for window in windows], np.int32),
        }
        values = jax.device_get(run(params, **sharding.to_device(batch, mesh)))
        yield {name: value[: len(part)] for name, value in values.items()}


def cached(folder: Path, about: dict, compute: Callable[[], Outputs]) -> tuple[Outputs, bool]:
    """What was computed before of the same model, store, entries and leads; else computes and keeps it.

    Args:
        folder: of the cache.
        about: everything that decides the result.
        compute: makes it.

    Returns:
        The outputs, and whether they had to be computed.

    Raises:
        ValueError: a damaged file.
    """
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{key}.npz"
    if together.everyone(path.exists()):
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file), False
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}, features computed before, is damaged ({error}); remove the file") from error
    values = compute()
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{key}.tmp"
        with open(unfinished, "wb") as out:
            np.savez(out, **values)
        unfinished.replace(path)
    return values, True
