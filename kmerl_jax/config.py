"""The configuration: every field with its meaning, and what each recipe changes.

`configs/vit_tiny.py` and its sisters call `base` and set the sizes of the encoder.
"""

import math

from ml_collections import ConfigDict

RECIPES = ("demo", "ptb_xl", "mimic")

_LEAST = {  # of numbers that count or weigh something
    "seed": 0,
    "data.min_report_words": 0,
    "data.min_positives": 1,
    "data.workers": 0,
    "text.trainable_layers": 0,
    "text.window": 1,
    "model.width": 1,
    "model.depth": 1,
    "model.heads": 1,
    "model.mlp_ratio": 1,
    "model.lead_gain": 0,
    "model.projection": 0,
    "model.query_width": 1,
    "model.query_depth": 1,
    "model.query_heads": 1,
    "model.query_head_width": 0,
    "model.query_mlp_ratio": 1,
    "loss.contrast": 0,
    "loss.entities": 0,
    "loss.views": 0,
    "optimizer.weight_decay": 0,
    "optimizer.warmup_steps": 0,
    "train.batch_size": 1,
    "train.microbatches": 1,
    "train.steps": 0,
    "train.epochs": 0,
    "train.log_every": 1,
    "train.validate_every": 1,
    "train.validation_batches": 1,
    "checkpoint.every": 1,
    "checkpoint.keep": 2,
    "mesh.fsdp": 1,
    "evaluation.min_positives": 1,
    "evaluation.batch_size": 1,
    "evaluation.probe_records": 1,
}
_ABOVE_ZERO = ("loss.temperature", "optimizer.learning_rate", "optimizer.clip", "train.stall_s")
_SHARES = ("text.dropout", "loss.view_dropout", "optimizer.b1", "optimizer.b2")


