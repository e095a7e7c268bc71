"""Floating-point operations of a function, counted from its jaxpr rather than measured.

XLA's own count is of what a compiler made of a program, and of a loop it counts one turn.
"""

import math
from collections.abc import Iterator

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


def count(jaxpr: ClosedJaxpr | Jaxpr) -> int:
    """FLOPs of matrix products and convolutions, a multiplication and an addition each; all else is left out.

    Loops of known length count as often as they turn; of the branches of a condition the dearest counts.

    Args:
        jaxpr: as `jax.make_jaxpr(f)(*args)`.

    Raises:
        ValueError: products in a loop of unknown length.
    """
    return sum(_count(equation) for equation in jaxpr.eqns)


def _count(equation: JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        return 2 * equation.outvars[0].aval.size * kernel.size // kernel.shape[params["dimension_numbers"].rhs_spec[0]]
    inside = [count(jaxpr) for jaxpr in _inside(params)]
    if name == "scan":
        return params["length"] * sum(inside)
    if name == "cond":
        return max(inside)
    if name == "while" and sum(inside):
        raise ValueError("a loop of unknown length holds matrix products: its FLOPs cannot be counted")
    return sum(inside)


def _inside(params: dict) -> Iterator[ClosedJaxpr | Jaxpr]:
    kinds = ClosedJaxpr | Jaxpr
    for value in jax.tree.leaves(tuple(params.values()), is_leaf=lambda x: isinstance(x, kinds)):
        if isinstance(value, kinds):
            yield value
