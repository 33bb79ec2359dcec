"""Errors of user code: words for people, and still what was raised for ``except`` clauses."""

import dataclasses
import gc
import json
import pickle
import weakref

import pytest

from opto.errors import ExecutionError
from opto.nodes import Operator, failure, node
from opto.nodes.failures import in_words, original


def as_error(cause):
    """Return what a caller gets when user code raises *cause*."""
    x = node(1)
    try:
        raise cause
    except Exception as caught:
        return failure(Operator("work", print), ("x",), (x,), caught)


class CodedError(Exception):
    def __init__(self, code, *, where):
        super().__init__(f"code {code} at {where}")
        self.code = code
        self.where = where


class SlottedError(Exception):
    __slots__ = ("code",)

    def __init__(self, code):
        self.code = code


class StrictError(Exception):
    def __new__(cls, code):
        return super().__new__(cls, code)


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int


class ReadOnlyError(Exception):
    problem = property(lambda self: "mine")


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


CAUSES = {
    "empty": ValueError(),
    "bare class": KeyError,
    "own __init__": CodedError(7, where="here"),
    "__slots__": SlottedError(3),
    "own __new__": StrictError(3),
    "frozen dataclass": FrozenError(3),
    "property of ours": ReadOnlyError(),
    "str raises": MuteError(),
    "several args": OSError(2, "No such file", "a.txt"),
    "group": ExceptionGroup("many", [ValueError(1), KeyError(2)]),
    "C fields": UnicodeDecodeError("utf8", b"x", 0, 1, "reason"),
    "value": StopIteration(5),
    "assert": AssertionError(),
    "json": json.JSONDecodeError("bad", "doc", 1),
    "module": ModuleNotFoundError("no a", name="a"),
    "recursion": RecursionError("deep"),
}


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES.keys())
def test_every_exception_becomes_an_execution_error_that_is_still_what_was_raised(cause):
    kind = cause if isinstance(cause, type) else type(cause)
    error = as_error(cause)
    assert isinstance(error, ExecutionError)
    assert isinstance(error, kind) or kind is ExceptionGroup
    assert kind.__name__ in error.exception_node.data
    assert kind.__name__ in str(error)
    assert "exception_node" in error.mend
    assert isinstance(error.__cause__, kind)
    assert len(error.exception_node.parents) == 1


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES.keys())
def test_every_error_survives_a_pickle(cause):
    error = as_error(cause)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, ExecutionError)
    assert str(again) == str(error)
    assert again.mend == error.mend
    assert again.exception_node.data == error.exception_node.data


def test_attributes_that_handlers_look_at_are_there():
    error = as_error(OSError(2, "No such file", "a.txt"))
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.strerror, error.filename) == (2, "No such file", "a.txt")
    error = as_error(CodedError(7, where="here"))
    assert (error.code, error.where) == (7, "here")
    assert as_error(SlottedError(3)).code == 3
    assert as_error(StopIteration(5)).value == 5
    assert as_error(ModuleNotFoundError("no a", name="a")).name == "a"
    error = as_error(UnicodeDecodeError("utf8", b"x", 0, 1, "reason"))
    assert (error.object, error.start, error.end) == (b"x", 0, 1)


def test_groups_keep_their_members():
    error = as_error(ExceptionGroup("many", [ValueError(1), KeyError(2)]))
    assert len(original(error).exceptions) == 2


def test_notes_are_kept():
    cause = ValueError("a")
    cause.add_note("look at the input")
    assert as_error(cause).__notes__ == ["look at the input"]


def test_words():
    assert in_words(ValueError("no digits")) == "(ValueError) no digits"
    assert in_words(ValueError()) == "(ValueError)"
    assert str(as_error(ValueError())).startswith("work raised ValueError. ")
    assert str(as_error(ValueError("no digits: "))).startswith("work raised ValueError: no digits")


def test_an_error_of_an_error_is_the_first():
    inner = as_error(ValueError("first"))
    outer = as_error(inner)
    assert isinstance(outer, ValueError)
    assert outer.exception_node.data == "(ValueError) first"
    assert original(outer).args == ("first",)


def test_feedback_from_an_exception_node():
    def divide(x):
        return 1 / x

    try:
        divide(0)
    except ZeroDivisionError as cause:
        found = failure(Operator("divide", divide), ("x",), (node(0),), cause).exception_node
    assert found.create_feedback() == "(ZeroDivisionError) division by zero"
    full = found.create_feedback("full")
    assert "in divide, line " in full
    assert full.endswith("return 1 / x  <--- (ZeroDivisionError) division by zero")


def test_lines_of_the_library_itself_are_left_out():
    with pytest.raises(TypeError) as caught:
        node("a") + 1
    assert "valuelike" not in caught.value.exception_node.create_feedback("full")


def test_an_exception_node_is_told_apart():
    error = as_error(ValueError("a"))
    parameter = node(1, trainable=True)
    with pytest.raises(ZeroDivisionError) as caught:
        parameter / 0
    caught.value.exception_node.backward("do not divide by zero")
    assert len(parameter.feedback) == 1
    assert error.exception_node.kind == "exception"


def test_exceptions_of_a_class_are_of_one_class_still_and_do_not_pile_up():
    assert type(as_error(ValueError("a"))) is type(as_error(ValueError("b")))
    kinds = [weakref.ref(type(as_error(type(f"Error{number}", (Exception,), {})()))) for number in range(1_000)]
    gc.collect()
    assert sum(kind() is not None for kind in kinds) < 600


def test_the_members_of_a_group_are_said():
    inner = ExceptionGroup("inner", [KeyError("b"), as_error(TypeError("c")), OSError("d")])
    error = as_error(ExceptionGroup("outer", [ValueError("a"), inner]))
    assert error.exception_node.data == (
        "(ExceptionGroup) outer (2 sub-exceptions): (ValueError) a; (KeyError) 'b'; "
        "(ExecutionError[TypeError]) work raised TypeError: c.; and more"
    )
    assert "(ValueError) a" in error.exception_node.traceback


def test_what_users_are_told_to_do_is_told_once():
    outer = as_error(ExecutionError(as_error(ValueError("no digits")).exception_node))
    assert str(outer).count("catch ExecutionError") == 1
    assert outer.exception_node.data == "(ExecutionError) work raised (ValueError) no digits."
