"""A trained model in Python: findings, embeddings and similarities of anyone's ECGs, NumPy in and out."""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from kmerl_jax.evaluation import evidence, hub, metrics, pretrained
from kmerl_jax.knowledge import ontology
from kmerl_jax.models import tokens
from kmerl_jax.models.transformer import apart
from kmerl_jax.prediction import bags
from kmerl_jax.prediction.bags import Bag
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import RATE, SEGMENT, Ecg
from kmerl_jax.training import sharding

_FEW_NAMES, _NAMES = 16, 32  # names are asked in multiples of these, so that few programs are compiled

Ecgs = Ecg | np.ndarray | Sequence[Ecg | np.ndarray]
Leads = str | Sequence[str] | None


@dataclasses.dataclass(frozen=True)
class TokenFeatures:
    """The encoder's features of each token of a recording.

    Attributes:
        features: [T, D] float32.
        lead: [T] int32, index in `kmerl_jax.STANDARD`.
        segment: [T] int32, 0.2 s each, from the beginning of the recording.
    """

    features: np.ndarray
    lead: np.ndarray
    segment: np.ndarray


class Model:
    """A trained model. All of its methods can be called from several threads at a time.

    What of a recording holds no signal is passed over, as long as there is some. It computes on the first device alone,
    so that it says the same whatever the number of devices.

    Attributes:
        path: the folder that it was loaded from.
        entities: names that it was trained to ask for.
        evidence: what evaluations of it found; see `kmerl_jax.evaluation.evidence`.
        opened: what it was loaded from: config, step, text encoder.
        network: the Flax module.
        params: its parameters.
    """

    def __init__(self, opened: pretrained.Pretrained):
        """Takes what `pretrained.load` opened."""
        self.path, self.entities = opened.path, tuple(opened.trained_on["entities"])
        self.evidence = evidence.gather(opened.path)
        self.opened = opened
        self.network, self.params = opened.model, apart(opened.params)
        self._ontology = ontology.load()
        self._by_canonical = {self._ontology.canonical(entity): entity for entity in self.entities}
        self._asked: tuple[tuple[str, ...], jax.Array] | None = None
        self._lock = threading.Lock()
        self._answer = jax.jit(self._function("describe"))
        self._pool = jax.jit(self._function("pooled"))
        self._encode = jax.jit(self._function("features"))
        self._attend = jax.jit(self._attention)
        self._embed = jax.jit(self._function("embedded"))

    def facts(self) -> dict:
        """What it is, as JSON values."""
        config = self.opened.config
        return {
            "path": str(self.path),
            "name": f"{config.name}-{config.recipe}",
            "step": self.opened.step,
            "checksum": self.opened.checksum,
            "cohort": self.opened.trained_on["cohort"],
            "entities": len(self.entities),
        }

    @property
    def measure(self) -> str:
        """What it says of a finding: its "probability", by the query network; or the "cosine" of ECG and name."""
        return "probability" if "query" in self.network.scores else "cosine"

    def said(self, logits: np.ndarray | jax.Array) -> np.ndarray | jax.Array:
        """What `measure` names, from logits."""
        if self.measure == "cosine":
            return logits
        return jax.nn.sigmoid(logits) if isinstance(logits, jax.Array) else expit(logits)

    def check_looking(self) -> None:
        """Raises ValueError if it cannot say where it looked: it has no query network, or tokens of another form."""
        form = self.opened.form
        if self.measure == "cosine" or form != tokens.Form(form.normalization):
            raise ValueError(
                f"{self.path} cannot say where it looked: that takes K-MERL's query network over tokens of 100 samples "
                "of one lead each; leave out --plot and --html"
            )

    def trained_as(self, name: str) -> str | None:
        """The entity that it was trained to ask for and that a name stands for; None if there is none."""
        return self._by_canonical.get(self._ontology.canonical(name))

    def findings(self, ecgs: Ecgs, names: Sequence[str] | None = None, leads: Leads = None) -> np.ndarray:
        """Probabilities of findings, each in words of your own or of the training; of MERL, cosines (`measure`).

        Of a recording longer than 10 s the logits are means over its windows, as in evaluations.

        Args:
            ecgs: one, or N of any rates, lengths and leads. An array is of millivolts at 500 Hz, [12, S] in the order
                of `kmerl_jax.STANDARD`; what is NaN is not there. [N, 12, S] are N.
            names: C findings; None: `entities`.
            leads: that may be seen, or the name of a set of them; None: all that there are.

        Returns:
            [C] float32 of one ECG, [N, C] of several.

        Raises:
            ValueError: a recording that cannot be an ECG, no signal in any of the leads, or an empty name.
        """
        names = self.entities if names is None else _checked(names)
        logits = self._mean(ecgs, leads, lambda one: self.logits(one, names))
        return np.asarray(self.said(logits), np.float32)

    def embed(
        self, ecgs: Ecgs, leads: Leads = None, per_token: bool = False
    ) -> np.ndarray | TokenFeatures | list[TokenFeatures]:
        """The encoder's features, before any projection: what a linear probe learns from.

        Args:
            ecgs: one, or N.
            leads: see `findings`.
            per_token: of each token, and not their mean; of K-MERL's models.

        Returns:
            [D] or [N, D] float32, means over tokens and windows; per token, `TokenFeatures` or a list of them.

        Raises:
            ValueError: see `findings`; or a model without features of each token.
        """
        if not per_token:
            return self._mean(ecgs, leads, self._pooled)
        if not hasattr(self.network, "features") or self.opened.form.length != SEGMENT:
            raise ValueError(f"{self.path} has no features of tokens of 100 samples; leave out per_token")
        found = []
        several, one = _several(ecgs)
        for ecg in several:
            parts = bags.of_ecg(ecg, leads)
            features = self.features(parts)
            segments = [part.segment + part.window * bags.SEGMENTS for part in parts]
            lead = np.concatenate([part.lead for part in parts])
            found.append(TokenFeatures(np.concatenate(features), lead, np.concatenate(segments)))
        return found[0] if one else found

    def similarity(self, ecgs: Ecgs, texts: Sequence[str], leads: Leads = None) -> np.ndarray:
        """Cosines of ECGs and texts, where the training brought each ECG close to its report.

        The largest of a row is the text that fits an ECG best; the largest of a column, the ECG that fits a text best.

        Args:
            ecgs: one, or N.
            texts: M reports or phrases.
            leads: see `findings`.

        Returns:
            [M] float32 of one ECG, [N, M] of several.

        Raises:
            ValueError: see `findings`.
        """
        self.check_names()
        projected = self.opened.project_texts(_checked(texts))
        return self._mean(ecgs, leads, lambda one: metrics.cosines(self._projected(one), projected).astype(np.float32))

    def project(self, ecgs: Ecgs, leads: Leads = None) -> np.ndarray:
        """ECGs where they are compared, with texts or with each other, by their cosine.

        Args:
            ecgs: one, or N.
            leads: see `findings`.

        Returns:
            [P] float32 of one ECG, [N, P] of several, means over windows.

        Raises:
            ValueError: see `findings`.
        """
        return self._mean(ecgs, leads, self._projected)

    def logits(self, parts: Sequence[Bag], names: Sequence[str]) -> np.ndarray:
        """[W, C] logits of C findings in W windows' bags.

        Raises:
            ValueError: an encoder alone, which cannot be asked.
        """
        self.check_names()
        queries = self.queries(tuple(names))
        return self._over(parts, lambda bag: self._answer(self.params, bag, queries)["logits"])[:, : len(names)]

    def features(self, parts: Sequence[Bag]) -> list[np.ndarray]:
        """Of W windows' bags, [T, D] each."""
        padded = self._over(parts, lambda bag: self._encode(self.params, bag))
        return [x[: len(part.values)] for x, part in zip(padded, parts, strict=True)]

    def attention(self, part: Bag, names: Sequence[str]) -> np.ndarray:
        """Weights of the query network's cross-attention, [C, layers, heads, T]: of C findings, over a bag's tokens."""
        ((_, batch),) = bags.batches([part])
        weights = np.asarray(self._attend(self.params, batch, self.queries(tuple(names))), np.float32)
        return np.moveaxis(weights[:, 0, :, : len(names), : len(part.values)], 2, 0)

    def queries(self, names: tuple[str, ...]) -> jax.Array:
        """Embeddings [Q, E] of the names and, where it makes no difference, of nothing, up to a usual number."""
        with self._lock:  # the same are asked of record after record
            if self._asked is None or self._asked[0] != names:
                embeddings = self.opened.encoder.embed(names)
                step = _FEW_NAMES if len(names) <= _FEW_NAMES else _NAMES
                more = 0 if self.opened.config.model.query_self_attention else -len(names) % step
                self._asked = names, jax.device_put(np.pad(embeddings, ((0, more), (0, 0))))
            return self._asked[1]

    def _function(self, method: str) -> Callable:
        """Of parameters and tokens in millivolts, and of what else the network's method takes."""
        form = self.opened.form

        def function(params: dict, bag: tokens.Tokens, *more: jax.Array):
            bag = tokens.formed(tokens.recut(bag, form.length), form)
            return self.network.apply({"params": params}, bag, *more, method=method)

        return function

    def _attention(self, params: dict, bag: tokens.Tokens, queries: jax.Array) -> jax.Array:
        """[layers, B, heads, Q, T]."""
        bag = tokens.formed(bag, self.opened.form)
        _, seen = self.network.apply({"params": params}, bag, queries, method="describe", mutable=["intermediates"])
        layers = seen["intermediates"]["query_network"]["layers"]
        return jnp.stack([layer["cross_attention"]["weights"][0] for layer in layers])

    def check_names(self) -> None:
        """Raises ValueError if it cannot be asked by name."""
        if not self.network.scores:
            raise ValueError(f"{self.path} is an ECG encoder alone, which cannot be asked by name; embed uses it")

    def _pooled(self, parts: Sequence[Bag]) -> np.ndarray:
        return self._over(parts, lambda bag: self._pool(self.params, bag))

    def _projected(self, parts: Sequence[Bag]) -> np.ndarray:
        self.check_names()
        return self._over(parts, lambda bag: self._embed(self.params, bag)["ecg"])

    def _over(self, parts: Sequence[Bag], compute: Callable[[tokens.Tokens], jax.Array]) -> list | np.ndarray:
        """A row for each bag, whatever batches they were in."""
        rows: list = [None] * len(parts)
        for chosen, bag in bags.batches(parts):
            for n, row in zip(chosen, np.asarray(compute(bag)), strict=False):
                rows[n] = row
        return rows if any(row.shape != rows[0].shape for row in rows) else np.stack(rows)

    def _mean(self, ecgs: Ecgs, leads: Leads, compute: Callable[[Sequence[Bag]], np.ndarray]) -> np.ndarray:
        """Of each ECG, the mean over its windows."""
        several, one = _several(ecgs)
        parts = [bags.of_ecg(ecg, leads) for ecg in several]
        if not parts:
            raise ValueError("no ECG was given")
        values = compute([bag for part in parts for bag in part])
        ends = np.cumsum([len(part) for part in parts])
        means = np.stack([part.mean(0) for part in np.split(values, ends[:-1])])
        return means[0] if one else means


def _several(ecgs: Ecgs) -> tuple[list[Ecg], bool]:
    """A list of ECGs, and whether there was but one."""
    one = isinstance(ecgs, Ecg) or (isinstance(ecgs, np.ndarray) and ecgs.ndim == 2)
    each = [ecgs] if one else list(ecgs)
    return [ecg if isinstance(ecg, Ecg) else Ecg(ecg, STANDARD, RATE) for ecg in each], one


def _checked(texts: Sequence[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        raise ValueError(f"a list of texts was expected, not one: [{texts!r}]")
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("an empty name or text cannot be asked for")
    return tuple(texts)


def load(path: str | Path, checkpoint: str = "last") -> Model:
    """Opens a model: a run directory, the folder that `export` wrote, or its id on the Hugging Face Hub.

    Args:
        path: the folder, or USER/NAME.
        checkpoint: of a run; see `pretrained.load`.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged, or of a later version.
    """
    return Model(pretrained.load(hub.locate(path), sharding.make_mesh(devices=jax.devices()[:1]), checkpoint))
