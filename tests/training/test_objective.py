import pytest

from kmerl_jax.config import base
from kmerl_jax.training.objective import check


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
    ],
)
def test_what_cannot_be(field, value, message):
    config = base("x", "demo")
    check(config)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        check(config)
