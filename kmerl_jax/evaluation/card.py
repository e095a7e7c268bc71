"""The card of a model that is handed on: what it is, what it was trained on, how good it was found, its limits."""

from collections.abc import Sequence

from kmerl_jax.evaluation import evidence
from kmerl_jax.evaluation.pictures import number
from kmerl_jax.signals.waveform import RATE, SEGMENT

_PRECISE = 40  # findings of a table
_WHAT = {
    "kmerl": "An ECG encoder with a cardiac query network (K-MERL, arXiv 2502.17900), trained with\n"
    "kmerl_jax: it takes any subset of the 12 leads, and is asked for findings in words.",
    "merl": "An ECG encoder that was aligned with reports (MERL, arXiv 2403.06659), trained with kmerl_jax: it\n"
    "takes 12 leads, those that are missing as zeros, and is asked for findings in words, by cosine.",
    "simclr": "An ECG encoder that learnt from ECGs alone (SimCLR, arXiv 2002.05709), trained with kmerl_jax: it\n"
    "takes 12 leads, those that are missing as zeros, gives features to learn from, and knows no names.",
}
_ASKED = """model.findings(ecg, ["atrial fibrillation", "left bundle branch block"])
```

```
python -m kmerl_jax.predict --run=FOLDER recording.hea"""
_EMBEDDED = """model.embed(ecg)
```

```
python -m kmerl_jax.embed --run=FOLDER --out=features.parquet recording.hea"""

_LIMITS_OF_NAMES = """\
- Probabilities are not calibrated, and cosines are none: they rank recordings, they are no frequencies.
- A name that was never trained is answered by its likeness to trained ones. `predict` marks it.
- Attention shows what was looked at, not what decided.
"""


def card(name: str, config: dict, step: int, trained_on: dict, found: Sequence[dict], named: bool) -> str:
    """A page of Markdown.

    Args:
        name: what the model is called.
        config: of its run.
        step: of its checkpoint.
        trained_on: what `entities.json` says.
        found: see `evidence.gather`.
        named: whether it can be asked by name.
    """
    train = config["train"]
    method = config.get("method", "kmerl")
    tags, use, limits = (", zero-shot-classification", _ASKED, _LIMITS_OF_NAMES) if named else ("", _EMBEDDED, "")
    return f"""---
library_name: kmerl_jax
tags: [ecg, electrocardiogram{tags}]
---

# {name}

{_WHAT.get(method, f"An ECG encoder, trained with kmerl_jax by the method {method}.")}

**For research only: not a medical device, and no basis for decisions about anyone's care.**

```python
import kmerl_jax

model = kmerl_jax.load("this folder, or USER/NAME")
ecg = kmerl_jax.read("recording.hea")
{use}
```

## Training

| | |
|---|---|
| cohort | {trained_on["cohort"]} |
{_texts(config, trained_on) if named else ""}{_network(config)}
| signals | scaled by {config["data"]["normalization"]}; 500 Hz, 10 s |
| steps | {step:,} of {train["batch_size"]:,} ECGs |

## Evaluation

{_evaluation(found)}
## Limits

- What was not evaluated above, with the leads at hand and on people like those at hand, is not known to work.
- With few leads much cannot be seen: no set of leads shows what its electrodes do not face.
{limits}"""


def _texts(config: dict, trained_on: dict) -> str:
    texts = "made from the data set's labels" if trained_on["texts_from_labels"] else "written by people or machines"
    frozen = " (frozen)" if config["text"]["trainable_layers"] == 0 else ""
    return f"""| report texts | {texts} |
| asked for | {len(trained_on["entities"])} entities, mined from the texts (`entities.json`) |
| text encoder | {config["text"]["encoder"]}{frozen} |
"""


def _network(config: dict) -> str:
    model = config["model"]
    size = f"width {model['width']}, {model['depth']} layers, {model['heads']} heads"
    if config.get("method", "kmerl") != "kmerl":
        return f"| ECG encoder | {model['encoder']}{', ' + size if model['encoder'] == 'vit' else ''} |"
    asked = f"width {model['query_width']}, {model['query_depth']} layers, {model['query_heads']} heads"
    tokens = f"{config['data'].get('token_length', SEGMENT) / RATE:g} s"
    return f"| ECG encoder | {size}, over tokens of {tokens} |\n| query network | {asked} |"


def _evaluation(found: Sequence[dict]) -> str:
    if not found:
        return "It was not evaluated before it was exported.\n"
    lines = [
        "AUROC with 95 % intervals over patients.",
        "",
        "| records | leads | findings | macro AUROC |",
        "|---|---|---|---|",
    ]
    for one in found:
        low, high = one["macro_ci95"] or (None, None)
        macro = f"{number(one['macro_auroc'])} ({number(low)} to {number(high)})"
        lines.append(f"| {one['records']} | {' '.join(one['leads'])} | {len(one['findings'])} | {macro} |")
    most = max(found, key=lambda one: (len(one["leads"]), len(one["findings"])))
    lines += ["", f"Of each finding, with {' '.join(most['leads'])}, on {most['records']}:", ""]
    lines += ["| finding | positives | AUROC |", "|---|---|---|"]
    ranked = sorted(most["findings"].items(), key=lambda item: -item[1]["auroc"])
    for name, _ in ranked[:_PRECISE]:
        one = evidence.of(name, most["leads"], [most])
        low, high = one.ci95 or (None, None)
        lines.append(f"| {name} | {one.positives} | {number(one.value)} ({number(low)} to {number(high)}) |")
    if len(ranked) > _PRECISE:
        lines.append(f"\n{len(ranked) - _PRECISE} more are in `evidence.json`.")
    return "\n".join(lines) + "\n"
