"""The paper's tables and figures as rows of config overrides."""

import dataclasses

from kmerl_jax.reproduction.table import Measure, Row, Table

_KMERL = Row("K-MERL")
# As MERL's public code trains it, but for its batches of 128 a GPU, its 20 epochs, its warm restarts, and dropout in
# the text encoder, which is off here. In the demo's few steps hardly a beginning.
_AS_PUBLISHED = {
    "data.normalization": "minmax",
    "loss.duplicates": False,
    "optimizer.name": "adamw",
    "optimizer.learning_rate": 1e-3,
    "optimizer.weight_decay": 1e-8,
    "optimizer.b2": 0.999,
    "optimizer.warmup_steps": 0,
    "optimizer.decay": "cosine",
    "optimizer.clip": 1e9,  # never
    "text.pooling": "pooler",
}
_MASKED = {"masking.min_leads": 1}
_CNN, _VIT = "merl_resnet18", "merl_vit_tiny"
_FORMS = {"as published": _AS_PUBLISHED, "zero-filled": {}, "leads masked": _MASKED}


def _merl(*forms: str) -> tuple[Row, ...]:
    return tuple(
        Row(f"MERL ({which}), {form}", config, _FORMS[form])
        for which, config in (("ResNet", _CNN), ("ViT", _VIT))
        for form in forms
    )


_MERL = _merl(*_FORMS)
_NO_LEADS = {"model.lead_embedding": False, "model.lead_gain": 0.0}

_ALL_LEADS = (Measure("12 leads", "zero_shot"),)
_ONE_AND_ALL = (Measure("1 lead", "zero_shot", "I"), *_ALL_LEADS)
_PROBES = tuple(Measure(f"{100 * ratio:g} %", "linear_probe", ratio=ratio) for ratio in (0.01, 0.1, 1.0))
_ADDING = (
    *(Measure(str(n), "zero_shot", f"first {n}") for n in range(1, 13)),
    *(Measure(f"probe, {n}", "linear_probe", f"first {n}", 0.01) for n in (1, 3, 6, 9, 12)),
)


def _changed(label: str, **changes) -> Row:
    """K-MERL with some fields changed, their dots written as __."""
    return Row(label, changes={name.replace("__", "."): value for name, value in changes.items()})


def _counted(what: str, counts: tuple[int, ...], field: str, **more) -> tuple[Row, ...]:
    """K-MERL with so many of something."""
    return tuple(_changed(f"{n} {what}{'s' * (n > 1)}", **{field: n}, **more) for n in counts)


_RATES = {"the recipe's rate": 1.0, "a third of it": 1 / 3, "three times it": 3.0}