def base(name: str, recipe: str) -> ConfigDict:
    """All fields, for one recipe.

    Args:
        name: of the config, which names its run directories.
        recipe: "demo" (the embedded simulated cohort, minutes on two CPU cores), "ptb_xl" (a prepared PTB-XL),
            "mimic" (the paper's run on a prepared MIMIC-IV-ECG).

    Raises:
        ValueError: an unknown recipe.
    """
    if recipe not in RECIPES:
        raise ValueError(f"unknown recipe {recipe!r}; --config=configs/{name}.py:RECIPE takes {', '.join(RECIPES)}")
    c = ConfigDict()
    c.name = name
    c.recipe = recipe
    c.method = "kmerl"  # kmerl, merl, or simclr
    c.seed = 0  # of parameters, stream and masks: one seed gives one run

    c.data = ConfigDict()
    c.data.store = f"data/{recipe}"  # made by python -m kmerl_jax.prepare; data/demo makes itself
    c.data.normalization = "mv"  # of an ECG's visible tokens: mv (fixed scale), zscore, minmax
    c.data.token_length = 100  # samples of a token: 25, 50, 100 (paper) or 200
    c.data.tokenization = "lead"  # of one lead each, or joint: of all leads at once, missing ones zero
    c.data.knowledge = "grammar"  # reading of the reports: grammar (made if missing), or what mine --name=... wrote
    c.data.merging = True  # False: what is said in several ways is as many entities
    c.data.superclasses = True  # False: an entity does not make its superclasses present
    c.data.min_report_words = 4  # records with shorter reports are not trained on (as MERL)
    c.data.min_positives = 10  # an entity becomes a query with that many positive training records
    c.data.possible = "unknown"  # label of an entity that a report calls possible: unknown (no loss) or positive
    c.data.unreadable = "stop"  # a record that cannot be read: stop, or skip (another stands in for it, and is counted)
    c.data.workers = 0  # Grain worker processes; 0 reads in threads

    c.text = ConfigDict()
    c.text.encoder = "lexical"  # hashed n-grams (offline, no meaning), or a BERT: a folder or a Hugging Face Hub id
    c.text.pooling = "mean"  # of a BERT's last states: mean over tokens, cls, or pooler
    c.text.trainable_layers = 0  # last layers of a BERT that learn with the run; 0: frozen, embedded once
    c.text.dropout = 0.0  # of these layers, while they learn
    c.text.window = 256  # most tokens of a report that a BERT reads; longer ones are cut and counted

    c.model = ConfigDict()
    c.model.encoder = "vit"  # of ECGs; of merl and simclr also resnet18, resnet34, resnet50 or resnet101
    c.model.width = 192  # of the encoder; heads of 64
    c.model.depth = 12  # layers of the encoder
    c.model.heads = 3  # they divide model.width
    c.model.mlp_ratio = 4  # hidden width of the encoder's MLPs over model.width
    c.model.lead_embedding = True  # False: tokens do not say of which lead they are
    c.model.temporal_embedding = True  # False: tokens do not say of which segment they are
    c.model.lead_gain = 0.0  # each lead scales W e by a learnt vector that begins so far from 1; 0: no gains (paper)
    c.model.projection = 256  # width in which ECGs and reports are compared
    c.model.query_width = 256  # of the query network
    c.model.query_depth = 4  # layers of the query network
    c.model.query_heads = 4  # they divide model.query_width
    c.model.query_head_width = 0  # of each head; 0: model.query_width over model.query_heads
    c.model.query_mlp_ratio = 4  # hidden width of the query network's MLPs over model.query_width
    c.model.query_self_attention = False  # True: an answer depends on what else is asked

    c.masking = ConfigDict()
    c.masking.min_leads = 1  # fewest visible leads of a training ECG
    c.masking.max_leads = 3  # most visible leads: 12 less the 9, 10 or 11 that the paper masks
    c.masking.masked_segments = 12  # of 50 in each visible lead, the paper's 25 %
    c.masking.segments = "independent"  # which ones, in each lead; or shared by all leads

    c.loss = ConfigDict()
    c.loss.contrast = 1.0  # weight of the ECG-report contrast
    c.loss.entities = 1.0  # weight of the entities' binary cross-entropy
    c.loss.views = 1.0  # weight of MERL's contrast of two views of an ECG
    c.loss.view_dropout = 0.1  # what makes them two
    c.loss.temperature = 0.07  # of the contrast
    c.loss.direction = "symmetric"  # of the contrast: symmetric, or e2t (ECG to text only)
    c.loss.duplicates = True  # identical reports in a batch are positives of each other

    c.optimizer = ConfigDict()
    c.optimizer.name = "adamw"  # adamw (the paper's), or muon (matrices by Muon, the rest by AdamW)
    c.optimizer.learning_rate = 2e-4  # peak
    c.optimizer.weight_decay = 1e-5  # of all parameters
    c.optimizer.warmup_steps = 500  # linear, before the decay
    c.optimizer.decay = "cosine"  # to zero: cosine (the paper's) or linear
    c.optimizer.b1 = 0.9  # decay of the mean gradient
    c.optimizer.b2 = 0.999  # decay of the mean square
    c.optimizer.clip = 1.0  # largest norm of the gradient

    c.train = ConfigDict()
    c.train.batch_size = 4096  # global; devices times microbatches must divide it
    c.train.microbatches = 1  # parts of a batch, one after another: less memory, while the contrast is over all of it
    c.train.remat = False  # recompute activations in the backward pass: less memory, a third more work
    c.train.steps = 0  # length of the run; 0: as many as train.epochs need
    c.train.epochs = 50  # passes over the training records, if train.steps is 0
    c.train.dtype = "auto"  # of matrix products: float32, bfloat16; auto: bfloat16 except on a CPU
    c.train.log_every = 20  # steps between console lines; every step goes to metrics.jsonl
    c.train.validate_every = 500  # steps between validation losses
    c.train.validation_batches = 8  # of a validation, at most
    c.train.stall_s = 60.0  # seconds after which a step, or the wait for its records, is called stalled

    c.checkpoint = ConfigDict()
    c.checkpoint.every = 500  # steps between checkpoints; the last step always has one
    c.checkpoint.keep = 3  # how many of the latest stay (two at least), beside the one of lowest validation loss
    c.checkpoint.on_failure = "continue"  # when one cannot be written: continue without it, or stop

    c.mesh = ConfigDict()
    c.mesh.fsdp = 1  # devices that share one copy of the large parameters; the rest is data parallel

    c.evaluation = ConfigDict()
    c.evaluation.lead_sets = ("12", "II", "I")  # which leads the model sees, each scored apart
    c.evaluation.min_positives = 5  # classes with fewer on the scored records are left out
    c.evaluation.batch_size = 4  # ECGs of 12 leads at a time on a device, or more of fewer; on a CPU few are faster
    c.evaluation.probe_records = 1000  # training records of the probes at the end, at most

    if recipe in ("demo", "ptb_xl"):  # minutes on a CPU: few steps, each of them cheap, and far from the start
        c.train.batch_size = 32
        c.train.steps = 320 if recipe == "demo" else 400
        c.train.validate_every = c.train.steps // 2
        c.train.validation_batches = 4
        c.checkpoint.every = c.train.steps // 2
        c.model.lead_gain = 0.7
        c.model.query_mlp_ratio = 1
        c.loss.entities = 20.0  # a mean over many rare entities is small beside the contrast
        c.optimizer.name = "muon"  # AdamW would not be half as far
        c.optimizer.learning_rate = 3e-3
        c.optimizer.warmup_steps = 30
        c.optimizer.decay = "linear"
        c.optimizer.b2 = 0.99
    if recipe == "demo":
        c.evaluation.probe_records = 500  # the demo is to end within ten minutes on slow cores
    if recipe == "mimic":
        c.data.store = "data/mimic_iv_ecg"
        c.data.min_positives = 100
        c.text.encoder = "ncbi/MedCPT-Query-Encoder"
        c.evaluation.batch_size = 256
    return c


