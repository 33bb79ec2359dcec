"""numpy's functions and signs, given nodes: what they give untraced, recorded."""

import ast

import numpy as np
import pytest

from opto.errors import ExecutionError
from opto.nodes import MessageNode, node

A, B = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 2])
PROGRAMS = [
    "x + a", "a + x", "a - x", "a * x", "a / x", "a // x", "a % x", "a ** x", "a @ x", "a < x", "a <= x", "a > x",
    "a >= x", "a == x", "a != x", "x == a", "x != a", "np.float64(2) * x", "np.float64(2) - x", "-x", "abs(x)",
    "np.add(x, 1)", "np.exp(x)", "np.maximum(x, a)", "np.add.reduce(x)", "np.multiply.outer(x, b)", "np.modf(x)[0]",
    "np.add(b, x, dtype=float)", "np.sum(x)", "np.mean(x, axis=0)", "np.std(x)", "np.argmax(x)", "np.dot(a, x)",
    "np.concatenate([a, x])", "np.stack((x, x))", "np.where(x > 1, x, 0)", "np.clip(x, y, 3)", "np.sort(x)",
    "np.linalg.norm(x)", "np.linspace(0, y, 3)", "np.full(2, y)", "np.isclose(x, a)", "np.unique(x)", "np.round(x, 1)",
    "np.percentile(x, 50)", "x[x > 1]", "x[0, 1]", "x[:, y]", "x[[0, 1]]", "a[y]", "x.T", "x.mean()", "x.sum(axis=y)",
    "x.reshape(-1)", "x.astype(int)", "x.tolist()", "x.shape[0]", "[row for row in x]", "np.array([y, y])",
    "np.asarray(x)", "np.zeros(y)", "np.arange(y)", "len(x)", "np.matmul(x, [1, 2, 3])", "np.concatenate([x, [1]])",
    "np.add(b, z)", "np.abs(z)", "np.exp(z)", "np.sum(z)", "b + z", "z == b", "np.multiply(z, z)", "np.nonsense(x)",
]  # fmt: skip
PLAIN = {"np.array([y, y])", "np.asarray(x)", "np.zeros(y)", "np.arange(y)", "np.full(2, y)", "len(x)", "a[y]"}


@pytest.mark.parametrize("text", PROGRAMS)
def test_programs(text):
    program = eval(f"lambda x, y, z: {text}", {"np": np, "a": A, "b": B})
    inputs = {"x": node(A.copy(), trainable=True), "y": node(1, trainable=True), "z": node([5, 6], trainable=True)}
    try:
        expected = program(A, 1, [5, 6])
    except Exception as error:
        with pytest.raises(type(error)):
            program(**inputs)
        return
    found = program(**inputs)
    value = [item.data for item in found] if type(found) is list else getattr(found, "_data", found)
    assert type(value) is type(expected)
    assert np.array_equal(value, expected)
    assert getattr(value, "dtype", None) == getattr(expected, "dtype", None)
    if text in PLAIN:
        assert not isinstance(found, MessageNode)
        return
    for item in found if type(found) is list else [found]:
        item.backward("feedback")
    used = {part.id for part in ast.walk(ast.parse(text)) if isinstance(part, ast.Name)}
    assert {name for name, item in inputs.items() if item.feedback} == used & set(inputs)


def test_signs_are_shown_as_signs_and_functions_as_functions():
    x = node(A, name="x")

    def written(result):
        return result.operator.write({key: f"i{number}" for number, (key, _) in enumerate(result.raw_inputs())})

    assert written(B + x) == written(x + B) == "i0 + i1"
    assert written(np.array([1]) < x) == "i0 < i1"
    assert written(np.float64(2) % x) == "i0 % i1"
    assert written(np.exp(x)) == "exp(i0)"
    assert written(np.mean(x, axis=0)) == "mean(i0, axis=i1)"
    # Of lists, a sign and numpy's function are two things.
    assert written(np.add(node([1]), [2])) == "add(i0, i1)"
    assert (B + x).operator.name == "add"
    assert np.mean(x).description


@pytest.mark.filterwarnings("ignore:.*changed its input")
def test_an_array_on_the_left_is_changed_in_place_and_becomes_a_node():
    plain = kept = np.ones(2)
    x = node(np.array([1.0, 2.0]), trainable=True)
    plain += x
    assert kept.tolist() == plain.data.tolist() == [2, 3]
    plain.backward("feedback")
    assert len(x.feedback) == 1


def test_in_place_forms_keep_the_kind_of_numbers_as_untraced():
    x = node(np.arange(3))
    with pytest.raises(TypeError):
        x += 2.5
    x += 2
    assert x.data.tolist() == [2, 3, 4]


def test_failures_are_nodes():
    x = node(A)
    with pytest.raises(ValueError, match="dimensions") as caught:
        np.concatenate([x, B])
    assert isinstance(caught.value, ExecutionError)
    assert caught.value.exception_node.parents[0].parents[0] is x


def test_yes_and_no_are_plain_and_answers_for_each_item_are_nodes():
    assert (node(np.float64(1)) == 1) is np.True_
    x = node(A, trainable=True)
    assert isinstance(x == A, MessageNode)
    np.sum(x == A).backward("feedback")
    assert len(x.feedback) == 1
