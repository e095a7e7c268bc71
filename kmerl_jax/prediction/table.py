"""What a model says of recordings, as text, JSON and CSV."""

import csv
import io
from collections.abc import Sequence

from kmerl_jax.prediction.answer import NOTE, Answer, Finding

_FIRST = 15  # findings of a table, unless some were asked for by name


def head(model: dict) -> str:
    """What answers, in a line, and what it is not."""
    cohort = "simulated ECGs (demo)" if model["cohort"] == "demo" else model["cohort"]
    name = f"{model['name']}, step {model['step']:,}; trained on {cohort}, {model['entities']} entities"
    return f"model: {model['path']} ({name})\n{NOTE}"


def text(answer: Answer, everything: bool) -> str:
    """A table for the eye: warnings first, then findings by probability.

    Args:
        answer: of one recording.
        everything: all findings, and not the most probable alone.
    """
    length = f"{answer.seconds:.1f}".removesuffix(".0")
    count = f"{len(answer.leads)} lead{'s' * (len(answer.leads) > 1)}"
    lines = [f"{answer.record}: {length} s at {answer.rate:g} Hz, {count}: {' '.join(answer.leads)}"]
    lines += [f"  warning: {warning}" for warning in answer.warnings]
    shown = answer.findings if everything else answer.findings[:_FIRST]
    width = max(len("finding"), *(len(one.name) for one in shown)) + 2
    known = any(one.auroc for one in shown)
    lines.append(
        f"  {'finding':{width}}{answer.measure:>11}" + ("  AUROC when evaluated with these leads" if known else "")
    )
    for one in shown:
        row = f"  {one.name:{width}}{one.value:11.3f}"
        if known:
            row += f"  {auroc(one, answer.leads):34}"
        lines.append((row + ("  " + "; ".join(one.flags) if one.flags else "")).rstrip())
    if rest := answer.findings[len(shown) :]:
        lines.append(f"  and {len(rest)} more, none above {rest[0].value:.3f} (--json and --csv have all)")
    if not known:
        lines.append("  none of them was evaluated with any of these leads: how good the model is at them is not known")
    return "\n".join(lines)


def line(answer: Answer) -> str:
    """The most probable findings in a line, for many recordings."""
    first = ", ".join(f"{one.name} {one.value:.2f}" for one in answer.findings[:3])
    count = len(answer.warnings)
    return f"{answer.record}: {first}" + (f" ({count} warning{'s' * (count > 1)})" if count else "")


def auroc(finding: Finding, leads: Sequence[str]) -> str:
    """How well a finding was told, with its interval, and with which leads if these are fewer."""
    if not (one := finding.auroc):
        return "not evaluated"
    said = f"{one.value:.3f}"
    if one.ci95:
        said += f" ({one.ci95[0]:.3f} to {one.ci95[1]:.3f})"
    if set(one.leads) != set(leads):
        said += f" with {' '.join(one.leads)}"
    return said


def as_json(model: dict, answers: Sequence[Answer], failed: dict[str, str]) -> dict:
    """All answers, as JSON values.

    Args:
        model: what it is.
        answers: of the recordings that could be read.
        failed: recording -> why it could not.
    """
    return {
        "note": NOTE,
        "model": model,
        "records": [answer.facts() for answer in answers],
        "failed": [{"record": record, "error": error} for record, error in failed.items()],
    }


def as_csv(answers: Sequence[Answer], failed: dict[str, str]) -> str:
    """A row a recording, a column a finding, in one order for all."""
    names = sorted({one.name for answer in answers for one in answer.findings})
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["record", "leads", "seconds", "rate", "warnings", "error", *names])
    for answer in answers:
        by_name = {one.name: f"{one.value:.6f}" for one in answer.findings}
        about = [answer.record, " ".join(answer.leads), f"{answer.seconds:g}", f"{answer.rate:g}"]
        rows.writerow([*about, "; ".join(answer.warnings), "", *(by_name[name] for name in names)])
    for record, error in failed.items():
        rows.writerow([record, "", "", "", "", error, *[""] * len(names)])
    return out.getvalue()
