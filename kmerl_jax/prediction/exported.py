"""A run as one folder to hand on, with all that belongs to it."""

from pathlib import Path

from kmerl_jax.evaluation import card, evidence, release
from kmerl_jax.evaluation.pretrained import Pretrained
from kmerl_jax.prediction.names import worth_knowing


def is_there(opened: Pretrained, out: Path) -> bool:
    """Whether a folder holds the model, with what is known of it now."""
    if not release.is_release(out) or release.check(out)["release"]["checksum"] != opened.checksum:
        return False
    return evidence.gather(out) == evidence.gather(opened.path)


def write(opened: Pretrained, out: Path) -> None:
    """The model with all that belongs to it.

    Raises:
        FileExistsError: `out` is there.
        ValueError: it was exported before.
    """
    if release.is_release(opened.path):
        raise ValueError(f"{opened.path} is an exported model already: copy the folder, or push it")
    config, found = opened.config.to_dict(), evidence.gather(opened.path)
    names = worth_knowing(opened.trained_on["entities"])
    trained = {"text": opened.encoder.weights} if opened.config.text.trainable_layers else {}
    release.write(
        out,
        opened.params | trained,
        config,
        {"step": opened.step, "checksum": opened.checksum},
        opened.trained_on | {"text_encoder": opened.encoder.fingerprint},
        names,
        opened.encoder.embed(names),
        found,
        card.card(out.name, config, opened.step, opened.trained_on, found, bool(opened.model.scores)),
    )


def describe(folder: Path) -> str:
    """What is in an exported folder, in a line or two."""
    about, found = release.check(folder)["release"], evidence.gather(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    said = f"{folder}: {size / 1e6:.0f} MB; step {about['step']:,}; {len(found)} evaluations"
    if found:
        return said
    return f"{said}\nno evaluation goes with it: evaluate the run first, and predict can say how good its findings are"
