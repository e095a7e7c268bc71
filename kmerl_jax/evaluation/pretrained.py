"""A pretrained model, opened for use: from a run directory, or from the folder of an exported model."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from kmerl_jax.config import complete
from kmerl_jax.evaluation import inference, release
from kmerl_jax.evaluation.task import Part
from kmerl_jax.models.tokens import Form
from kmerl_jax.text import encoder as text_encoders
from kmerl_jax.text.encoder import TextEncoder
from kmerl_jax.text.known import KnownTexts
from kmerl_jax.training import checkpoints, methods, sharding
from kmerl_jax.training.run import patient_digests

CHECKPOINTS = ("last", "lowest_val_loss")


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A model with what is needed to use it.

    Attributes:
        path: the run directory, or the folder of an exported model.
        config: the run's.
        step: of the checkpoint.
        model: the network.
        params: its parameters.
        encoder: of texts, with the weights that the run arrived at.
        trained_on: what `entities.json` says: the cohort, the entities that were asked for, and from how many records.
        patients: digests of the patients that it was trained on; None if the run does not tell.
        checksum: SHA-256 of the parameters.
        mesh: the devices.
    """

    path: Path
    config: ConfigDict
    step: int
    model: methods.Model
    params: dict
    encoder: TextEncoder
    trained_on: dict
    patients: np.ndarray | None
    checksum: str
    mesh: Mesh

    @property
    def form(self) -> Form:
        """How it wants ECGs put into tokens."""
        return methods.form(self.config)

    def knows(self, population: str, part: Part) -> int:
        """How many of a part's patients the model was trained on.

        Raises:
            ValueError: the run does not tell.
        """
        if self.patients is None and self.trained_on["cohort"] != population.split()[0]:
            return 0  # ids of another cohort are of other people
        if self.patients is None and release.is_release(self.path):
            raise ValueError(
                f"{self.path} is an exported model, which does not tell whom it was trained on; evaluate the run itself"
            )
        if self.patients is None:
            raise ValueError(
                f"{self.path} does not tell whom it was trained on (no patients.npy); its train command, given again, "
                "adds that"
            )
        return len(np.intersect1d(self.patients, patient_digests(population, part.patients)))

    def project_texts(self, texts: Sequence[str]) -> np.ndarray:
        """[C, P] float32, texts where they are compared with ECGs."""
        embeddings = self.encoder.embed(texts)
        return np.asarray(self.model.apply({"params": self.params}, embeddings, method="project_text"))

    def describe(
        self, names: Sequence[str], view: inference.View, rows: np.ndarray, **how
    ) -> tuple[inference.Outputs, bool]:
        """`inference.describe` of the names, from the run directory where it was computed before.

        Args:
            names: C names to ask for.
            view: what is shown.
            rows: [N] entries.
            **how: `batch_size`, `progress`.

        Returns:
            What is said, and whether it had to be computed.
        """
        # An encoder alone is asked nothing, and no encoder of texts is needed for it.
        queries, reader = np.zeros((1, 1), np.float32), ""
        if self.model.scores:
            queries, reader = self.encoder.embed(names), self.encoder.fingerprint

        def compute() -> inference.Outputs:
            over = {"view": view, "rows": rows, **how}
            return inference.describe(self.model, self.params, queries, self.form, self.mesh, **over)

        return self._cached(f"{self.checksum} {reader}", view, rows, names, compute)

    def random_pooled(self, seed: int, view: inference.View, rows: np.ndarray, **how) -> tuple[inference.Outputs, bool]:
        """`inference.pooled` of an encoder of the same shape that has learnt nothing; arguments as of `describe`."""

        def compute() -> inference.Outputs:
            random = inference.random_encoder(self.model, seed, self.form)
            return inference.pooled(self.model, random, self.form, self.mesh, view=view, rows=rows, **how)

        return self._cached(f"random {seed} {self.config.model.to_json()}", view, rows, (), compute)

    def _cached(self, model: str, view: inference.View, rows: np.ndarray, names: Sequence[str], compute):
        about = view.about() | {
            "model": model,
            "names": list(names),
            "rows": hashlib.sha256(np.asarray(rows, "<i8").tobytes()).hexdigest(),
            **dataclasses.asdict(self.form),
            "precision": [self.config.train.dtype, jax.default_backend()],
        }
        return inference.cached(self.path / "features", about, compute)


