"""Parameters in a file: readable, exact, all or nothing, and never executed."""

import difflib
import enum
import os
import pickle
import stat
import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opto.errors import DomainError, ModuleError
from opto.nodes import Choices, Domain, Range, node, read_as
from opto.trace import Module, bundle
from opto.trace.plaintext import read_toml, read_value, write_table


class Holder(Module):
    def __init__(self, **values):
        for name, value in values.items():
            setattr(self, name, node(value, trainable=True))


@bundle(trainable=True)
def double(x):
    """Twice x."""
    # a ''' comment
    return x + x


NEW = 'def double(x):\n    """Twice x."""\n    text = """two\nlines"""\n    return 2 * x\n'


def trip(value):
    return read_value(
        read_toml(write_table({"name": value}, "parameters", lambda name, why: ValueError(f"{name} {why}")))[
            "parameters"
        ]["name"]
    )


def shown(value):
    """Return a text that is equal for values that are equal, and of equal types, all the way down."""
    items = list(value.items()) if isinstance(value, dict) else value
    if isinstance(value, list | tuple | dict | set | frozenset):
        parts = [shown(item) for item in items]
        return f"{type(value).__name__}({', '.join(sorted(parts) if isinstance(value, set | frozenset) else parts)})"
    return repr(value) if not isinstance(value, int) else hex(value) + type(value).__name__


# The laws

texts = st.text(st.characters(exclude_categories=()), max_size=40) | st.text(
    "'\"\\\n\r\t$u0aé\ud83d\ude00 ", max_size=20
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | texts
    | st.binary(max_size=9)
)
hashable = st.recursive(
    scalars.filter(lambda value: value == value),  # noqa: PLR0124 - no NaN in sets and keys: it equals nothing
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(texts | hashable, inner, max_size=4)
        | st.sets(hashable, max_size=3)
        | hashable
    ),
    max_leaves=12,
)


@given(values)
@example("'''")
@example('"""')
@example("a\r\nb\n")
@example("\n'")
@example('\n"')
@example('\n""""""')
@example("\ud83d\ude00\n")
@example("\n\n")
@example({"$tuple": [1]})
@example({"a.b": {}, "": {"c": [{}]}})
@example(float("-inf"))
@example(-0.0)
@example(10**5000)
@example([[], [[]]])
def test_every_value_comes_back_exactly(value):
    assert shown(trip(value)) == shown(value)


@given(st.lists(texts, unique=True, max_size=5))
def test_every_name_comes_back(names):
    names = [name for name in names if not any("\ud800" <= char <= "\udfff" for char in name)]
    written = write_table({name: {"x": index} for index, name in enumerate(names)}, "parameters", ValueError)
    assert read_toml(written)["parameters"] == {name: {"x": index} for index, name in enumerate(names)}


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.integers() | texts, min_size=1, max_size=4))
def test_a_module_loads_what_was_saved(tmp_path_factory, values):
    file = tmp_path_factory.mktemp("saved") / "module.toml"
    Holder(**values).save(file)
    other = Holder(**{name: "" if isinstance(value, str) else 0 for name, value in values.items()})
    other.load(file)
    assert {name: item.data for name, item in other.named_parameters()} == values


def test_sets_are_written_in_one_order():
    assert write_table({"x": {3, 1, 2}}, "t", ValueError) == write_table({"x": {2, 3, 1}}, "t", ValueError)


# What people see


def test_prompts_and_code_stand_in_the_file_with_their_lines(tmp_path):
    module = Holder(prompt="Be kind.\nBe brief.\n", size=3, config={"name": "x", "notes": "a\nb"})
    module.double = double
    module.save(tmp_path / "module.toml")
    assert (tmp_path / "module.toml").read_text() == (
        "# Values of the parameters of Holder, as opto saves them: plain TOML, to be read, compared and edited.\n"
        "# Nothing in it is executed when it is loaded.\n"
        "format = 1\n"
        "\n"
        "[parameters]\n"
        "prompt = '''\nBe kind.\nBe brief.\n'''\n"
        "\n"
        "size = 3\n"
        "\n"
        'double = """\ndef double(x):\n    ""\\"Twice x.""\\"\n    # a \'\'\' comment\n    return x + x\n"""\n'
        "\n"
        "[parameters.config]\n"
        'name = "x"\n'
        "notes = '''\na\nb'''\n"
    )