def merl(config: ConfigDict) -> ConfigDict:
    """A config of `base` with what is MERL's own: all else, the normalisation and the schedule too, is shared.

    Its own min-max is `data.normalization=minmax`; with `masking.min_leads=1` leads are hidden at random in training.
    """
    config.method = "merl"
    config.masking.update(min_leads=12, max_leads=12, masked_segments=0)
    return config


def check_sizes(config: ConfigDict, beginning: str = "") -> None:
    """Raises ValueError for the first number of the fields of some beginning that is too small, infinite, or none."""
    for name, least in _LEAST.items():
        if name.startswith(beginning) and not least <= (value := _field(config, name)) < math.inf:
            raise ValueError(f"{name}={value} is not {least} or more")


def check_numbers(config: ConfigDict) -> None:
    """Raises ValueError for the first number that is too small, too large, or none."""
    check_sizes(config)
    for name in _ABOVE_ZERO:
        if not 0 < (value := _field(config, name)) < math.inf:
            raise ValueError(f"{name}={value} is not above 0")
    for name in _SHARES:
        if not 0 <= (value := _field(config, name)) < 1:
            raise ValueError(f"{name}={value} is not a share from 0 to below 1")
    if not (config.train.steps or config.train.epochs):
        raise ValueError("train.steps=0 and train.epochs=0 are no run: give the one or the other")


def _field(config: ConfigDict, name: str):
    section, _, field = name.rpartition(".")
    return (config[section] if section else config)[field]


def complete(saved: dict) -> ConfigDict:
    """A config as a run or an exported model keeps it; fields that it is too old to have say what was always done.

    Raises:
        ValueError: it is no config.
    """
    try:
        config = base(saved["name"], saved["recipe"])
        config.update(saved)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no config of kmerl_jax: {error!r}") from error
    return config