TABLES = {
    "1": Table(
        "linear probes",
        (
            _KMERL,
            *_MERL,
            Row("SimCLR (ViT)", "simclr_vit_tiny"),
            # What every trained row is to be above: the same network, shown the same.
            Row("random (K-MERL)", encoder="random"),
            *(
                Row(f"random ({which}){as_published}", config, changes, encoder="random")
                for which, config in (("ResNet", _CNN), ("ViT", _VIT))
                for as_published, changes in (("", {}), (", as published", _AS_PUBLISHED))
            ),
            Row("supervised (ResNet)", _CNN, encoder="supervised"),
        ),
        _PROBES,
        by_task=True,
        published="The paper takes what is not its own from MERL's, and does not say which encoder SimCLR has there, "
        'nor whether what it has under "from scratch", here "random", is frozen:',
    ),
    "2a": Table(
        "losses",
        (
            _KMERL,
            _changed("without the contrast", loss__contrast=0.0),
            # Its query network has learnt nothing, so it is asked as MERL is.
            Row("without the entity loss", changes={"loss.entities": 0.0}, scores="cosine"),
        ),
        _ONE_AND_ALL,
    ),
    "2b": Table(
        "entities",
        (
            _KMERL,
            _changed("without superclasses", data__superclasses=False),
            _changed("without merging", data__merging=False),
        ),
        _ONE_AND_ALL,
    ),
    "2c": Table(
        "masking",
        (
            _KMERL,
            _changed("segments shared by leads", masking__segments="shared"),
            _changed("without segment masking", masking__masked_segments=0),
            _changed("a fixed number of leads", masking__min_leads=2, masking__max_leads=2),
            _changed("without lead masking", masking__min_leads=12, masking__max_leads=12),
        ),
        _ONE_AND_ALL,
    ),
    "6": Table(
        "K-MERL and MERL, over seeds",
        (_KMERL, *_MERL),
        (Measure("zero-shot", "zero_shot"), Measure("probe, 1 %", "linear_probe", ratio=0.01)),
        seeds=3,
    ),
    "7a": Table(
        "lead-specific processing",
        (
            _KMERL,
            Row("tokens of all leads at once", changes=_NO_LEADS | {"data.tokenization": "joint"}),
            Row("without the lead embedding", changes=_NO_LEADS),
            _changed("without the temporal embedding", model__temporal_embedding=False),
        ),
        _ONE_AND_ALL,
    ),
    "7b": Table(
        "text encoders",
        (
            _changed("MedCPT", text__encoder="ncbi/MedCPT-Query-Encoder"),
            _changed("BioClinicalBERT", text__encoder="emilyalsentzer/Bio_ClinicalBERT"),
            _changed("Med-KEBERT", text__encoder="xmcmic/Med-KEBERT"),
        ),
        _ONE_AND_ALL,
    ),
    "7c": Table(
        "what mines the entities",
        (
            _KMERL,
            *(
                _changed(name, data__knowledge=name)  # as `mine` calls their readings
                for name in ("Llama-3.1-70B-Instruct", "gemma-2-27b-it", "gemma-2-9b-it", "Llama-3.1-8B-Instruct")
            ),
        ),
        _ONE_AND_ALL,
    ),
    "7d": Table("layers of the query network", _counted("layer", (4, 1, 2, 3, 5), "model__query_depth"), _ONE_AND_ALL),
    "7e": Table(
        "heads of the query network",
        (Row("4 heads"), *_counted("head", (1, 2, 3, 5), "model__query_heads", model__query_head_width=64)),
        _ONE_AND_ALL,
    ),
    "fig4": Table("zero-shot by task", (_KMERL, *_MERL), _ALL_LEADS, by_task=True),
    "fig5": Table(
        "classes seen and unseen in pretraining",
        (_KMERL, *_MERL),
        tuple(
            Measure(f"{group}, {statistic.upper()}", "zero_shot", group=group, statistic=statistic)
            for statistic in ("auroc", "f1")
            for group in ("seen", "unseen")
        ),
    ),
    "fig6": Table("one lead after another", (_KMERL, *_MERL), _ADDING, curve=True),
    "fig7": Table(
        "length of tokens, share of segments masked, leads masked at least",
        (
            _KMERL,
            *(_changed(f"{n} samples", data__token_length=n) for n in (25, 50, 200)),
            *(
                _changed(f"{share} %, {least} leads", masking__masked_segments=masked, masking__max_leads=12 - least)
                for share, masked in ((25, 12), (50, 25), (75, 38))
                for least in (11, 10, 9, 6)
                if (share, least) != (25, 9)  # K-MERL's own
            ),
            *_merl("zero-filled"),
        ),
        _ALL_LEADS,
    ),
    "fig8": Table(
        "names and prompts",
        (
            _KMERL,
            *(
                dataclasses.replace(row, label=f"{row.label}, {by}", prompts=by == "prompts")
                for row in _merl("as published", "zero-filled")
                for by in ("names", "prompts")
            ),
        ),
        _ALL_LEADS,
    ),
    "fig9": Table(
        "size of the encoder",
        tuple(Row(size, f"vit_{size.lower()}") for size in ("Tiny", "Small", "Middle", "Base")),
        _ALL_LEADS,
    ),
    "ours": Table(
        "what the paper leaves open",
        (
            _KMERL,
            _changed("z-scores", data__normalization="zscore"),
            _changed("min-max", data__normalization="minmax"),
            _changed("duplicates are negatives", loss__duplicates=False),
            _changed("contrast in one direction", loss__direction="e2t"),
            _changed("hedged entities are positive", data__possible="positive"),
            Row("a tenth of the entity loss", scaled={"loss.entities": 0.1}),
            Row("ten times the entity loss", scaled={"loss.entities": 10.0}),
            _changed("queries see each other", model__query_self_attention=True),
        ),
        _ONE_AND_ALL,
    ),
    "rates": Table(  # ours: whether the rate that all methods share favours one of them
        "learning rates, on validation records",
        tuple(
            Row(f"{method}, {rate}", config, scaled={"optimizer.learning_rate": factor})
            for method, config in (("K-MERL", "vit_tiny"), ("MERL (ResNet)", _CNN), ("MERL (ViT)", _VIT))
            for rate, factor in _RATES.items()
        ),
        _ALL_LEADS,
        tuning=True,
    ),
}
EVALUATED = {
    "demo": "demo",
    "ptb_xl": "ptb_xl.super,ptb_xl.sub,ptb_xl.form,ptb_xl.rhythm",
    "mimic": "ptb_xl.super,ptb_xl.sub,ptb_xl.form,ptb_xl.rhythm,cpsc2018,csn",
}
"""Labels that the runs of a recipe are scored by."""
