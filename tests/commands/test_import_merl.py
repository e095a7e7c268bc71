"""The import_merl command as users run it, and what takes the model that it writes."""

import json

import numpy as np
import pandas as pd
import pytest

import kmerl_jax
from tests.commands.forks import run

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.text.bert_folder import write_bert  # noqa: E402
from tests.torch_reference.merl import Merl, Vit  # noqa: E402


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("text") / "bert", max_position_embeddings=300)


@pytest.fixture(scope="module")
def published(bert, tmp_path_factory):
    """The files that MERL's authors would publish, of a small random model."""
    torch.manual_seed(1)
    text = transformers.BertModel.from_pretrained(bert)
    model = Merl(Vit(64, depth=2), text=32, projection=16, bert=text.config).eval()
    model.lm_model.load_state_dict(text.state_dict())
    folder = tmp_path_factory.mktemp("published")
    torch.save(model.state_dict(), folder / "vit_ckpt.pth")
    torch.save(model.ecg_encoder.state_dict(), folder / "vit_encoder.pth")
    model.lm_model.pooler.dense.bias.data += 0.1
    torch.save(model.state_dict(), folder / "other_ckpt.pth")
    return folder


def imported(file, out, bert):
    done = run(f"--checkpoint={file}", f"--out={out}", f"--text_encoder={bert}", module="import_merl")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def whole(published, bert, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "merl"
    said = imported(published / "vit_ckpt.pth", out, bert)
    assert "vit of width 64, ECG encoder and heads; every tensor of vit_ckpt.pth has its place" in said
    assert "aVF and aVL are exchanged" in said
    return out


def test_a_whole_model_is_asked_by_cosine(whole, demo_files, demo_store, tmp_path):
    assert json.loads((whole / "config.json").read_text())["release"]["imported"]["file"] == "vit_ckpt.pth"
    record = next(iter(sorted(demo_files.rglob("*.hea"))))
    asked = "--finding=atrial fibrillation", "--finding=normal"
    done = run(f"--run={whole}", *asked, f"--json={tmp_path / 'a.json'}", str(record), module="predict")
    assert done.returncode == 0, done.stderr
    assert "cosine" in done.stdout
    assert "probability" not in done.stdout
    (said,) = json.loads((tmp_path / "a.json").read_text())["records"]
    model = kmerl_jax.load(whole)
    names = [one["name"] for one in said["findings"]]
    cosines = [one["cosine"] for one in said["findings"]]
    ecg = kmerl_jax.read(record)
    np.testing.assert_allclose(cosines, model.findings(ecg, names), atol=1e-5)
    np.testing.assert_allclose(cosines, model.similarity(ecg, names), atol=1e-5)
    assert cosines == sorted(cosines, reverse=True)
    with pytest.raises(ValueError, match="has no features of tokens"):
        model.embed(ecg, per_token=True)

    out = tmp_path / "out"
    how = f"--run={whole}", f"--store={demo_store}", "--labels=demo", "--task=zero_shot", f"--out={out}"
    done = run(*how, module="evaluate")  # strict: ids of another cohort are of other people
    assert done.returncode == 0, done.stderr
    assert "zero-shot, cosine: macro AUROC" in done.stdout


def test_pictures_of_where_it_looked_are_refused(whole, demo_files, tmp_path):
    record = next(iter(sorted(demo_files.rglob("*.hea"))))
    done = run(f"--run={whole}", "--finding=normal", f"--plot={tmp_path / 'a.png'}", str(record), module="predict")
    assert done.returncode == 1
    assert "cannot say where it looked" in done.stderr
    done = run(f"--run={whole}", str(record), module="predict")
    assert done.returncode == 1
    assert "give --finding or --labels" in done.stderr


def test_an_encoder_alone_is_probed_and_embeds(published, bert, demo_store, tmp_path):
    out = tmp_path / "encoder"
    assert "ECG encoder alone" in imported(published / "vit_encoder.pth", out, "nowhere")  # reads no text
    how = f"--run={out}", f"--store={demo_store}", "--labels=demo"
    done = run(*how, "--task=linear_probe", "--ratios=1", "--epochs=2", module="evaluate")
    assert done.returncode == 0, done.stderr
    assert "macro AUROC" in done.stdout
    done = run(*how, "--task=zero_shot", module="evaluate")
    assert done.returncode == 1
    assert "an ECG encoder alone, which cannot be asked by name" in done.stderr
    done = run(*how, "--task=partial_leads", "--leads=I", "--leads=12", "--ratios=1", "--epochs=2", module="evaluate")
    assert done.returncode == 0, done.stderr
    assert "demo, I: probe, pretrained encoder, 100 %: macro AUROC" in done.stdout
    assert "zero-shot" not in done.stdout
    done = run(*how, "--task=partial_leads", "--scores=cosine", module="evaluate")
    assert done.returncode == 1
    assert "partial_leads and domain_transfer without --scores" in done.stderr
    vectors = tmp_path / "vectors"
    done = run(f"--run={out}", f"--store={demo_store}", f"--out={vectors}", module="embed")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(vectors)
    assert "projected" not in table
    assert len(table["pooled"].iloc[0]) == 64


def test_a_text_encoder_of_its_own_goes_with_it(published, whole, bert, tmp_path):
    out = tmp_path / "other"
    assert "it is kept with the model" in imported(published / "other_ckpt.pth", out, bert)
    ours, theirs = kmerl_jax.load(whole), kmerl_jax.load(out)
    texts = ["atrial fibrillation with left axis"]
    assert "text" not in ours.opened.params
    assert np.abs(ours.opened.encoder.embed(texts) - theirs.opened.encoder.embed(texts)).max() > 1e-3


def test_a_text_encoder_that_is_no_bert(published, tmp_path):
    done = run(f"--checkpoint={published / 'vit_ckpt.pth'}", f"--out={tmp_path / 'x'}", "--text_encoder=lexical",
               module="import_merl")  # fmt: skip
    assert done.returncode == 1
    assert "lexical is no BERT" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_checkpoint_without_its_text_encoder(published, bert, tmp_path):
    state = torch.load(published / "vit_ckpt.pth", weights_only=True)
    torch.save({name: x for name, x in state.items() if not name.startswith("lm_model.")}, tmp_path / "x_ckpt.pth")
    arguments = f"--checkpoint={tmp_path / 'x_ckpt.pth'}", f"--out={tmp_path / 'x'}", f"--text_encoder={bert}"
    done = run(*arguments, module="import_merl")
    assert done.returncode == 1
    assert "has heads and no text encoder (lm_model.*)" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint=nowhere.pth", "--out=x"], "nowhere.pth not found; --checkpoint names a *_ckpt.pth"),
        (["--checkpoint=README.md", "--out=x"], "cannot be read as weights alone"),
        (["--checkpoint=README.md", "--out=configs"], "configs exists"),
    ],
)
def test_a_wrong_command_is_one_line(arguments, message):
    done = run(*arguments, module="import_merl")
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_help():
    done = run("--help", module="import_merl")
    assert done.returncode == 0
    assert "weights_only=True" in done.stdout
