"""Golden texts: a change of any default shows as a change of a file in tests/golden.

To accept a change: KMERL_UPDATE_GOLDEN=1 python -m pytest tests/test_config.py, then read the difference.
"""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from kmerl_jax.config import RECIPES
from kmerl_jax.training.methods import build_model, unread

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
