"""Small random BERT checkpoints, written by transformers."""

from pathlib import Path

import torch
import transformers

WORDS = (
    "sinus",
    "rhythm",
    "atrial",
    "fibrillation",
    "normal",
    "ecg",
    "left",
    "right",
    "axis",
    "deviation",
    "with",
    "and",
)
WORDS += ("block", "of", "the", "av")
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"abcdefghijklmnopqrstuvwxyz.,-", "##s", "##ial"]


def write_bert(folder: Path, dtype=torch.float32, model=transformers.BertModel, **sizes) -> Path:
    """A checkpoint with config.json, model.safetensors and vocab.txt.

    Args:
        folder: where to.
        dtype: of the weights.
        model: class of the transformers library.
        **sizes: of its BertConfig, where they are not small enough already.
    """
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    small |= {"vocab_size": 60, "max_position_embeddings": 40}
    torch.manual_seed(0)
    bert = model(transformers.BertConfig(**small | sizes))
    with torch.no_grad():
        for parameter in bert.parameters():  # norms and biases begin at 1 and 0: a mix-up of them would not show
            parameter.add_(0.2 * torch.randn_like(parameter))
    bert.to(dtype).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY[: bert.config.vocab_size]) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    return folder
