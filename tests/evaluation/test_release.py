import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import kmerl_jax
from kmerl_jax.evaluation import evidence, pretrained, release
from kmerl_jax.prediction import exported
from kmerl_jax.text import encoder as text_encoders
from kmerl_jax.text.known import KnownTexts
from kmerl_jax.text.lexical import LexicalEncoder
from kmerl_jax.training import sharding
from kmerl_jax.training.methods import build_model
from tests.prediction.conftest import ecg, evaluated_run  # noqa: F401 (fixtures)
from tests.small import small
from tests.text.bert_folder import write_bert

MESH = sharding.make_mesh(devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def folder(evaluated_run, tmp_path_factory):  # noqa: F811
    """An exported model."""
    out = tmp_path_factory.mktemp("models") / "mine"
    exported.write(pretrained.load(evaluated_run, MESH), out)
    return out


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_what_is_in_it(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {*release._NEEDED, "README.md", "SHA256SUMS"}
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0
    card = (folder / "README.md").read_text()
    assert "| macro AUROC |" in card
    assert "0.900 (0.880 to 0.920)" in card
    assert "For research only" in card


def test_the_same_probabilities(folder, evaluated_run, ecg):  # noqa: F811
    run, exported = kmerl_jax.load(evaluated_run), kmerl_jax.load(folder)
    assert run.opened.checksum == exported.opened.checksum
    assert exported.entities == run.entities
    assert exported.evidence == run.evidence
    names = [*run.entities, "a name that nobody trained"]
    np.testing.assert_array_equal(run.findings(ecg, names), exported.findings(ecg, names))


def test_the_same_in_a_fresh_process_with_other_devices(folder, ecg, tmp_path):  # noqa: F811
    np.save(tmp_path / "ecg.npy", ecg.signal)
    code = (
        "import sys, jax, numpy as np, kmerl_jax; jax.config.update('jax_num_cpu_devices', int(sys.argv[3]))\n"
        "from kmerl_jax import Ecg, STANDARD\n"
        "ecg = Ecg(np.load(sys.argv[2]), eval(sys.argv[5]), 500)\n"
        "model = kmerl_jax.load(sys.argv[1]); assert jax.device_count() == int(sys.argv[3])\n"
        "np.save(sys.argv[4], model.findings([ecg, ecg]))\n"
    )
    found = []
    for devices in (1, 3):
        out = tmp_path / f"{devices}.npy"
        arguments = [str(folder), str(tmp_path / "ecg.npy"), str(devices), str(out), repr(ecg.leads)]
        subprocess.run([sys.executable, "-c", code, *arguments], check=True)
        found.append(np.load(out))
    np.testing.assert_array_equal(*found)


def test_known_names_need_no_text_encoder(folder, ecg, monkeypatch):  # noqa: F811
    def load(*_):
        raise ValueError("the text encoder is far away")

    monkeypatch.setattr(pretrained.text_encoders, "load", load)
    model = kmerl_jax.load(folder)
    model.findings(ecg)
    model.findings(ecg, ["hypertrophy", "normal ecg"])
    with pytest.raises(ValueError, match="far away"):
        model.findings(ecg, ["a new name"])


def test_an_encoder_of_other_weights_is_refused():
    class Other(LexicalEncoder):
        fingerprint = "lexical-2"

    known = KnownTexts("lexical", ["a"], np.ones((1, 768)), Other, "lexical-1")
    np.testing.assert_array_equal(known.embed(["a", "a"]), np.ones((2, 768)))
    with pytest.raises(ValueError, match=r"is here \(lexical-2\) is another"):
        known.embed(["b"])


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", [*release._NEEDED, "README.md"])
def test_a_flipped_bit_or_a_lost_file(copy, name):
    damage(copy / name)
    with pytest.raises(ValueError, match="its checksum differs"):
        kmerl_jax.load(copy)
    (copy / name).unlink()
    with pytest.raises(ValueError, match="is missing; download the model again"):
        kmerl_jax.load(copy)


def test_no_checksums_and_checksums_of_elsewhere(copy):
    sums = (copy / "SHA256SUMS").read_text()
    (copy / "SHA256SUMS").write_text(sums + f"{'0' * 64}  ../../etc/passwd\n")
    with pytest.raises(ValueError, match="which is outside of the folder"):
        kmerl_jax.load(copy)
    (copy / "SHA256SUMS").write_text("\n".join(sums.splitlines()[:-1]))
    with pytest.raises(ValueError, match="is not in SHA256SUMS"):
        kmerl_jax.load(copy)
    (copy / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="has no SHA256SUMS"):
        kmerl_jax.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["release"].update(format=99), "update kmerl_jax"),
        (lambda config: config.pop("release"), "is of format None"),
        (lambda config: config["model"].update(width=64), "is of another network"),
    ],
)
def test_another_format_or_network(copy, change, message):
    config = json.loads((copy / "config.json").read_text())
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    release.add_sums(copy)
    with pytest.raises(ValueError, match=message):
        kmerl_jax.load(copy)


