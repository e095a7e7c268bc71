import huggingface_hub
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from kmerl_jax.config import base
from kmerl_jax.models.bert import Bert
from kmerl_jax.text import cache, checkpoint
from kmerl_jax.text import encoder as encoders
from kmerl_jax.text.bert import BertEncoder
from tests.text.bert_folder import VOCABULARY, write_bert

TEXTS = ["sinus rhythm", "normal ecg", "Atrial fibrillation with left axis deviation, and block of the right", "", "av"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert"))


def load(folder, name="x", window=40, **more):
    return BertEncoder(name, folder, window=window, **more)


def test_a_text_is_its_tokens_between_cls_and_sep(folder):
    encoder = load(folder)
    assert encoder.width == 32
    ids = np.array([[VOCABULARY.index(token) for token in ("[CLS]", "sinus", "rhythm", "[SEP]")]])
    bert = Bert(checkpoint.read_sizes(folder))
    params = checkpoint.convert(checkpoint.read_weights(folder), bert)
    expected = bert.apply({"params": params}, ids, np.ones(ids.shape, bool))
    np.testing.assert_allclose(encoder.embed(["Sinus  Rhythm"]), expected, atol=1e-5)


def test_capitals_make_no_difference_to_a_tokenizer_that_knows_them(tmp_path):
    folder = write_bert(tmp_path)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false}')
    encoder = load(folder)
    np.testing.assert_array_equal(encoder.embed(["Sinus Rhythm"]), encoder.embed(["sinus rhythm"]))
    np.testing.assert_array_equal(encoder.tokens(["Sinus"])[0], [[2, VOCABULARY.index("sinus"), 3]])


def test_what_else_is_embedded_changes_nothing(folder):
    bert = load(folder)
    together = bert.embed(TEXTS)
    assert together.shape == (5, 32)
    for text, expected in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(bert.embed([text])[0], expected, atol=1e-5)
    many = bert.embed(TEXTS * 100)
    np.testing.assert_allclose(many, np.tile(together, (100, 1)), atol=1e-5)
    assert bert.embed([]).shape == (0, 32)


def test_long_texts_are_cut_and_counted(folder):
    bert = load(folder, window=6)
    long, cut = bert.embed(["sinus rhythm with av block of the left", "sinus rhythm with av"])
    np.testing.assert_allclose(long, cut, atol=1e-6)
    assert bert.cut == 1
    with pytest.raises(ValueError, match=r"text\.window=41 is not within 3 to 40"):
        load(folder, window=41)


def test_the_fingerprint_follows_all_that_matters(folder, tmp_path):
    one = load(folder).fingerprint
    assert one == load(folder, name="another name").fingerprint
    assert len({one, *(load(folder, **way).fingerprint for way in WAYS)}) == 4
    other = write_bert(tmp_path, hidden_act="relu")
    assert load(other).fingerprint != one


WAYS = ({"pooling": "cls"}, {"window": 20}, {"dtype": jnp.bfloat16})


def test_only_new_reports_are_embedded(folder, tmp_path):
    bert = load(folder)
    first, new = cache.embed(bert, TEXTS[:3], tmp_path)
    assert new == 3
    again, new = cache.embed(load(folder), TEXTS, tmp_path)
    assert new == 2
    np.testing.assert_array_equal(again[:3], first)


def test_a_tokenizer_that_does_not_fit(folder, tmp_path):
    bare = write_bert(tmp_path / "bare")
    (bare / "vocab.txt").unlink()
    with pytest.raises(ValueError, match="tokenizer"):
        load(bare)
    small = write_bert(tmp_path / "small", vocab_size=20)
    (small / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    with pytest.raises(ValueError, match=rf"knows {len(VOCABULARY)} tokens, the weights 20"):
        load(small)


def test_the_encoder_that_a_config_names(folder, monkeypatch):
    text = base("x", "demo").text
    assert encoders.load(text, jnp.float32).name == "lexical"
    text.update(encoder=str(folder), pooling="cls", window=12)
    named = encoders.load(text, jnp.float32)
    assert named.fingerprint == load(folder, pooling="cls", window=12).fingerprint
    assert base("x", "mimic").text.encoder == "ncbi/MedCPT-Query-Encoder"


def test_a_hub_id_that_cannot_be_had(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"not in the Hugging Face cache.*text\.encoder=lexical"):
        checkpoint.locate("nobody/no-such-model-here")
    with pytest.raises(ValueError, match="is no folder, no Hub id"):
        checkpoint.locate(str(tmp_path / "not" / "there" / "x"))


@pytest.mark.parametrize("vocabulary", ["pubmedbert-vocab.txt", "bert-base-uncased-vocab.txt"])
def test_reports_in_a_real_vocabulary_are_read_as_transformers_reads_them(real_data, tmp_path, vocabulary):
    words = (real_data / "vocab" / vocabulary).read_text("utf-8").splitlines()
    bert = write_bert(tmp_path, vocab_size=len(words))
    (bert / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    reports = [
        "sinus rhythm with pvc(s). inferior/lateral infarct - age undetermined. abnormal ecg.",
        "Atrial fibrillation with rapid ventricular response",
        "rsr'(v1) - probable normal variant; st-t changes, 2:1 a-v block & ischämie",
    ]
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(bert), transformers.BertModel.from_pretrained(bert)
    with torch.no_grad():
        for report, embedding in zip(reports, load(bert).embed(reports), strict=True):
            states = model(**tokenizer(report, return_tensors="pt", truncation=True, max_length=40)).last_hidden_state
            np.testing.assert_allclose(embedding, states[0].mean(0), atol=1e-5)