def test_a_change_of_a_line_changes_a_line(tmp_path):
    module = Holder(prompt="\n".join(f"rule {index}" for index in range(30)), items=["a", "b", "c"], size=1)
    module.save(tmp_path / "before")
    module.prompt._set(module.prompt.data.replace("rule 7\n", "no rule\n"))
    module.items._set(["a", "x", "c"])
    module.save(tmp_path / "after")
    before, after = ((tmp_path / name).read_text().splitlines() for name in ("before", "after"))
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert sorted(changed) == ['+   "x",', "+ no rule", '-   "b",', "- rule 7"]


def test_the_file_is_toml_for_everybody(tmp_path):
    Holder(prompt="a\nb", size=3).save(tmp_path / "module.toml")
    with (tmp_path / "module.toml").open("rb") as file:
        assert tomllib.load(file) == {"format": 1, "parameters": {"prompt": "a\nb", "size": 3}}


def test_a_checkout_with_other_line_ends_means_the_same(tmp_path):
    file = tmp_path / "module.toml"
    Holder(prompt="a\nb\r\nc").save(file)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    module = Holder(prompt="")
    module.load(file)
    assert module.prompt.data == "a\nb\r\nc"


# Code


def test_code_is_loaded_as_text_and_runs_when_called(tmp_path):
    file = tmp_path / "double.toml"
    module = Module()
    module.tool = double
    original = double.parameter.data
    try:
        double.parameter._set(NEW)
        double.save(file)
        module.save(tmp_path / "module.toml")
        double.parameter._set(original)
        assert double.load(file) == (("double",), (), ())
        assert double.parameter.data == NEW
        assert double(4).data == 8
    finally:
        double.parameter._set(original)
    assert double(4).data == 8


def test_loading_runs_nothing(tmp_path):
    file = tmp_path / "double.toml"
    proof = tmp_path / "executed"
    evil = f"open({str(proof)!r}, 'w').close()\ndef double(x, y=open({str(proof)!r}, 'w')):\n    return x\n"
    double.save(file)
    file.write_text(f"format = 1\n[parameters]\ndouble = '''\n{evil}'''\n")
    with pytest.raises(DomainError, match=r"Parameter 'double' in the file"):
        double.load(file)
    assert not proof.exists()


def test_code_with_another_signature_is_refused(tmp_path):
    file = tmp_path / "double.toml"
    file.write_text('format = 1\n[parameters]\ndouble = "def double(x, y): return x"\n')
    with pytest.raises(DomainError, match=r"Keep the signature `def double\(x\):`"):
        double.load(file)


# Names and domains


def test_all_names_that_do_not_fit_are_listed(tmp_path):
    Holder(a=1, b=2, c=3).save(tmp_path / "file")
    module = Holder(c=0, d=0, e=0)
    with pytest.raises(ModuleError, match="lacks 'd', 'e' and it has, but the module has not, 'a', 'b'"):
        module.load(tmp_path / "file")
    assert module.c.data == 0


def test_what_fits_can_be_loaded(tmp_path):
    Holder(a=1, c=3).save(tmp_path / "file")
    module = Holder(c=0, d=0)
    found = module.load(tmp_path / "file", strict=False)
    assert (found.loaded, found.missing, found.extra) == (("c",), ("d",), ("a",))
    assert (module.c.data, module.d.data) == (3, 0)


def test_values_are_checked_and_loaded_together_or_not_at_all(tmp_path):
    (tmp_path / "file").write_text("format = 1\n[parameters]\nfirst = 5\nsecond = 99\n")
    module = Module()
    module.first = node(1, trainable=True)
    module.second = node(2, trainable=True, domain=Range(0, 10))
    with pytest.raises(DomainError, match="Parameter 'second' in the file: 99 lies outside the range"):
        module.load(tmp_path / "file")
    assert (module.first.data, module.second.data) == (1, 2)


