import pytest

from kmerl_jax.config import base
from kmerl_jax.throughput import synthetic
from kmerl_jax.training import plan


@pytest.mark.parametrize("layers", [0, 2])
def test_a_batch_is_what_the_stream_gives(layers):
    config = base("small", "mimic")
    config.train.batch_size, config.text.trainable_layers = 6, layers
    shapes = plan.batch_shapes(config)
    made = synthetic.batch(config, plan.QUERIES)
    assert {name: (x.shape, x.dtype) for name, x in made.items()} == {n: (x.shape, x.dtype) for n, x in shapes.items()}
    assert set(made["labels"].ravel()) == {-1, 0, 1}


def test_it_is_the_same_each_time():
    config = base("small", "mimic")
    config.train.batch_size = 3
    first, again = synthetic.batch(config, 5), synthetic.batch(config, 5)
    assert all((first[name] == again[name]).all() for name in first)
