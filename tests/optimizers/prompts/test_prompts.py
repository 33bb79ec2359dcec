"""The prompts of OptoPrime and OPRO: templates of the user's own, context, masks, and what is logged of them."""

import asyncio
import re

import pytest

from opto.errors import OptimizerError
from opto.llm import ScriptedLLM, estimate_tokens
from opto.nodes import Range, node
from opto.optimizers import OPRO, LocalSearch, Mixed, OptoPrime, OptoPrimeMulti, TextGrad
from opto.optimizers.suggestion import FORMATS, Suggestion
from opto.trace import bundle


def answer(**values):
    return FORMATS["tags"].write(Suggestion(values, "because"))


@pytest.fixture
def count():
    return node(1, name="count", trainable=True, domain=Range(0, 10), description="How often.")


@bundle
def knock(times):
    """Knock some times."""
    return "knock " * times


def step(optimizer, output, feedback="too quiet", **settings):
    optimizer.zero_feedback()
    optimizer.backward(output, feedback)
    return optimizer.step(**settings)


def shown(optimizer, call=-1):
    return [message["content"] for message in optimizer.llm.calls[call].messages]


def test_the_prompt_is_the_users_own_text(count):
    optimizer = OptoPrime(
        [count],
        ScriptedLLM([answer(count="2")]),
        objective="Be heard.",
        system_prompt='You tune {{knobs}}, as {"count": 1}.\n\n{answer_format}',
        user_prompt="{objective}\n\n## It ran\n{code}\n{others}\n\n## Given\n{inputs}\n\nSaid: {feedback}\n\n"
        "Result: {outputs}\n\n{variables}\n\n{request}",
    )

    step(optimizer, knock(count + 1))

    system, user = shown(optimizer)
    assert system == 'You tune {knobs}, as {"count": 1}.\n\n' + FORMATS["tags"].instructions
    assert user == (
        "Be heard.\n\n## It ran\nadd0 = count + 1\nknock0 = knock(times=add0)\nadd0 = 2\n\n"
        "Said: too quiet\n\nResult: knock0 = 'knock knock '\n\n"
        "count: an integer from 0 to 10. How often.\n<value>1</value>\n\nWhat should become of count?"
    )
    assert count.data == 2


@pytest.mark.parametrize("optimizer_class", [OptoPrime, OPRO])
def test_the_built_in_prompt_is_such_a_template(count, optimizer_class):
    prompts = []
    for settings in (
        {},
        {
            "system_prompt": optimizer_class.default_system_prompt,
            "user_prompt": optimizer_class.default_user_prompt,
        },
    ):
        optimizer = optimizer_class([count], ScriptedLLM([answer()]), **settings)
        step(optimizer, knock(count))
        prompts.append(shown(optimizer))

    assert prompts[0] == prompts[1]


def test_a_subclass_may_have_its_own(count):
    class Terse(OptoPrime):
        default_system_prompt = ""
        default_user_prompt = "{problem}\n{answer_format}"

    optimizer = Terse([count], ScriptedLLM([answer()]))
    step(optimizer, knock(count))

    (user,) = shown(optimizer)
    assert user.startswith("# Code\n")
    assert user.endswith(FORMATS["tags"].instructions)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"user_prompt": "{problm}"}, r"Did you mean \{problem\}"),
        ({"user_prompt": "{variables}"}, r"no slot for the feedback\. Write \{feedback\} or \{problem\}"),
        ({"system_prompt": ""}, "no slot for the answer format"),
        ({"system_prompt": "{answer_format}", "include_example": True}, r"Write \{example\} where"),
        ({"system_prompt": 3}, "system_prompt is a int"),
    ],
)
def test_templates_are_checked_when_the_optimizer_is_made(count, settings, complaint):
    with pytest.raises(OptimizerError, match=complaint):
        OptoPrime([count], ScriptedLLM([]), **settings)


