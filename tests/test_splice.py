"""Text changed where its tree says: places are right in every layout, and nothing else moves."""

import ast

import pytest

from opto.splice import Edit, Source, Splice

TEXTS = [
    "x = 1  # one\ny = 2\n",
    "x = 1\r\nif x:\r\n\ty = 'ä'\r\n\tz = '日本'\r\n",
    "x = 1\ry = 2\rz = 3",
    "\x0cx = 'a\x0bb\u2028c'\n\x0cy = 2\n",
    "x = '''a\nb'''; y = \"ß\"\nz = (1 +\\\n 2)",
    "größe = ä + 1\n\n\nif größe: ü = 2",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_part_is_found_where_it_stands(text):
    source = Source(text)

    for part in ast.walk(source.tree):
        if isinstance(part, ast.expr) and not isinstance(getattr(part, "ctx", None), ast.Store):
            assert ast.dump(ast.parse(f"({source.text(part)})", mode="eval").body) == ast.dump(part)
        if isinstance(part, ast.Name):
            assert source.text(part) == part.id


@pytest.mark.parametrize("text", TEXTS)
def test_lines_are_those_of_the_parser(text):
    source = Source(text)

    for part in source.tree.body:
        begin = source.line(source.start(part))
        assert source.between(begin, source.start(part)).strip() in {"", "x = '''a\nb''';", "b''';"}
        assert source.line(begin) == begin
        assert source.next_line(begin) > begin
    assert source.next_line(source.line(source.end(source.tree.body[-1]))) == len(text.encode())


def test_replacing_each_part_by_itself_changes_nothing():
    for text in TEXTS:
        splice = Splice(text)
        for part in splice.tree.body:
            splice.replace(part, splice.text(part))
        assert splice.result() == text


def test_an_edit_inside_what_another_one_replaces_is_left_out():
    source = Source("x = f(1)  # kept\n")
    call = source.tree.body[0].value
    edits = [Edit(*source.span(call.args[0]), "2"), Edit(*source.span(call), "g()")]

    assert source.applied(edits) == source.applied(reversed(edits)) == "x = g()  # kept\n"
    assert source.applied([]) == "x = f(1)  # kept\n"


def test_the_indentation_is_that_of_the_line_and_the_line_end_that_of_the_text():
    source = Source("if x:\r\n\tif y: z = 1\r\n")
    inner = source.tree.body[0].body[0]

    assert (source.margin(inner.body[0]), source.newline) == ("\t", "\r\n")
    assert source.has_text_before(source.start(inner.body[0]))
    assert not source.has_text_before(source.start(inner))


def test_what_is_no_python_is_refused():
    with pytest.raises(SyntaxError):
        Source("x = = 1")
