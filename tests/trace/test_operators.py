"""Operators by name do what Python's syntax does, and record it."""

import pytest

from opto.errors import ExecutionError, LLMError
from opto.llm import DummyLLM, ScriptedLLM, use_llm
from opto.nodes import node
from opto.trace import operators as ops

CASES = [
    (ops.pos, (-2,), -2),
    (ops.neg, (-2,), 2),
    (ops.abs, (-2,), 2),
    (ops.invert, (5,), -6),
    (ops.round, (2.345, 2), round(2.345, 2)),
    (ops.round, (2.6,), 3),
    (ops.floor, (2.6,), 2),
    (ops.ceil, (2.1,), 3),
    (ops.trunc, (-2.6,), -2),
    (ops.not_, ([],), True),
    (ops.len_, ("abc",), 3),
    (ops.ord_, ("a",), 97),
    (ops.chr_, (97,), "a"),
    (ops.add, (1, 2), 3),
    (ops.subtract, (1, 2), -1),
    (ops.multiply, (3, 2), 6),
    (ops.divide, (3, 2), 1.5),
    (ops.floor_divide, (3, 2), 1),
    (ops.mod, (3, 2), 1),
    (ops.node_divmod, (7, 2), (3, 1)),
    (ops.power, (3, 2), 9),
    (ops.lshift, (1, 3), 8),
    (ops.rshift, (8, 3), 1),
    (ops.and_, (6, 3), 2),
    (ops.or_, (6, 3), 7),
    (ops.xor, (6, 3), 5),
    (ops.lt, (1, 2), True),
    (ops.le, (2, 2), True),
    (ops.eq, (1, 2), False),
    (ops.neq, (1, 2), True),
    (ops.ne, (1, 1), False),
    (ops.ge, (1, 2), False),
    (ops.gt, (3, 2), True),
    (ops.is_, (None, None), True),
    (ops.is_not, (None, 1), True),
    (ops.in_, (1, [1]), True),
    (ops.not_in, (1, [1]), False),
    (ops.concat, ("a", "b"), "ab"),
    (ops.cond, (True, "yes", "no"), "yes"),
    (ops.cond, (0, "yes", "no"), "no"),
    (ops.getitem, ([1, 2], 1), 2),
    (ops.get, ({"a": 1}, "b", 3), 3),
    (ops.node_getattr, (3 + 4j, "imag"), 4.0),
    (ops.lower, ("Ab",), "ab"),
    (ops.upper, ("Ab",), "AB"),
    (ops.title, ("ab cd",), "Ab Cd"),
    (ops.swapcase, ("Ab",), "aB"),
    (ops.capitalize, ("aB",), "Ab"),
    (ops.split, ("a b",), ["a", "b"]),
    (ops.split, ("a,b,c", ",", 1), ["a", "b,c"]),
    (ops.strip, (" a ",), "a"),
    (ops.replace, ("aa", "a", "b", 1), "ba"),
    (ops.join, ("-", "a", "b"), "a-b"),
    (ops.format, ("{}{}", "a", "b"), "ab"),
    (ops.to_list, ((1, 2),), [1, 2]),
    (ops.to_dict, ([("a", 1)],), {"a": 1}),
    (ops.to_set, ([1, 1],), {1}),
    (ops.to_tuple, ([1, 2],), (1, 2)),
    (ops.make_list, (1, 2), [1, 2]),
    (ops.make_set, (1, 1), {1}),
    (ops.make_tuple, (1, 2), (1, 2)),
    (ops.keys, ({"a": 1},), ["a"]),
    (ops.values, ({"a": 1},), [1]),
    (ops.clone, ([1],), [1]),
    (ops.identity, ([1],), [1]),
]