def test_opro_needs_what_was_tried(count):
    with pytest.raises(OptimizerError, match=r"Write \{tried\} where"):
        OPRO([count], ScriptedLLM([]), user_prompt="{variables}")
    with pytest.raises(OptimizerError, match=r"\{code\} is no slot"):
        OPRO([count], ScriptedLLM([]), user_prompt="{variables} {tried} {code}")


def test_textgrad_has_no_such_prompt(count):
    with pytest.raises(TypeError, match="unexpected keyword argument 'user_prompt'"):
        TextGrad([count], ScriptedLLM([]), user_prompt="{variables}")


def test_braces_in_values_are_harmless():
    prompt = node("Answer {question} as {{json}} {0}.", name="prompt", trainable=True)
    optimizer = OptoPrime([prompt], ScriptedLLM([answer()]), objective="Keep {question}.")

    step(optimizer, prompt + " {problem}", "{feedback} is {")

    _, user = shown(optimizer)
    assert "Keep {question}." in user
    assert "<value>Answer {question} as {{json}} {0}.</value>" in user
    assert "{feedback} is {" in user


def test_own_templates_keep_to_the_budget(count):
    headings = "\n\n".join(f"## {name} {'of the program ' * 9}\n{{{name}}}" for name in ("code", "others", "outputs"))
    optimizer = OptoPrime(
        [count],
        ScriptedLLM([answer()]),
        max_prompt_tokens=1_500,
        user_prompt=f"{headings}\n\n{{variables}}\n\n{{feedback}}\n\nAgain:\n{{code}}\n\n{{problem}}",
    )

    result = count
    for _ in range(300):
        result = result + 1
    recorded = step(optimizer, result)

    assert sum(map(estimate_tokens, shown(optimizer))) <= 1_500
    assert "of 300 calls" in recorded.left_out[0]


def test_context_stands_beside_the_variable_and_at_the_head(count):
    mode = node("a", name="mode", trainable=True)
    for optimizer_class, reply in ((OptoPrime, answer()), (OPRO, answer()), (TextGrad, "Louder.")):
        replies = [reply] * 3 + [answer()] * 2
        optimizer = optimizer_class(
            [count, mode],
            ScriptedLLM(replies),
            context={count: "Neighbours complain beyond 5.", "mode": "Only a or b:\nothers are {ignored}."},
            problem_context="The door is made of oak.",
        )
        step(optimizer, mode * count, 0.5)

        everything = "\n".join(text for call in range(len(optimizer.llm.calls)) for text in shown(optimizer, call))
        assert "count: an integer from 0 to 10. How often.\nNeighbours" not in everything
        assert "How often.\nNeighbours complain beyond 5." in everything
        assert "Only a or b:\nothers are {ignored}." in everything
        assert "# Context\nThe door is made of oak." in everything


@pytest.mark.parametrize(
    ("context", "complaint"),
    [
        ({"cuont": "x"}, "speaks of 'cuont', which is no variable. Did you mean count"),
        ({"length": "x"}, "The variables are count"),
        ({"count": 3}, "The context of count is 3. Give a text"),
        ("all of it", "use problem_context for all"),
    ],
)
def test_context_of_something_else_is_refused(count, context, complaint):
    with pytest.raises(OptimizerError, match=complaint):
        OptoPrime([count], ScriptedLLM([]), context=context)


def test_context_of_another_parameter_is_refused(count):
    with pytest.raises(OptimizerError, match="speaks of <ParameterNode other"):
        OptoPrime([count], ScriptedLLM([]), context={node(1, name="other", trainable=True): "x"})


SECTIONS = {
    "#Instruction": "# Instruction",
    "#Code": "knock0 = knock(times=count)",
    "#Source": "def knock(times)",
    "# Variables": "<value>1</value>",
    "#Constraints": "an integer",
    "#Outputs": "knock0 = 'knock '",
    "#Feedback": "too quiet",
    "context": "An oak door.",
}