def test_nothing_is_written_over(folder, evaluated_run):  # noqa: F811
    with pytest.raises(FileExistsError, match="name another folder"):
        exported.write(pretrained.load(evaluated_run, MESH), folder)
    with pytest.raises(ValueError, match="is an exported model already"):
        exported.write(pretrained.load(folder, MESH), folder.with_name("again"))


def test_evidence_of_evaluations(evaluated_run, tmp_path):  # noqa: F811
    path = shutil.copytree(evaluated_run, tmp_path / "run")
    name = json.loads((path / "entities.json").read_text())["entities"][0]
    scored = {"macro_auroc": 0.7, "macro_ci95": [0.6, 0.8]}
    scored["per_class"] = {
        "Far-off name": {"auroc": 0.7, "ci95": [0.49, 0.8], "positives": 3, "code": "X"},
        "empty": {"auroc": None, "ci95": None, "positives": 0, "code": "Y"},
    }
    results = {
        "leads": {"few": ["I", "II"]},
        "tasks": {"csn": {"records": 7, "split": "test", "lead_sets": {"few": {"query": scored}}}},
    }
    (path / "evaluation" / "one").mkdir(parents=True)
    (path / "evaluation" / "one" / "results.json").write_text(json.dumps(results))
    found = evidence.gather(path)
    assert [len(one["leads"]) for one in found] == [12, 1, 2]
    one = evidence.of("Far-off name", ("I", "II", "V1"), found)
    assert (one.value, one.leads, one.records, one.near_chance) == (0.7, ("I", "II"), "7 test records of csn", True)
    assert evidence.of("other words", ("I", "II"), found, "csn", "X") == one
    assert evidence.of("other words", ("I", "II"), found, "cpsc2018", "X") is None, "codes are of a task"
    assert evidence.of("empty", ("I", "II"), found) is None
    assert evidence.of(name, ("I", "II"), found).leads == ("II",)
    assert evidence.of(name, ("I",), found) is None
    (path / "evaluation" / "one" / "results.json").write_text("{half")
    with pytest.raises(ValueError, match="is damaged"):
        evidence.gather(path)


def test_a_text_encoder_that_learnt_along(tmp_path):
    """Its weights go with the model; names that are not known are read with them."""
    config = small(tmp_path)
    config.text.update(encoder=str(write_bert(tmp_path / "bert")), trainable_layers=1, window=16)
    model, encoder = build_model(config), text_encoders.load(config.text, np.float32)
    learnt = encoder.trained(jax.tree.map(lambda x: x + 0.05, encoder.weights))
    names = ["sinus rhythm", "atrial fibrillation"]
    shapes = pretrained._shapes(model, config, encoder.width)
    params = jax.tree.map(lambda x: np.full(x.shape, 0.01, x.dtype), shapes) | {"text": learnt.weights}
    entities = {"cohort": "demo", "entities": names, "text_encoder": encoder.fingerprint}
    about = {"step": 1, "checksum": pretrained.checksum_of(params)}
    embeddings = learnt.embed(names)
    release.write(tmp_path / "out", params, config.to_dict(), about, entities, names, embeddings, [], "A card.\n")
    opened = pretrained.load(tmp_path / "out", MESH)
    assert "text" not in opened.params
    np.testing.assert_array_equal(opened.encoder.embed(names), embeddings)
    new = ["left axis deviation"]
    np.testing.assert_allclose(opened.encoder.embed(new), learnt.embed(new), atol=1e-6)
    assert np.abs(opened.encoder.embed(new) - encoder.embed(new)).max() > 1e-3