def test_projections_are_for_suggestions_not_for_saved_values(tmp_path):
    module = Module()
    module.x = node(1, trainable=True, projections=[lambda value: value + 1])
    module.save(tmp_path / "file")
    module.load(tmp_path / "file")
    assert module.x.data == 1


def test_frozen_and_shared_parameters_are_saved_once(tmp_path):
    module = Holder(a=1)
    module.again, module.list = module.a, [node(2, trainable=True)]
    module.freeze("a")
    module.save(tmp_path / "file")
    module.a._set(0)
    assert module.load(tmp_path / "file").loaded == ("a", "list[0]")
    assert module.a.data == 1
    assert not module.a.trainable


def test_values_of_a_domain_of_ones_own(tmp_path):
    class Even(Domain):
        def read(self, raw):
            return read_as(int, raw)

        def check(self, value):
            if value % 2:
                raise DomainError(f"{value} is odd.", mend="Choose an even number.")

    module = Module()
    module.x = node(2, trainable=True, domain=Even())
    module.save(tmp_path / "file")
    (tmp_path / "file").write_text((tmp_path / "file").read_text().replace("x = 2", "x = 3"))
    with pytest.raises(DomainError, match="3 is odd"):
        module.load(tmp_path / "file")


def test_numbers_of_numpy_stay_numbers_of_numpy(tmp_path):
    numpy = pytest.importorskip("numpy")
    module = Holder(x=numpy.float32(0.5), n=numpy.int64(7), flag=numpy.bool_(True), far=numpy.float32("inf"))
    module.save(tmp_path / "file")
    for parameter in module.parameters():
        parameter._set(type(parameter.data)(0))
    module.load(tmp_path / "file")
    kinds = [numpy.float32, numpy.int64, numpy.bool_, numpy.float32]
    assert [type(item.data) for item in module.parameters()] == kinds
    assert [item.data for item in module.parameters()] == [0.5, 7, True, float("inf")]


# What cannot be done


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "holds a object"),
        (Color.RED, "holds a Color"),
        ([{"deep": (1, len)}], "holds a builtin_function_or_method"),
        (type("Text", (str,), {})("a"), "holds a Text"),
    ],
    ids=["object", "enum", "nested", "subclass"],
)
def test_what_has_no_text_is_named_and_nothing_is_written(tmp_path, value, words):
    (tmp_path / "file").write_text("before")
    with pytest.raises(ModuleError, match=f"Parameter 'bad' cannot be saved: it {words}"):
        Holder(good=1, bad=value).save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "before"
    assert os.listdir(tmp_path) == ["file"]


def test_a_list_that_contains_itself_cannot_be_saved(tmp_path):
    circle = [1]
    circle.append(circle)
    module = Module()
    module.circle = node([], trainable=True)
    module.circle._data = circle
    with pytest.raises(ModuleError, match="'circle' cannot be saved: it is nested more than 40 levels deep"):
        module.save(tmp_path / "file")


def test_deep_values_are_saved_and_loaded(tmp_path):
    deep = 1
    for _ in range(13):
        deep = {(1,): (deep,)}
    module = Holder(x={})
    module.x._set(deep)
    module.save(tmp_path / "file")
    module.x._set({})
    module.load(tmp_path / "file")
    assert module.x.data == deep
    module.x._set({1: {1: {1: deep}}})
    with pytest.raises(ModuleError, match="more than 40 levels deep"):
        module.save(tmp_path / "file")


def test_a_value_that_could_not_be_loaded_is_not_saved(tmp_path):
    module = Module()
    module.x = node(3, trainable=True, domain=Range(0, 5))
    module.x._set(7)
    with pytest.raises(ModuleError, match="'x' cannot be saved, because it could not be loaded again: 7 lies outside"):
        module.save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("source", [f"{NEW}\n\n", NEW.replace("\n", "\r\n"), NEW.rstrip("\n"), f"\n{NEW}"])
def test_sources_come_back_with_their_blanks(tmp_path, source):
    own = double.detach()
    own.parameter._set(source)
    own.save(tmp_path / "file")
    own.parameter._set(NEW)
    own.load(tmp_path / "file")
    assert own.parameter.data == source
    assert own(2).data == 4