@pytest.mark.parametrize(("title", "text"), SECTIONS.items())
def test_a_masked_section_is_left_out_of_one_step(count, title, text):
    optimizer = OptoPrime([count], ScriptedLLM([answer()] * 3), problem_context="An oak door.", memory_size=0)

    step(optimizer, knock(count))
    step(optimizer, knock(count), mask=[title])
    step(optimizer, knock(count))

    assert [text in "\n".join(shown(optimizer, call)) for call in range(3)] == [True, False, True]
    assert text not in str(optimizer.problem_instance(optimizer.summarize(), mask=[title]))


def test_what_is_asked_for_has_names_if_the_variables_are_masked(count):
    optimizer = OptoPrime([count], ScriptedLLM([answer()]))

    step(optimizer, knock(count), mask=["#Variables"])

    assert "<value>1</value>" not in shown(optimizer)[1]
    assert shown(optimizer)[1].endswith("What should become of count?")


def test_a_mask_ends_with_its_step(count):
    optimizer = OptoPrime([count], ScriptedLLM([answer()]))
    optimizer.backward(knock(count), "too quiet")
    before = str(optimizer.problem_instance(optimizer.summarize()))

    optimizer.step(mask=["#Code", "#Feedback"])

    assert "# Code" in before
    assert str(optimizer.problem_instance(optimizer.summarize())) == before


def test_inputs_others_and_documentation_can_be_masked(count):
    def user(mask):
        optimizer = OptoPrime([count], ScriptedLLM([answer()]))
        step(optimizer, (knock(count) + node("!", name="end")).strip(), mask=mask)
        return shown(optimizer)[1]

    assert "end0 = '!'" in user([])
    assert "end0 = '!'" not in user(["#Inputs"])
    assert "  # 'knock '" in user([])
    assert "  # 'knock '" not in user(["#Others"])
    assert "knock0 = 'knock '" in user(["#Code"])
    assert "[strip]" in user([])
    assert "[strip]" not in user(["#Documentation"])


def test_feedback_on_several_outputs_can_be_masked_without_them(count):
    def user(mask):
        optimizer = OptoPrime([count], ScriptedLLM([answer()]))
        optimizer.backward([knock(count), knock(count + 1)], ["quiet", "loud"])
        optimizer.step(mask=mask)
        return shown(optimizer)[1]

    assert "# Feedback\nknock0 = 'knock '\n-> quiet\nknock1 = 'knock knock '\n-> loud" in user([])
    assert "# Outputs\nknock0 = 'knock '\nknock1 = 'knock knock '" in user(["#Feedback"])
    assert "# Feedback\nknock0\n-> quiet\nknock1\n-> loud" in user(["#Outputs"])


def test_an_unknown_section_is_refused_before_anything_is_asked(count):
    optimizer = OptoPrime([count], ScriptedLLM([]))
    optimizer.backward(knock(count), "too quiet")

    with pytest.raises(OptimizerError, match=r"OptoPrime has no section '#Cod'\. Did you mean code"):
        optimizer.step(mask=["#Cod"])
    with pytest.raises(OptimizerError, match="LocalSearch has no section '#Code'. Leave mask out"):
        LocalSearch([count]).step(mask=["#Code"])
    assert not optimizer.records
    assert optimizer.llm.calls == []


def test_masks_work_in_every_way_to_step(count):
    optimizer = OptoPrime([count], ScriptedLLM([answer()] * 2))
    optimizer.backward(knock(count), "too quiet")
    optimizer.propose(mask=["#Code"])
    optimizer.backward(knock(count), "too quiet")
    asyncio.run(optimizer.astep(mask="#Code"))

    assert not any("# Code" in shown(optimizer, call)[1] for call in (0, 1))


