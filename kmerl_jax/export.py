"""Makes of a run one folder to hand on: weights, config, entities, names, metrics, a card, checksums.

    python -m kmerl_jax.export --run=runs/vit_tiny-demo --out=models/demo
    python -m kmerl_jax.export --run=runs/mimic --out=models/mimic --push=USER/NAME
    python -m kmerl_jax.export --run=runs/vit_tiny-demo --out=served --format=stablehlo --finding="atrial fibrillation"

What evaluate found goes with it, so evaluate first. Everything that takes --run takes the folder instead, or its id on
the Hub once it is there. stablehlo writes a program that needs jax and flatbuffers alone, with the findings
fixed in it.
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

    from kmerl_jax.evaluation import hub, pretrained
    from kmerl_jax.prediction import exported
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
    if _PUSH.value and exported.is_there(opened, out):
        log.info(f"{out} is there already, with the same parameters and evaluations")
    else:
        exported.write(opened, out)
        log.info(exported.describe(out))
    if _PUSH.value:
        log.info(f"pushed to {hub.push(out, _PUSH.value)}")


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
