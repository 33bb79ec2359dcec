"""Arguments are bound as Python binds them, and become named inputs."""

import functools
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opto.nodes import node
from opto.trace import bundle
from opto.trace.binding import argument_names, make_binder


def passing_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def simple(a, b):
    return {"a": a, "b": b}


def with_defaults(a, b=2, c=3):
    return {"a": a, "b": b, "c": c}


def keyword_only(a, *, b, c=3):
    return {"a": a, "b": b, "c": c}


def all_kinds(a, b=2, /, c=3, *rest, d, e=5, **more):
    return {"a": a, "b": b, "c": c, "d": d, "e": e} | spread("rest", rest) | spread("more", more)


def rest_only(*args):
    return spread("args", args)


def more_only(**kwargs):
    return spread("kwargs", kwargs)


def positional_only(a, /, **more):
    return {"a": a} | spread("more", more)


def nothing():
    return {}


def spread(name, values):
    """Return *values* under the keys that inputs have."""
    if isinstance(values, tuple):
        return {f"*{name}[{index}]": value for index, value in enumerate(values)}
    return {f"**{name}[{key}]": value for key, value in values.items()}


FUNCTIONS = [simple, with_defaults, keyword_only, all_kinds, rest_only, more_only, positional_only, nothing]
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "x", "rest", "more", "self"])


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
@given(args=st.lists(st.integers(), max_size=6), kwargs=st.dictionaries(NAMES, st.integers(), max_size=5))
def test_binding_agrees_with_python(function, args, kwargs):
    binder = make_binder(function)
    try:
        expected = function(*args, **kwargs)
    except TypeError as error:
        reason = str(error)
        with pytest.raises(TypeError, match=f"^{re.escape(reason)}$"):
            binder(*args, **kwargs)
        return
    keys, inputs, plain, named, _ = binder(*args, **kwargs)
    assert dict(zip(keys, inputs, strict=True)) == expected
    assert inputs == plain
    # The last values go by the names, the others by position: so the function gets them all.
    count = len(plain) - len(named)
    assert function(*plain[:count], **dict(zip(named, plain[count:], strict=True))) == expected
    assert bundle(function)(*args, **kwargs).data == expected


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"a": 1}), ((1, 2), {"b": 2})]
)
def test_what_does_not_fit_is_the_error_of_python(args, kwargs):
    with pytest.raises(TypeError) as expected:
        simple(*args, **kwargs)
    for attempt in (make_binder(simple), bundle(simple)):
        with pytest.raises(TypeError) as found:
            attempt(*args, **kwargs)
        assert str(found.value) == str(expected.value)


def test_wrong_arguments_are_no_execution_error():
    from opto.errors import ExecutionError

    with pytest.raises(TypeError) as caught:
        bundle(simple)(1)
    assert not isinstance(caught.value, ExecutionError)


def test_nodes_are_inputs_and_their_values_are_plain():
    x, y = node(1), node(2)
    keys, inputs, plain, _, _ = make_binder(simple)(x, b=y)
    assert tuple(keys) == ("a", "b")
    assert inputs[0] is x
    assert inputs[1] is y
    assert plain == (1, 2)


def test_containers_with_nodes_are_packed():
    x = node(1)
    for binder in (make_binder(simple), make_binder(all_kinds)):
        extra = {"d": 0} if binder.__qualname__ == "all_kinds" else {}
        _, inputs, plain, _, _ = binder([x], {"k": (x,)}, **extra)
        assert plain[:2] == ([1], {"k": (1,)})
        assert inputs[0].parents[0] is x


@dataclass
class Till:
    """Has a node in a field, and changes."""

    price: object
    sold: int = 0

    @bundle(allow_external_dependencies=True)
    def one(self, count):
        self.sold += count
        return self.price * self.sold

    @bundle(allow_external_dependencies=True)
    def many(self, *counts):
        self.sold += sum(counts)
        return self.price * self.sold

    @bundle(allow_external_dependencies=True)
    def named(self, count, **more):
        self.sold += count + sum(more.values())
        return self.price * self.sold

    @bundle(allow_external_dependencies=True)
    @passing_on
    def wrapped(self, count):
        self.sold += count
        return self.price * self.sold


@pytest.mark.filterwarnings("error")
def test_a_method_gets_its_object_itself_whatever_else_it_takes():
    price = node(2)
    till = Till(price)
    for result, total in (
        (till.one(1), 2),
        (till.many(1, 1), 6),
        (till.named(1, more=1), 10),
        (till.wrapped(count=1), 12),
    ):
        assert result.data == total
        assert result.parents == [price]
        assert next(iter(result.inputs)) == "self"


def test_defaults_are_the_very_objects():
    default = []

    def function(a=default, *, b=default):
        return a, b

    _, inputs, *_ = make_binder(function)()
    assert inputs[0] is default
    assert inputs[1] is default


def test_defaults_that_are_nodes_are_inputs():
    weight = node(2, trainable=True)

    @bundle
    def scale(x, by=weight):
        return x * by

    result = scale(3)
    assert result.data == 6
    assert result.parents[0] is weight


def test_builtins_and_classes_take_what_they_are_given():
    assert argument_names(len) == ()
    keys, _, _, named, _ = make_binder(max)(1, 2, key=abs)
    assert tuple(keys) == ("*args[0]", "*args[1]", "**kwargs[key]")
    assert named == ("key",)
    assert bundle(max)(node(-3), 2, key=abs).data == -3
    assert bundle(dict)(a=node(1)).data == {"a": 1}


def test_names_of_arguments_may_be_those_of_the_binder_itself():
    @bundle
    def binder(keys, inputs, plain, *, pack, Node):  # noqa: N803
        return [keys, inputs, plain, pack, Node]

    assert binder(1, 2, node(3), pack=4, Node=5).data == [1, 2, 3, 4, 5]


def test_a_keyword_argument_may_have_any_name():
    @bundle
    def collect(**options):
        return options

    assert collect(self=1, definition=2, function=node(3), args=4).data == {
        "self": 1,
        "definition": 2,
        "function": 3,
        "args": 4,
    }