CHANGES = [
    (ops.dict_update, {"a": 1}, ({"b": 2},), {"a": 1, "b": 2}),
    (ops.dict_pop, {"a": 1, "b": 2}, ("a",), {"b": 2}),
    (ops.dict_popitem, {"a": 1, "b": 2}, (), {"a": 1}),
    (ops.list_append, [1], (2,), [1, 2]),
    (ops.list_clear, [1], (), []),
    (ops.list_extend, [1], ([2],), [1, 2]),
    (ops.list_insert, [1], (0, 2), [2, 1]),
    (ops.list_pop, [1, 2], (0,), [2]),
    (ops.list_remove, [1, 2], (1,), [2]),
    (ops.list_reverse, [1, 2], (), [2, 1]),
    (ops.list_sort, [1, 2], (None, True), [2, 1]),
    (ops.set_add, {1}, (2,), {1, 2}),
    (ops.set_clear, {1}, (), set()),
    (ops.set_discard, {1}, (2,), {1}),
    (ops.set_intersection_update, {1, 2}, ({2},), {2}),
    (ops.set_pop, {1}, (), set()),
    (ops.set_remove, {1, 2}, (1,), {2}),
    (ops.set_symmetric_difference_update, {1, 2}, ({2, 3},), {1, 3}),
    (ops.set_update, {1}, ({2},), {1, 2}),
]


@pytest.mark.parametrize(("operator", "values", "result"), CASES, ids=lambda case: getattr(case, "name", None))
def test_operators_compute_and_record(operator, values, result):
    inputs = [node(value) for value in values]
    output = operator(*inputs)
    assert output.data == result
    assert type(output.data) is type(result)
    assert [parent is given for parent, given in zip(output.parents, inputs, strict=True)] == [True] * len(inputs)
    assert operator(*values).data == result
    assert output.op_name == operator.name
    assert output.description


@pytest.mark.parametrize(
    ("operator", "value", "given", "result"), CHANGES, ids=lambda case: getattr(case, "name", None)
)
def test_changes_leave_the_original_alone(operator, value, given, result):
    x = node(value)
    before = repr(value)
    assert operator(x, *given).data == result
    assert repr(x.data) == before


def test_every_operator_of_the_table_is_tested():
    tested = {case[0].name for case in (*CASES, *CHANGES)}
    assert set(ops.__all__) - tested == {"identity", "pop", "call", "call_llm", "acall_llm", "make_dict"}


def test_inputs_go_by_name():
    x, y = node("a"), node("b")
    output = ops.add(x=x, y=y)
    assert output.inputs["x"] is x
    assert output.inputs["y"] is y


@pytest.mark.filterwarnings("ignore:.*changed.*in place")
def test_make_dict_and_pop():
    assert ops.make_dict(a=node(1), b=2).data == {"a": 1, "b": 2}
    assert ops.pop([1, 2, 3]).data == 3


def test_calling_what_a_node_holds():
    double = node(lambda x, by=2: x * by)
    output = ops.call(double, node(4), by=3)
    assert output.data == 12
    assert output.parents[0] is double
    assert ops.call(len, node([1])).data == 1


def test_failures_are_nodes():
    x = node(0, trainable=True)
    with pytest.raises(ExecutionError) as caught:
        ops.divide(1, x)
    assert caught.value.exception_node.parents[0] is x


def test_a_model_is_asked_in_both_ways_of_trace():
    llm = ScriptedLLM(["one", "two", "three"])
    prompt, question = node("Be brief.", trainable=True), node("Why?")
    with use_llm(llm):
        first = ops.call_llm(prompt, question, temperature=0)
    second = ops.call_llm(llm, prompt, question)
    assert (first.data, second.data) == ("one", "two")
    assert llm.calls[0].messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]
    assert llm.calls[0].messages == llm.calls[1].messages
    assert llm.calls[0].settings == {"temperature": 0}
    first.backward("too short")
    assert len(prompt.feedback) == 1


def test_any_function_of_messages_is_a_model():
    answer = ops.call_llm(DummyLLM(lambda messages: messages[1]["content"][::-1]), "Turn it.", node("abc"))
    assert answer.data == "cba"


def test_a_model_that_fails_is_no_mistake_of_the_program():
    with pytest.raises(LLMError):
        ops.call_llm(ScriptedLLM([]), "prompt")
