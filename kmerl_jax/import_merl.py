"""Converts the published weights of MERL to a model of this package, for evaluate, predict and embed.

    python -m kmerl_jax.import_merl --checkpoint=res18_best_ckpt.pth --out=models/merl_resnet18
    python -m kmerl_jax.import_merl --checkpoint=vit_tiny_best_encoder.pth --out=models/merl_vit_encoder
    python -m kmerl_jax.evaluate --run=models/merl_resnet18 --task=zero_shot --prompts=CKEPE_prompt.json \\
        --store=data/ptb_xl --labels=ptb_xl.super

*_ckpt.pth is the whole model; its text encoder is held against --text_encoder, whose tokenizer is needed too, and kept
with the model if it differs. *_encoder.pth is the ECG encoder alone: for linear probes and embeddings. The weights of
aVF and aVL are exchanged: the published models take them in the order of MIMIC-IV-ECG's headers, aVF first. The files
are read by PyTorch with weights_only=True (pip install torch; its CPU build is enough).
"""

from pathlib import Path

from absl import flags

from kmerl_jax import command

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A *_ckpt.pth or *_encoder.pth of MERL.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder to write.", required=True)
_TEXT_ENCODER = flags.DEFINE_string(
    "text_encoder", "ncbi/MedCPT-Query-Encoder", "The text encoder of a *_ckpt.pth: a folder, or an id on the Hub."
)

log = command.log


def main() -> None:
    """Reads the file, converts every tensor, and writes the folder."""
    from kmerl_jax.evaluation import merl_weights
    from kmerl_jax.prediction.names import worth_knowing
    from kmerl_jax.text import encoder as text_encoders
    from kmerl_jax.training.methods import product_dtype

    source, out = Path(_CHECKPOINT.value), Path(_OUT.value)
    if out.exists():
        raise FileExistsError(f"{out} exists; remove it or name another folder with --out")
    tensors = merl_weights.read(source)
    config = merl_weights.config_of(tensors, _TEXT_ENCODER.value)
    params = merl_weights.convert(tensors, config)
    encoder, names = None, []
    if config.model.projection:
        encoder, names = text_encoders.load(config.text, product_dtype(config.train.dtype)), worth_knowing([])
        own = merl_weights.convert_text(tensors, encoder)
        if own:
            log.info(f"its text encoder is not {_TEXT_ENCODER.value} to the bit: it is kept with the model")
            encoder, params = encoder.trained(own), params | {"text": own}
    merl_weights.write(out, source, config, params, encoder, names)
    what = "ECG encoder and heads" if config.model.projection else "ECG encoder alone"
    size = f" of width {config.model.width}" * (config.model.encoder == "vit")
    log.info(f"{out}: {config.model.encoder}{size}, {what}; every tensor of {source.name} has its place")
    log.info("aVF and aVL are exchanged: published weights take leads as MIMIC-IV-ECG's headers have them, aVF first")


if __name__ == "__main__":
    command.run(main, __doc__)
