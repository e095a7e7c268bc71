"""Says what a trained model finds in your own ECGs, with the leads they have.

    python -m kmerl_jax.predict --run=runs/vit_tiny-demo recording.hea
    python -m kmerl_jax.predict --run=runs/vit_tiny-demo --leads=I,II --finding="atrial fibrillation" mine/ *.dcm
    python -m kmerl_jax.predict --run=runs/vit_tiny-demo --rate=250 --units=uV --lead_names=II,V1 --plot=a.png a.csv
    python -m kmerl_jax.predict --run=runs/vit_tiny-demo --labels=ptb_xl.super --json=out.json --csv=out.csv records500/

Recordings are WFDB records (with or without extension), DICOM waveforms, CSV and NumPy files, folders of them, or
patterns; of any rate, length and unit, with any of the 12 leads in any order. --run is a run directory, a folder that
export wrote, or a model's id on the Hugging Face Hub. What it says is for research only.
"""

import dataclasses
import sys
from collections.abc import Sequence

from absl import flags

from kmerl_jax import command
from kmerl_jax.prediction import inputs, recordings

_RUN = flags.DEFINE_string("run", None, "Run directory, exported model, or USER/NAME on the Hub.", required=True)
_FINDING = flags.DEFINE_multi_string("finding", [], "A finding in words; given again, one more.")
_LABELS = flags.DEFINE_string("labels", None, "The classes of a task: ptb_xl.super, ptb_xl.rhythm, csn, ...")
_JSON = flags.DEFINE_string("json", None, "File of everything that is said.")
_CSV = flags.DEFINE_string("csv", None, "File with a row a recording and a column a finding.")
_PLOT = flags.DEFINE_string("plot", None, "Picture of the ECG, its findings and where was looked: a .png, or a folder.")
_HTML = flags.DEFINE_string("html", None, "The same as a page to play with: an .html file, or a folder.")

_MANY = 20  # recordings from which on each has a line in place of a table

log = command.log


def main(named: Sequence[str]) -> int:
    """Answers for each recording; those that cannot be read are said, and make the exit status 1."""
    # As late as this: a wrong flag, and --help, need not wait for JAX.
    from kmerl_jax.prediction import answer, model, names, outputs, table
    from kmerl_jax.signals import files

    if not named:
        raise ValueError(
            "no recording was named; for example: python -m kmerl_jax.predict --run=runs/vit_tiny-demo record.hea"
        )
    layout, leads = inputs.layout(), inputs.leads()
    paths = recordings.find(named, layout is not None)
    out = outputs.Outputs(_PLOT.value, _HTML.value, _JSON.value, _CSV.value, len(paths), command.Progress)
    asked = model.load(_RUN.value)
    wanted = names.wanted(asked.entities, _FINDING.value, _LABELS.value)
    asked.queries(tuple(one.text for one in wanted))  # a text encoder that is not there is said once
    log.info(table.head(asked.facts()))
    answers, failed, many = [], {}, len(paths) > _MANY
    progress = command.Progress("answering", "recordings") if many else lambda done, total: None
    try:
        for done, path in enumerate(paths, 1):
            try:
                one = answer.answer(asked, path, files.read(path, layout), wanted, leads)
                log.info(table.line(one) if many else "\n" + table.text(one, bool(_FINDING.value or _LABELS.value)))
                answers.append(dataclasses.replace(one, windows=()))  # the signals of many need much memory
                out.draw(asked, one, wanted[0].text if _FINDING.value else None)
            except (ValueError, OSError) as error:
                failed[str(path)] = command.line_about(path, error)
                print(f"error: {failed[str(path)]}", file=sys.stderr, flush=True)
            progress(done, len(paths))
    finally:  # however it ends, what was answered is kept
        out.write(asked, answers, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    command.run(main, __doc__, "RECORD...", "what was answered before is in --json and --csv")
