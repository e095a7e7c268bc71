"""Golden texts: a change of any default shows as a change of a file in tests/golden.

To accept a change: KMERL_UPDATE_GOLDEN=1 python -m pytest tests/test_config.py, then read the difference.
"""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from kmerl_jax.config import RECIPES, base, check_numbers, merl
from kmerl_jax.training.methods import build_model, check, unread

REPOSITORY = Path(__file__).parents[1]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.py"))


def resolved(path, recipe):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(recipe)


def test_the_four_sizes_and_the_baselines_are_there():
    sizes = ["vit_base", "vit_middle", "vit_small", "vit_tiny"]
    assert [path.stem for path in CONFIGS] == ["merl_resnet18", "merl_vit_tiny", "simclr_vit_tiny", *sizes]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_golden(path, recipe):
    config = resolved(path, recipe)
    build_model(config)
    text = json.dumps(config.to_dict(), indent=1) + "\n"
    golden = REPOSITORY / "tests" / "golden" / f"{path.stem}-{recipe}.json"
    if os.environ.get("KMERL_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text(), f"{golden.name} differs; see the docstring of this file"


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_a_method_does_not_look_at_is_said(path, recipe):
    config = resolved(path, recipe)
    assert unread(config) == []
    config.loss.entities, config.model.width, config.loss.views = 7.0, 384, 7.0
    ignored = {"kmerl": ["loss.views"], "merl": ["loss.entities"], "simclr": ["loss.entities", "loss.views"]}
    of_a_vit = ["model.width"] if config.model.encoder != "vit" else []
    assert sorted(unread(config)) == sorted(ignored[config.method] + of_a_vit)


@pytest.mark.parametrize(
    ("path", "changes", "ignored"),
    [
        ("vit_tiny", {"masking.masked_segments": 0, "masking.segments": "shared"}, ["masking.segments"]),
        ("vit_tiny", {"data.token_length": 50, "masking.segments": "shared"}, []),
        ("vit_tiny", {"text.dropout": 0.1, "text.pooling": "cls"}, ["text.dropout", "text.pooling"]),
        ("vit_tiny", {"text.encoder": "a/b", "text.pooling": "cls", "text.window": 128}, []),
        ("merl_vit_tiny", {"data.token_length": 50, "masking.segments": "shared"},
         ["data.token_length", "masking.segments"]),
        ("merl_vit_tiny", {"data.token_length": 50, "masking.masked_segments": 5}, []),
        ("merl_vit_tiny", {"data.superclasses": False, "data.possible": "positive"},
         ["data.possible", "data.superclasses"]),
    ],
)  # fmt: skip
def test_what_nothing_looks_at_because_of_another_field_is_said_too(path, changes, ignored):
    config = resolved(REPOSITORY / "configs" / f"{path}.py", "demo")
    config.update_from_flattened_dict(changes)
    assert sorted(unread(config)) == ignored


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.heads", 5, "model.heads=5 does not divide the width 192"),
        ("model.query_heads", 0, "model.query_heads=0"),
        ("masking.max_leads", 13, "within 1 to 12"),
        ("masking.masked_segments", 50, "at least one must stay"),
        ("data.normalization", "robust", "mv, zscore, minmax"),
        ("data.possible", "negative", "unknown, positive"),
        ("loss.direction", "t2e", "symmetric, e2t"),
        ("train.dtype", "float16", "float16"),
        ("seed", -1, "seed=-1 is not 0 or more"),
        ("model.width", 0, "model.width=0 is not 1 or more"),
        ("loss.contrast", -1.0, r"loss\.contrast=-1\.0 is not 0 or more"),
        ("loss.contrast", float("nan"), "loss.contrast=nan is not 0 or more"),
        ("loss.temperature", 0.0, r"loss\.temperature=0\.0 is not above 0"),
        ("optimizer.learning_rate", float("inf"), "learning_rate=inf is not above 0"),
        ("optimizer.clip", 0.0, "clip=0.0 is not above 0"),
        ("optimizer.b1", 1.0, "b1=1.0 is not a share from 0 to below 1"),
        ("text.dropout", 1.5, "dropout=1.5 is not a share"),
        ("train.log_every", 0, "log_every=0 is not 1 or more"),
        ("train.validation_batches", 0, "validation_batches=0 is not 1 or more"),
        ("train.steps", -5, "steps=-5 is not 0 or more"),
        ("checkpoint.keep", 1, "keep=1 is not 2 or more"),
        ("evaluation.batch_size", 0, "batch_size=0 is not 1 or more"),
        ("evaluation.lead_sets", ("I", 12), "are no texts like '12' or 'I,II'"),
        ("evaluation.lead_sets", (), "are no texts"),
        ("evaluation.lead_sets", ("V9",), "unknown lead or lead set 'V9'"),
    ],
)
def test_what_cannot_be(field, value, message):
    config = base("x", "demo")
    check(config)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        check(config)


@pytest.mark.parametrize(("method", "weights"), [("kmerl", ("contrast", "entities")), ("merl", ("contrast", "views"))])
def test_without_a_loss_there_is_nothing_to_learn_from(method, weights):
    config = base("x", "demo")
    config = config if method == "kmerl" else merl(config)
    for name in weights:
        check(config)
        config.loss[name] = 0.0
    said = " and ".join(f"loss.{name}=0" for name in weights)
    with pytest.raises(ValueError, match=f"{said} leave nothing to learn from"):
        check(config)


@pytest.mark.parametrize(("field", "value"), [("model.depth", 0), ("model.query_heads", 0), ("model.lead_gain", -1.0)])
def test_a_model_that_is_handed_on_is_not_built_with_what_cannot_be(field, value):
    config = base("x", "demo")
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=f"{field}={value} is not"):
        build_model(config)


def test_a_run_has_a_length():
    config = base("x", "demo")
    config.train.update(steps=0, epochs=0)
    with pytest.raises(ValueError, match="are no run"):
        check_numbers(config)


def test_the_papers_run():
    config = resolved(REPOSITORY / "configs" / "vit_tiny.py", "mimic")
    assert config.train.epochs == 50
    assert config.train.batch_size == 4096
    assert config.optimizer.learning_rate == 2e-4
    assert config.optimizer.weight_decay == 1e-5


def test_every_field_has_a_comment():
    for line in (REPOSITORY / "kmerl_jax" / "config.py").read_text().splitlines():
        if (
            line.startswith("    c.")
            and "ConfigDict()" not in line
            and not line.startswith(("    c.name", "    c.rec"))
        ):
            assert "  # " in line, line
