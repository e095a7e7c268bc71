import jax
import jax.numpy as jnp
import pytest

from kmerl_jax.training import flops


def shape(*axes):
    return jax.ShapeDtypeStruct(axes, jnp.float32)


def count(function, *args):
    return flops.count(jax.make_jaxpr(function)(*args))


def turns(length):
    return lambda x, w: jax.lax.scan(lambda x, _: (jnp.sin(x @ w), None), x, None, length=length)[0].sum()


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (jnp.matmul, (shape(3, 5), shape(5, 7)), 2 * 3 * 5 * 7),
        (
            lambda a, b: jnp.einsum("bqhk,bthk->bhqt", a, b),
            (shape(2, 3, 4, 5), shape(2, 6, 4, 5)),
            2 * 2 * 4 * 3 * 6 * 5,
        ),
        (jax.jit(lambda x: jax.jit(jnp.matmul)(x, x)), (shape(4, 4),), 2 * 4**3),
        (turns(5), (shape(3, 4), shape(4, 4)), 5 * 2 * 3 * 4 * 4),
        # Back through a product go two: one for each factor. The first turn's x needs none, but a loop turns alike.
        (jax.grad(turns(5), argnums=1), (shape(3, 4), shape(4, 4)), 3 * 5 * 2 * 3 * 4 * 4),
        # With what is computed again, the forward pass counts twice.
        (jax.grad(jax.checkpoint(turns(5)), argnums=1), (shape(3, 4), shape(4, 4)), 4 * 5 * 2 * 3 * 4 * 4),
        (lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x, x), (shape(4, 4),), 2 * 4**3),
        (lambda x: jax.lax.while_loop(lambda x: x[0] < 9, lambda x: x + 1, x), (shape(4),), 0),
        (lambda x: jax.nn.softmax(x) * x.sum(), (shape(4, 4),), 0),
    ],
)
def test_products_are_counted(function, args, expected):
    assert count(function, *args) == expected


def test_a_convolution_in_groups():
    def convolve(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=2)

    # Each of 2 x 16 x 16 x 32 outputs sums 3 x 3 places of 8 of the 16 channels.
    assert count(convolve, shape(2, 16, 16, 16), shape(3, 3, 8, 32)) == 2 * (2 * 16 * 16 * 32) * (3 * 3 * 8)


def test_xla_counts_the_same_where_there_is_no_loop():
    def loss(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w)
        return (x**2).mean()

    args = [shape(256, 512), shape(512, 512), shape(512, 128)], shape(1024, 256)
    counted = count(jax.grad(loss), *args)
    # Three products of each layer, but of the first, which has no gradient of its input.
    assert counted == 2 * 1024 * (2 * 256 * 512 + 3 * 512 * 512 + 3 * 512 * 128)
    # XLA adds the elementwise operations, here half a per cent.
    by_xla = jax.jit(jax.grad(loss)).lower(*args).compile().cost_analysis()["flops"]
    assert by_xla == pytest.approx(counted, rel=0.01)


def test_products_in_a_loop_of_unknown_length():
    with pytest.raises(ValueError, match="a loop of unknown length"):
        count(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ x, x), shape(4, 4))