def load(path: Path, mesh: Mesh, checkpoint: str = "last") -> Pretrained:
    """Opens a run, or a model that was exported from one.

    Args:
        path: the folder.
        mesh: the devices.
        checkpoint: "last", or "lowest_val_loss": the one of lowest *pretraining* validation loss, if it was kept. Of an
            exported model there is one.

    Raises:
        FileNotFoundError: no run, or no checkpoint, is there.
        ValueError: a damaged run or model, one of a later version, or an unknown checkpoint.
    """
    if checkpoint not in CHECKPOINTS:
        raise ValueError(f"unknown checkpoint {checkpoint!r}; there are {', '.join(CHECKPOINTS)}")
    if release.is_release(path):
        return _released(path, mesh)
    config = complete(_json(path / "config.json"))
    trained_on = _json(path / "entities.json")
    if "cohort" not in trained_on:
        raise ValueError(f"{path} is of an earlier version; its train command, given again, adds what is missing")
    steps = checkpoints.steps(path / "checkpoints") if (path / "checkpoints").is_dir() else []
    if not steps:
        raise FileNotFoundError(f"run {path} has no checkpoint yet")
    step = steps[-1] if checkpoint == "last" else _lowest_val_loss(path, steps)

    def load_encoder() -> TextEncoder:
        return text_encoders.load(config.text, methods.product_dtype(config.train.dtype))

    if config.text.trainable_layers:  # before the run's end, the names were embedded by the encoder that it began with
        encoder = load_encoder()
    else:
        embeddings = _names(path / "entities.npy")
        made_by = trained_on.get("text_encoder")
        encoder = KnownTexts(config.text.encoder, trained_on["entities"], embeddings, load_encoder, made_by)
    model = methods.build_model(config)
    shapes = _shapes(model, config, encoder.width)
    if encoder.trainable:
        shapes["text"] = jax.eval_shape(lambda: encoder.weights)
    # On every device: what is used is the model alone, without optimiser and gradients.
    where = sharding.replicated(mesh)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes)
    params = checkpoints.restore_params(path / "checkpoints", step, shapes)
    checksum = checksum_of(params)
    if encoder.trainable:
        encoder = encoder.trained(jax.device_get(params.pop("text")))
    file = path / "patients.npy"
    patients = np.load(file, allow_pickle=False) if file.exists() else None
    return Pretrained(path, config, step, model, params, encoder, trained_on, patients, checksum, mesh)


def _released(path: Path, mesh: Mesh) -> Pretrained:
    content = release.check(path)
    about = content.pop("release")
    config = complete(content)
    model = methods.build_model(config)
    names, embeddings = release.read_names(path)
    params = release.read_params(path, _shapes(model, config, embeddings.shape[1]))
    text = params.pop("text", None)

    def load_encoder() -> TextEncoder:
        encoder = text_encoders.load(config.text, methods.product_dtype(config.train.dtype))
        return encoder.trained(text) if text else encoder

    entities = _json(path / "entities.json")
    encoder = KnownTexts(config.text.encoder, names, embeddings, load_encoder, entities.get("text_encoder"))
    if checksum_of(params | ({"text": text} if text else {})) != about["checksum"]:
        raise ValueError(f"{path}: the parameters are not those that config.json speaks of; export the model again")
    params = jax.device_put(params, sharding.replicated(mesh))
    return Pretrained(path, config, about["step"], model, params, encoder, entities, None, about["checksum"], mesh)


def _shapes(model: methods.Model, config: ConfigDict, width: int) -> dict:
    """Of the network's parameters, with embeddings of texts of a width."""
    return jax.eval_shape(lambda: model.init_params(jax.random.key(0), methods.form(config), width))


def _names(file: Path) -> np.ndarray:
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{file} is missing or damaged ({error}); its train command, given again, mends it") from error


def _json(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; --run names the directory of a run that train made")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from error


def _lowest_val_loss(path: Path, steps: list[int]) -> int:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if line.get("split") == "val"}
    best = min(losses, key=losses.get, default=None)
    if best not in steps:
        had = f"it was at step {best:,}, which has no checkpoint" if best else "no step of it was validated"
        there = ", ".join(f"{step:,}" for step in steps)
        raise ValueError(
            f"--checkpoint=lowest_val_loss: of {path}, {had}; there are {there}; use --checkpoint=last, or train "
            "with as many checkpoints as validations"
        )
    return best


def checksum_of(params: dict) -> str:
    """SHA-256 of parameters and their names."""
    digest = hashlib.sha256()
    for name, x in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(name).encode())
        digest.update(np.ascontiguousarray(jax.device_get(x)).tobytes())
    return digest.hexdigest()