@pytest.mark.parametrize("optimizer_class", [OptoPrime, OPRO])
@pytest.mark.parametrize("answer_format", FORMATS)
def test_an_example_is_shown_if_asked_for(count, optimizer_class, answer_format):
    optimizer = optimizer_class([count], ScriptedLLM([answer()]), include_example=True, answer_format=answer_format)
    step(optimizer, knock(count), 0.5)

    system, user = shown(optimizer)
    example = system.partition("# Example\n")[2]
    assert example
    assert "# Variables" in example
    written = example.partition("An answer:\n")[2]
    assert written.startswith("<suggestion>" if answer_format == "tags" else '{"reasoning"')
    assert "An answer" not in user
    plain = optimizer_class([count], ScriptedLLM([answer()]), answer_format=answer_format)
    step(plain, knock(count), 0.5)
    assert "# Example" not in shown(plain)[0]


def test_variables_need_not_be_named_at_the_end(count):
    optimizer = OptoPrime([count], ScriptedLLM([answer()]), highlight_variables=False)
    step(optimizer, knock(count))

    assert shown(optimizer)[1].endswith("\n\nWhat should become of the variables?")


def test_the_log_is_what_was_said(count):
    optimizer = OptoPrime([count], ScriptedLLM(["nonsense", answer(count="3"), answer(count="4")]))
    assert optimizer.log == optimizer.summary_log == []

    step(optimizer, knock(count), (0.5, "too quiet"))
    step(optimizer, knock(count))

    first, second = optimizer.log
    assert first == {
        "system_prompt": shown(optimizer, 0)[0],
        "user_prompt": shown(optimizer, 0)[1],
        "response": answer(count="3"),
    }
    assert second["response"] == answer(count="4")
    summary = optimizer.summary_log[0]
    assert summary["problem_instance"] == first["user_prompt"]
    assert summary["problem_instance"].feedback == "score 0.5\ntoo quiet"
    assert summary["summary"] is optimizer.records[0]
    masked = optimizer.problem_instance(summary["summary"], mask=["#Feedback", "#Others", "#Instruction"])
    assert "# Code\nknock0" in masked
    assert "too quiet" not in masked
    assert "# Instruction" not in masked


def test_sections_of_what_was_shown_are_masked_whole_and_nothing_else():
    text = node("# One\ntwo", name="text", trainable=True)
    replies = ["<variable><name>text</name><value><![CDATA[# Code\nfour]]></value></variable>", "TERMINATE"]
    optimizer = OptoPrime([text], ScriptedLLM(replies))
    for _ in replies:
        step(optimizer, text + "!", "Wrong:\n# Outputs\nfive")
    whole = optimizer.log[-1]["user_prompt"]
    _, code, variables, outputs, feedback, tried = re.split(r"(?m)^(?=# (?:Code|Var|Out|Feed|Tried).*\n[^f])", whole)
    tried, request = tried.split("\n\n")

    def without(title):
        return optimizer.problem_instance(optimizer.records[-1], mask=[title])

    assert "# One\ntwo" in tried
    assert request == "What should become of text?"
    assert without("#Code") == whole.replace(code, "")
    assert without("#Variables") == whole.replace(variables, "")
    assert without("#Outputs") == whole.replace(outputs, "")
    assert without("#Feedback") == whole.replace(feedback, "")
    assert without("#Tried") == whole.replace(f"{tried}\n\n", "")
    assert without("#Context") == whole


def test_without_a_log_there_is_none(count):
    optimizer = OptoPrime([count], ScriptedLLM([answer(count="3")]), log=False)
    step(optimizer, knock(count))

    assert optimizer.log is None
    assert optimizer.summary_log is None
    assert optimizer.records[0].messages


def test_steps_that_asked_nobody_are_not_in_the_log(count):
    optimizer = OptoPrime([count], ScriptedLLM([]))
    with pytest.warns(UserWarning, match="No feedback has come"):
        optimizer.step()

    assert optimizer.log == []
    assert len(optimizer.records) == 1