def test_names_of_files(tmp_path):
    module = Holder(x=1)
    for name in ("x" * 250, "\udc80", "prompt.pkl"):
        module.save(tmp_path / name)
        module.load(tmp_path / name)
    for use in (module.save, module.load):
        with pytest.raises(ModuleError, match="null"):
            use(tmp_path / "a\x00")


def test_pipes_and_devices_stay_what_they_are(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        Holder(x=1).save(pipe)
        assert os.read(reading, 1000).endswith(b"[parameters]\nx = 1\n")
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reading)


def test_what_cannot_be_seen_stands_as_an_escape(tmp_path):
    values = {"x": "a\u202eb", "y": "a\n\u2066b\x00"}
    module = Holder(**values)
    module.save(tmp_path / "file")
    assert not set((tmp_path / "file").read_text(encoding="utf-8")) & set("\u202e\u2066\x00")
    module.load(tmp_path / "file")
    assert {name: item.data for name, item in module.named_parameters()} == values


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), [float("nan")]])
def test_what_nobody_may_suggest_can_still_be_saved(tmp_path, value):
    module, other = Holder(x=value), Holder(x=type(value)())
    module.save(tmp_path / "file")
    other.load(tmp_path / "file")
    assert repr(other.x.data) == repr(value)
    with pytest.raises(DomainError):
        Holder(x=1).load(tmp_path / "file")


def test_two_parameters_of_one_name_are_not_saved(tmp_path):
    module = Module()
    module.a = Module()
    module.a.b = node(1, trainable=True)
    setattr(module, "a.b", node(2, trainable=True))
    with pytest.raises(ModuleError, match=r"two parameters 'a\.b'"):
        module.save(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"a": 1}), "is a pickle"),
        (b"", "does not say 'format = 1'"),
        (b"format = 2\n[parameters]\n", "has format 2, but this version of opto reads format 1"),
        (b"format = true\n[parameters]\na = 1\n", "does not say 'format = 1'"),
        (b"format = 1\nnotes = ''\n[parameters]\na = 1\n", "has 'notes' beside 'format' and 'parameters'"),
        (b"format = 1\n[parameters]\na = 1\n[extra]\n", "has 'extra' beside"),
        (b"format = 1\n[parameters]\na = '''\n", "Expected"),
        (b'format = 1\n[parameters]\na = { "$what" = 1 }\n', r"no value \$what"),
        (b'format = 1\n[parameters]\na = { "$tuple" = 1 }\n', r"\$tuple holds something else"),
        (b'format = 1\n[parameters]\na = { "$set" = [[1]] }\n', r"\$set holds something else"),
        (b"\xff", "can't decode"),
        (b"format = 1\n[parameters]\na = " + b"[" * 5000, "nested too deeply|Invalid"),
    ],
)
def test_files_that_hold_no_parameters(tmp_path, content, words):
    (tmp_path / "file").write_bytes(content)
    module = Holder(a=1)
    with pytest.raises(ModuleError, match=words):
        module.load(tmp_path / "file")
    assert module.a.data == 1


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ModuleError, match="cannot be read: No such file"):
        Holder(a=1).load(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModuleError, match="cannot be written: "):
        Holder(a=1).save(tmp_path / "file" / "below")


def test_folders_are_made_and_links_and_permissions_kept(tmp_path):
    real = tmp_path / "new" / "folder" / "module.toml"
    Holder(a=1).save(real)
    real.chmod(0o640)
    (tmp_path / "link").symlink_to(real)
    Holder(a=2).save(str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    module = Holder(a=0)
    module.load(real)
    assert module.a.data == 2


def test_choices_come_back_as_the_options_they_are(tmp_path):
    module = Module()
    module.kind = node("slow", trainable=True, domain=Choices("fast", "slow"))
    module.size = node(2, trainable=True, domain=Choices(1, 2))
    module.save(tmp_path / "file")
    module.load(tmp_path / "file")
    assert (module.kind.data, module.size.data) == ("slow", 2)
