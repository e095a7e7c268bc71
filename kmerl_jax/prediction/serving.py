"""A model as one StableHLO program, for serving with jax alone: signals in, probabilities out."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from kmerl_jax.evaluation import files, release
from kmerl_jax.models import tokens
from kmerl_jax.prediction.answer import NOTE
from kmerl_jax.prediction.model import Model
from kmerl_jax.signals.leads import STANDARD
from kmerl_jax.signals.waveform import RATE, SAMPLES, SEGMENT

PROGRAM, ABOUT = "model.stablehlo", "model.json"
_PLATFORMS = ("cpu", "cuda", "tpu")


def program(model: Model, names: Sequence[str]) -> bytes:
    """The serialized program, for any number of windows at a time.

    Args:
        model: whose parameters become constants of the program.
        names: C findings, fixed in it.

    Returns:
        Of a function of signal [B, 12, 5000] float32 in millivolts at 500 Hz, presence [B, 12] bool and segments [B]
        int32 (recorded ones, of 0.2 s) to probabilities [B, C] float32 (see `Model.measure`).
    """
    queries = model.opened.encoder.embed(names)
    form = model.opened.form

    def function(signal: jax.Array, presence: jax.Array, segments: jax.Array) -> jax.Array:
        microvolts = jnp.rint(1000 * signal)  # as a store keeps them
        bag = tokens.all_tokens(microvolts, presence, segments, range(len(STANDARD)), length=form.length)
        bag = tokens.formed(bag, form)
        return model.said(model.network.apply({"params": model.params}, bag, queries, method="describe")["logits"])

    (batch,) = export.symbolic_shape("batch")
    shapes = (
        jax.ShapeDtypeStruct((batch, len(STANDARD), SAMPLES), np.float32),
        jax.ShapeDtypeStruct((batch, len(STANDARD)), np.bool_),
        jax.ShapeDtypeStruct((batch,), np.int32),
    )
    return export.export(jax.jit(function), platforms=_PLATFORMS)(*shapes).serialize()


def write(out: Path, model: Model, names: Sequence[str]) -> None:
    """A folder with the program, what its inputs and outputs are, and checksums; whole or not at all.

    Raises:
        FileExistsError: something is there.
        ValueError: a model that cannot be asked by name.
    """
    model.check_names()
    written = program(model, names)
    about = {
        "note": NOTE,
        "model": model.facts(),
        "inputs": {
            "signal": f"[B, 12, {SAMPLES}] float32, millivolts at {RATE} Hz; 0 where there is nothing",
            "presence": "[B, 12] bool, which leads were recorded",
            "segments": f"[B] int32, how many whole {SEGMENT / RATE} s were recorded, 1 to {SAMPLES // SEGMENT}",
        },
        "leads": list(STANDARD),
        "outputs": f"[B, C] float32, the {model.measure} of each finding",
        "findings": list(names),
        "jax": jax.__version__,
        "platforms": list(_PLATFORMS),
        "use": f"jax.export.deserialize(bytearray(open('{PROGRAM}', 'rb').read())).call(signal, presence, segments)",
    }
    with files.whole_folder(out) as folder:
        (folder / PROGRAM).write_bytes(written)
        (folder / ABOUT).write_text(json.dumps(about, indent=1))
        release.add_sums(folder)