def test_a_mask_of_a_joint_step_is_for_those_that_have_prompts(count):
    prompt = node("Be brief.", name="prompt", trainable=True)
    optimizer = Mixed([prompt, count], llm=ScriptedLLM([answer()] * 2), seed=1)
    optimizer.backward(prompt * count, 0.5)
    optimizer.step(mask=["#Code"])
    (asking,) = (item for item in optimizer.optimizers if isinstance(item, OptoPrime))

    assert "# Code" not in shown(asking)[1]
    optimizer.zero_feedback()
    optimizer.backward(prompt * count, 0.5)
    optimizer.step()
    assert "# Code" in shown(asking)[1]
    with pytest.raises(OptimizerError, match="Mixed has no section"):
        optimizer.step(mask=["#Cod"])


def test_long_headings_of_the_users_count(count):
    headings = "\n\n".join(
        f"## {'The program ' * 60}\n{{{name}}}" for name in ("code", "others", "outputs", "feedback")
    )
    optimizer = OptoPrime(
        [count], ScriptedLLM([answer()]), max_prompt_tokens=2_000, user_prompt=f"{headings}\n\n{{variables}}"
    )

    result = count
    for _ in range(300):
        result = result + 1
    step(optimizer, result)

    assert 1_500 < sum(map(estimate_tokens, shown(optimizer))) <= 2_000


def test_the_memory_and_a_long_run_share_the_budget():
    prompt = node("start", name="prompt", trainable=True)
    replies = [answer(prompt=f"{letter} " * 200) for letter in "abcdef"]
    optimizer = OptoPrime([prompt], ScriptedLLM(replies), max_prompt_tokens=3_000)

    for score in (0.1, 0.9, 0.2, 0.3, 0.4, 0.5):
        outputs = [prompt + str(number) for number in range(300)]
        optimizer.zero_feedback()
        optimizer.backward(outputs, [score] * 300)
        optimizer.step()

        assert sum(map(estimate_tokens, shown(optimizer))) <= 3_000
    assert "# Tried before" in shown(optimizer)[1]


def test_context_of_a_joint_step_goes_to_those_that_ask(count):
    prompt = node("Be brief.", name="prompt", trainable=True)
    context = {prompt: "For children.", "count": "At most 3."}
    optimizer = Mixed([prompt, count], llm=ScriptedLLM([answer()]), seed=1, context=context)
    optimizer.backward(prompt * count, 0.5)
    optimizer.step()

    (asking,) = (item for item in optimizer.optimizers if isinstance(item, OptoPrime))
    assert "For children." in shown(asking)[1]
    with pytest.raises(OptimizerError, match="speaks of 'propmt'.*Did you mean prompt"):
        Mixed([prompt, count], llm=ScriptedLLM([]), context={"propmt": "x"})


def test_candidates_are_asked_for_in_the_users_words(count):
    optimizer = OptoPrimeMulti(
        [count],
        ScriptedLLM([answer(count="2"), answer(count="2")]),
        num_responses=2,
        system_prompt="Tune. {answer_format}",
        context={count: "At most 3."},
    )
    step(optimizer, knock(count))

    system, user = shown(optimizer, 0)
    assert system.startswith("Tune. ")
    assert "At most 3." in user
    assert count.data == 2


@pytest.mark.parametrize(
    ("setting", "mend"),
    [
        ({"objective": 3}, "objective is 3. Give a text."),
        ({"problem_context": ["a"]}, "Give a text."),
        ({"max_tokens": "many"}, "max_tokens is 'many'. Give a number from 1 on."),
        ({"max_tokens": 0}, "max_tokens is 0. Give a number from 1 on."),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(count, setting, mend):
    for kind in (OptoPrime, OPRO, OptoPrimeMulti, TextGrad):
        with pytest.raises(OptimizerError, match=re.escape(mend)):
            kind([count], ScriptedLLM([]), **setting)
