"""Trainable functions keep their signature, and what else their domain says."""

import pytest

from opto.errors import DomainError
from opto.nodes import Check, Domain, Text, as_domain
from opto.trace import Imports, bundle

HEAD = "def work(x):\n    return x\n"


def make(domain):
    @bundle(trainable=True, domain=domain)
    def work(x):
        return x + 1

    return work


def refusal(parameter, source):
    before = parameter.data
    with pytest.raises(DomainError) as caught:
        parameter.accept(source)
    assert parameter.data == before
    assert caught.value.problem.endswith(".")
    assert caught.value.mend.endswith(".")
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "foreign"),
    [
        ("import math", None),
        ("import math as m, os.path as p", None),
        ("from math import floor", None),
        ("from os import path", None),
        ("from os.path import join", None),
        ("import collections.abc", None),
        ("from __future__ import annotations", None),
        ("import os", "os"),
        ("import os.path", "os"),
        ("from os import system", "os.system"),
        ("import math, sys", "sys"),
        ("import mathematics", "mathematics"),
        ("from . import math", ".math"),
        ("from .math import floor", ".math.floor"),
        ("import importlib", "importlib"),
        ("math = __import__('math')", "by __import__"),
    ],
)
@pytest.mark.parametrize("where", ["{}\n" + HEAD, "def work(x):\n    {}\n    return x\n"])
def test_code_imports_what_is_allowed_and_nothing_else(line, foreign, where):
    parameter = make(Imports("math", "os.path", "collections")).parameter
    source = where.format(line)
    if line.startswith("from __future__") and source.startswith("def"):
        assert "parse" in refusal(parameter, source)
    elif foreign is None:
        assert parameter.accept(source) == source
    else:
        said = refusal(parameter, source)
        assert said == f"The code imports {foreign}. Import nothing but math, os.path and collections."


def test_no_imports_at_all():
    parameter = make(Imports()).parameter
    assert parameter.accept(HEAD) == HEAD
    assert refusal(parameter, f"import math\n{HEAD}") == "The code imports math. Import nothing."
    assert parameter.domain.describe() == "Python code that defines `def work(x):`; code that imports nothing"


def test_names_that_are_none():
    with pytest.raises(DomainError, match="no name of a module"):
        Imports("os path")


def test_sources_without_a_function_can_be_held_to_imports_too():
    domain = as_domain(Imports("math"), "import math")
    assert domain.accept("import math\nx = 1") == "import math\nx = 1"
    for raw in ("import os", "import", 3):
        with pytest.raises(DomainError):
            domain.accept(raw)


@pytest.mark.parametrize(
    "domain",
    [
        Imports("math"),
        Text(max_lines=3),
        Check(lambda source: "while" not in source, "must do without while"),
        [Imports("math"), Text(max_lines=3)],
        Imports("math") & Check(lambda source: "while" not in source, "must do without while"),
    ],
    ids=repr,
)
def test_the_signature_is_kept_whatever_else_is_asked_for(domain):
    work = make(domain)
    assert "Keep the signature `def work(x):`" in refusal(work.parameter, "def work(x, y):\n    return x")
    assert "does not define work" in refusal(work.parameter, "x = 1")
    assert work.parameter.accept("```python\ndef work(x):\n    return 2 * x\n```") == "def work(x):\n    return 2 * x\n"
    bad = "import os\ndef work(x):\n    while x:\n        x -= 1\n    return x"
    assert refusal(work.parameter, bad)
    assert work.parameter.domain.describe().startswith("Python code that defines `def work(x):`; ")
    assert work(1).data == 2


def test_a_source_put_in_by_hand_is_held_to_its_domain_when_it_runs():
    work = make(Imports("math"))
    work.parameter._set("import os\ndef work(x):\n    return x\n")
    from opto.errors import ExecutionError

    with pytest.raises(ExecutionError, match="imports os"):
        work(1)


def test_the_start_is_held_to_its_domain():
    with pytest.raises(DomainError, match="'work:0'|work"):
        make(Text(max_lines=1))


def test_domains_of_users_see_the_source_and_keep_the_signature():
    class Short(Domain):
        def check(self, value):
            if len(value) > 80:
                raise DomainError("The code is long.", mend="Write less.")

    parameter = make(Short()).parameter
    assert "long" in refusal(parameter, f"def work(x):\n    return {'1 + ' * 40}x")
    assert "signature" in refusal(parameter, "def work():\n    return 1")
