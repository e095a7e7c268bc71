"""Makes of a run one folder to hand on: weights, config, entities, names, metrics, a card, checksums.

    python -m kmerl_jax.export --run=runs/demo --out=models/demo
    python -m kmerl_jax.export --run=runs/mimic --out=models/mimic --push=USER/NAME
    python -m kmerl_jax.export --run=runs/demo --out=served --format=stablehlo --finding="atrial fibrillation"

What evaluate found goes with it, so evaluate first. Everything that takes --run takes the folder instead, or its id on
the Hub once it is there. stablehlo writes a program that jax alone can run, with the findings fixed in it.
"""

from pathlib import Path

from absl import flags

from kmerl_jax import command

FORMATS = ("safetensors", "stablehlo")

_RUN = flags.DEFINE_string("run", None, "Run directory, as train makes it.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder to write.", required=True)
_FORMAT = flags.DEFINE_enum(
    "format", "safetensors", FORMATS, "stablehlo: one program, for serving without this package."
)
_FINDING = flags.DEFINE_multi_string("finding", [], "Of stablehlo, what is asked for. Default: what was trained.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "last", "Which of the run's: last or lowest_val_loss.")
_PUSH = flags.DEFINE_string("push", None, "USER/NAME on the Hugging Face Hub, to hand it to.")

log = command.log


def main() -> None:
    """Opens the run, writes the folder, and hands it on."""
    import jax  # as late as this: a wrong flag, and --help, need not wait for it

    from kmerl_jax.evaluation import hub, pretrained, release
    from kmerl_jax.training import sharding

    out = Path(_OUT.value)
    if _FORMAT.value == "stablehlo" and _PUSH.value:
        raise ValueError("--push hands on the model itself: --format=safetensors")
    if _FORMAT.value != "stablehlo" and _FINDING.value:
        raise ValueError("--finding is for --format=stablehlo; the model itself can be asked for anything")
    opened = pretrained.load(hub.locate(_RUN.value), sharding.make_mesh(devices=jax.devices()[:1]), _CHECKPOINT.value)
    if _FORMAT.value == "stablehlo":
        write_program(opened, out)
        return
    if _PUSH.value and release.is_release(out) and release.check(out)["release"]["checksum"] == opened.checksum:
        log.info(f"{out} is there already, with the same parameters")
    else:
        write_folder(opened, out)
    if _PUSH.value:
        log.info(f"pushed to {hub.push(out, _PUSH.value)}")


def write_folder(opened, out: Path) -> None:
    """The model with all that belongs to it.

    Raises:
        FileExistsError: `out` is there.
        ValueError: it was exported before.
    """
    from kmerl_jax.evaluation import card, evidence, release
    from kmerl_jax.prediction.names import worth_knowing

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
        card.card(out.name, config, opened.step, opened.trained_on, found),
    )
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    log.info(f"{out}: {size / 1e6:.0f} MB; step {opened.step:,}; {len(names)} names; {len(found)} evaluations")
    if not found:
        log.info("no evaluation goes with it: evaluate the run first, and predict can say how good its findings are")


def write_program(opened, out: Path) -> None:
    """The model as one program."""
    from kmerl_jax.prediction import serving
    from kmerl_jax.prediction.model import Model

    model = Model(opened)
    names = tuple(_FINDING.value) or model.entities
    serving.write(out, model, names)
    log.info(f"{out / serving.PROGRAM}: {len(names)} findings; {out / serving.ABOUT} says what goes in and comes out")


if __name__ == "__main__":
    command.run(main, __doc__)
