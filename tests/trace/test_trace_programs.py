"""Whole programs in the shape that people give to programs for Trace, run as they are, with a scripted model.

What each of them rests on is in `test_compatibility`; here is what they do together.
"""

import abc
import asyncio
import copy
import json
import math
import random

import pytest

from opto import trace
from opto.errors import BackwardError
from opto.llm import ScriptedLLM, use_llm
from opto.optimizers import Optimizer, OptoPrime
from opto.optimizers.optoprime import node_to_function_feedback
from opto.testing import LLMServer
from opto.trace import GRAPH, ExecutionError, Module, bundle, model, node
from opto.trace import operators as ops
from opto.trace.bundle import ExceptionNode
from opto.trace.nodes import Node, ParameterNode
from opto.trace.propagators import GraphPropagator
from opto.trace.propagators.propagators import Propagator
from opto.trace.utils import contain, sum_feedback
from opto.utils.llm import LLM, AbstractModel, CustomLLM, DummyLLM, LLMFactory


def answers(*suggestions):
    """A model that answers in Trace's JSON."""
    replies = [json.dumps({"reasoning": "because", "answer": "", "suggestion": item}) for item in suggestions]
    return ScriptedLLM(replies)


# Code that is written until tests pass.


@bundle(trainable=True)
def order(items):
    """Return the items alternately from the low and from the high end of their order."""
    return sorted(items)


BROKEN = "def order(items):\n    return items.sorted()\n"
RIGHT = """\
def order(items):
    rest, result = sorted(items), []
    while rest:
        result.append(rest.pop(0 if len(result) % 2 == 0 else -1))
    return result
"""


def test_a_function_is_rewritten_until_it_is_right():
    said = []
    strange = order.detach()
    llm = answers({"order": BROKEN}, {"__code": RIGHT}, {"order": RIGHT})
    optimizer = OptoPrime(strange.parameters(), llm, ignore_extraction_error=True, include_example=True)
    for _ in range(5):
        try:
            output = strange([1, 2, 3, 4])
            correct = output.eq([1, 4, 2, 3])
            said.append("correct" if correct else f"expected [1, 4, 2, 3], got {output.data}")
        except trace.ExecutionError as error:
            correct = error.exception_node
            said.append(correct.data)
        if said[-1] == "correct":
            break
        optimizer.zero_feedback()
        optimizer.backward(correct, said[-1], retain_graph=True)
        optimizer.step(verbose=True)
    assert said[0] == "expected [1, 4, 2, 3], got [1, 2, 3, 4]"
    assert "AttributeError" in said[1]
    assert said[-1] == "correct"
    assert strange.parameter.data == RIGHT


# An agent with prompts, code and a model of its own.


@trace.model
class Greeter:
    def __init__(self, system_prompt):
        self.system_prompt = system_prompt
        self.find_language = trace.node("Decide the language", trainable=True)
        self.find_name = trace.node("Extract the name, if there is one", trainable=True)

    def __call__(self, query):
        language = self.language(ops.call_llm(self.system_prompt, self.find_language, query))
        name = ops.call_llm(self.system_prompt, self.find_name, query)
        return self.greet(language, name)

    @trace.bundle(trainable=True)
    def language(self, answer):
        """Map the answer to a language."""
        return

    @trace.bundle(trainable=True)
    def greet(self, language, name):
        """Greet in the language."""
        return f"Hola, {name}!"


def test_an_agent_learns_its_code_from_a_conversation():
    code = 'def greet(self, language, name):\n    return f\'{"Hello" if language == "en" else "Hola"}, {name}!\'\n'
    language = "def language(self, answer):\n    return 'en' if 'English' in answer else 'es'\n"
    with use_llm(ScriptedLLM(["English", "Ada", json.dumps({"suggestion": {"greet": code, "language": language}}),
                              "English", "Ada"])):  # fmt: skip
        agent = Greeter("You are a sales assistant.")
        optimizer = OptoPrime(agent.parameters())
        greetings = []
        for _ in range(2):
            output = agent("I am Ada.")
            greetings.append(output.data)
            if output.data.startswith("Hello"):
                break
            optimizer.zero_feedback()
            optimizer.backward(output, "This is not the language of the customer.")
            step = optimizer.step()
            assert {parameter.stem for parameter in step} == {"greet", "language"}
    assert greetings == ["Hola, Ada!", "Hello, Ada!"]


def test_an_agent_asks_a_model_that_it_holds():
    @model
    class Learner:
        def __init__(self, llm):
            self.prompt = node("Answer briefly.", name="prompt", trainable=True)
            self.llm = llm

        @bundle()
        def ask(self, prompt, question):
            """Ask the model."""
            messages = [{"role": "system", "content": prompt}, {"role": "user", "content": question}]
            return self.llm(messages=messages).choices[0].message.content

        def forward(self, question):
            return self.ask(self.prompt, question)

    def reply(messages):
        return f"{messages[-1]['content']} ({len(messages)})"

    for llm in (DummyLLM(reply), ScriptedLLM(reply)):
        learner = Learner(llm)
        output = learner("why?")
        assert output.data == "why? (2)"
        output.backward("too short")
        assert len(learner.prompt.feedback) == 1


# Worlds with steps, in which code acts and may fail.


class Corridor:
    """An environment: positions from 0 on, of which some are walls."""

    def __init__(self, walls=()):
        self.walls, self.position = set(walls), 0

    @bundle()
    def reset(self):
        """Go to the start."""
        self.position = 0
        return {"position": self.position}, {"steps": 0}

    def step(self, action):
        try:
            move = action.data if isinstance(action, trace.Node) else action
            if self.position + move in self.walls:
                raise RuntimeError(f"a wall at {self.position + move}")
            self.position += move
        except Exception as error:
            broken = ExceptionNode(
                error,
                inputs={"action": action},
                description="[step] The step raises an exception.",
                name="exception_step",
            )
            raise ExecutionError(broken) from error

        @bundle()
        def advance(action):
            """Make a step."""
            return {"position": self.position}

        return advance(action), float(self.position), self.position >= 3


@trace.model
class Walker(Module):
    def init(self):
        pass

    def __call__(self, seen):
        return self.act(self.look(seen))

    @bundle(trainable=True)
    def look(self, seen):
        """Tell how far to go."""
        return seen["position"]

    @bundle(trainable=True)
    def act(self, far):
        """Return the step to make."""
        return 1


def walked(world, walker, horizon=5):
    path = {"seen": [], "rewards": [], "error": None}
    seen, info = world.reset()
    assert isinstance(info, Node)
    path["seen"].append(seen)
    for _ in range(horizon):
        try:
            seen, reward, done = world.step(walker(seen))
        except trace.ExecutionError as error:
            path["error"] = error
            break
        path["seen"].append(seen)
        path["rewards"].append(reward)
        if done:
            break
    return path


def test_a_policy_learns_from_its_walk_and_from_its_failures():
    walker, world = Walker(), Corridor(walls=[2])
    jump = "def act(self, far):\n    return 2 if far == 1 else 1\n"
    optimizer = OptoPrime(walker.parameters(), answers({"act": jump}), memory_size=5, config_list=[{"model": "m"}])
    optimizer.objective = "You walk through a corridor. " + optimizer.default_objective
    rewards = []
    for _ in range(2):
        path = walked(world, walker)
        rewards.append(sum(path["rewards"]))
        if path["error"] is None:
            break
        target = path["error"].exception_node
        optimizer.zero_feedback()
        picture = optimizer.backward(target, target.create_feedback(), visualize=True)
        shown = str(optimizer.problem_instance(optimizer.summarize()))
        optimizer.step(verbose="output")

    assert target.data == "(RuntimeError) a wall at 2"
    assert "raise RuntimeError" in target.create_feedback("full")
    assert path["error"] is None
    assert rewards == [1.0, 4.0]
    assert "look" in picture.source
    assert "step0 = step(action=act1)" in shown
    assert "a wall at 2" in shown
    _, user = optimizer.llm.calls[0].messages
    assert user["content"].startswith("# Instruction\nYou walk through a corridor. Change the variables")
    # The walk is one graph: what was seen late depends on what was done early.
    operators = [item.op_name for _, item in trace.propagators.TraceGraph(path["seen"][-1]).graph]
    assert operators.count("act") == 2


def test_results_of_several_nodes_are_unpacked_and_kept():
    """A browser's pages come back as nodes in a tuple, with plain values beside."""
    count = 0

    @bundle(trainable=False, overwrite_python_recursion=False)
    def act(page, action):
        nonlocal count
        count += 1
        return node(f"{page}/{action}"), node(count), count >= 3, f"step {count}"

    @bundle(trainable=True)
    def choose(page):
        return "next"

    page, buffer = node("start", name="page"), []
    while True:
        page, number, done, said = act(page, choose(page))
        buffer.append(said)
        if done:
            break

    assert page.data == "start/next/next/next"
    assert number == 3
    assert "\n".join(item.data for item in buffer) == "step 1\nstep 2\nstep 3"
    graph = buffer[-1].backward("\n".join(map(str, buffer)), retain_graph=True, visualize=True)
    assert "choose" in graph.source
    assert len(choose.parameter.feedback) == 1


# Loops over data.


def test_a_prompt_is_improved_example_by_example():
    prompt = node("Read the case.", trainable=True, name="prompt_text", constraint="A text for a doctor.")

    @bundle()
    def triage(prompt_text: str, query: str) -> str:
        """One call: the prompt, then the case."""
        return "URGENT" if "fever" in query and "fever" in prompt_text else "home"

    optimizer = OptoPrime([prompt], answers({"prompt_text": "Read the case; fever is urgent."}))
    correct = 0
    for query, label in [("fever", "urgent"), ("high fever", "urgent"), ("a scratch", "home")]:
        GRAPH.clear()
        output = triage(prompt, query)
        is_right = output.data.strip().upper() == label.upper()
        correct += is_right
        if not is_right:
            optimizer.zero_feedback()
            optimizer.backward(output, "The decision is INCORRECT.")
            optimizer.step()
    assert correct == 2
    assert prompt.data == "Read the case; fever is urgent."
    assert "A text for a doctor." in optimizer.llm.calls[0].messages[-1]["content"]


def test_a_batch_is_joined_into_one_output():
    @bundle()
    def concat(*items):
        """Join what was said of the examples."""
        return "\n".join(map(str, items))

    @bundle(trainable=True)
    def line(x):
        """A linear function."""
        return 0

    rng = random.Random(0)
    points = [(x, 2 * x + 1) for x in rng.sample(range(100), 4)]
    optimizer = OptoPrime([line.parameter], answers({"line": "def line(x):\n    return 2 * x + 1\n"}), memory_size=0)
    losses = []
    for _ in range(2):
        outputs = [line(x) for x, _ in points]
        feedback = [f"{output.data} should be {y}" for output, (_, y) in zip(outputs, points, strict=True)]
        losses.append(sum(abs(output.data - y) for output, (_, y) in zip(outputs, points, strict=True)))
        if losses[-1] == 0:
            break
        optimizer.zero_feedback()
        optimizer.backward(concat(*outputs), concat(*feedback).data)
        optimizer.step()
    assert losses[-1] == 0
    assert losses[0] > 0


def test_words_are_turned_until_a_number_is_large_enough():
    @bundle()
    def as_number(text):
        """Convert English to a number."""
        return {"one": 1, "ten": 10}.get(text.strip(), "FAIL")

    def program(x):
        output = as_number(x)
        if output.data == "FAIL":  # not traced
            return output
        return output * -2 * output

    x = node("one", trainable=True)
    optimizer = OptoPrime([x], answers({"x": "a lot"}, {"str0": "lots"}, {"str": "ten"}))
    history = []
    while len(history) < 5:
        output = program(x)
        history.append(output.data)
        feedback = "Success." if output.data == -200 else "It cannot be read, or is too large."
        if feedback == "Success.":
            break
        optimizer.zero_feedback()
        optimizer.backward(output, feedback, visualize=True)
        optimizer.step(verbose=True)
    # That there is no x is said to the model within the step, which then answers the second time.
    assert history == [-2, "FAIL", -200]


# Looking at what arrived.


def test_feedback_is_looked_at_as_a_function(capsys):
    x = node(-1.0, name="x", trainable=True)
    optimizer = OptoPrime([x], answers({"x": 5}))
    output = (x + 1) * x
    optimizer.zero_feedback()
    output.backward("too small", propagator=optimizer.propagator, visualize=True)
    for items in x.feedback.values():
        function = node_to_function_feedback(items[0])
        for level, call in function.graph:
            print(level, call)
        for name, (value, description) in function.roots.items():
            print(name, value, description)
        print(function.documentation.keys(), function.others, function.output.keys(), function.user_feedback)
    assert capsys.readouterr().out.splitlines() == [
        "1 add0 = x + 1",
        "2 multiply0 = add0 * x",
        "x -1.0 None",
        f"dict_keys(['add', 'multiply']) {function.others} dict_keys(['multiply0']) too small",
    ]
    assert function.others["add0"][0] == 0.0
    assert str(optimizer.trace_graph.user_feedback) == str(sum_feedback([x]).user_feedback) == "too small"


def test_graphs_are_walked_by_level_and_drawn():
    x, y = node(1, name="x", trainable=True), node(1, name="y", trainable=True)
    output = (x * 2 + y * 3) + 1
    output.backward("test feedback", propagator=GraphPropagator())
    for items in x.feedback.values():
        graph = items[0]
        assert [(level, item.stem) for level, item in graph.graph] == [
            *((0, "x"), (0, "y"), (1, "multiply"), (1, "multiply"), (2, "add"), (3, "add"))
        ]
        assert all(isinstance(item, Node) for _, item in graph.graph)
        assert graph.visualize().source == output.backward("again", visualize=True).source
        assert len(graph.expand(output)) == len(graph)


# Optimizers and rules that people write themselves.


class Slope(Propagator):
    def init_feedback(self, node, feedback):
        return feedback

    def _propagate(self, child):
        grad = sum(sum(items) for items in child.feedback.values())
        return dict.fromkeys(child.parents, grad * child.data)


class Climb(Optimizer):
    """Steps of a fixed size, as an optimizer for Trace defines them."""

    def __init__(self, parameters, *args, stepsize=0.5, **kwargs):
        super().__init__(parameters, *args, **kwargs)
        self.stepsize = stepsize

    def default_propagator(self):
        return Slope()

    def _step(self, *args, **kwargs):
        assert isinstance(self.propagator, Slope)
        assert self.trace_graph is None
        return {
            item: item.data + self.stepsize * sum(sum(items) for items in item.feedback.values())
            for item in self.parameters
            if item.trainable
        }


def test_a_custom_optimizer_steps_proposes_and_updates():
    x = node(0.0, name="x", trainable=True)
    climb = Climb([x])
    for _ in range(3):
        output = ops.add(x, 1.0)
        climb.zero_feedback()
        climb.backward(output, 1.0)
        climb.step()
    assert x.data == 0.5 + 0.75 + 1.125

    climb.zero_feedback()
    climb.backward(ops.add(x, 1.0), -1.0)
    proposed = climb.propose()
    assert x.data == 2.375
    for parameter, value in proposed.items():
        assert isinstance(parameter, ParameterNode)
        assert value == 2.375 - 0.5 * 3.375
    climb.update(proposed)
    assert x.data == 2.375 - 0.5 * 3.375
    climb.update({x: 7.0})
    assert x.data == 7.0


class Descend(Optimizer):
    """Goes through the trace graph itself, from the last node to the first."""

    def _step(self, *args, **kwargs):
        slopes = {"add": lambda x, y: (1, 1), "multiply": lambda x, y: (y, x)}
        graph = self.trace_graph
        grads = dict.fromkeys((item for _, item in graph.graph), 0.0)
        for position, (_, item) in enumerate(reversed(graph.graph)):
            if len(item.parents) == 0:
                continue
            grad = graph.user_feedback if position == 0 else grads[item]
            values = [parent.data for parent in item.inputs.values()]
            for parent, slope in zip(item.inputs.values(), slopes[item.op_name](*values), strict=True):
                if parent in grads:
                    grads[parent] += grad * slope
        return {item: item.data - 0.1 * grads[item] for item in self.parameters}


def test_a_custom_optimizer_walks_through_the_graph():
    x = node(1.0, name="x", trainable=True)
    descend = Descend([x])
    losses = []
    for _ in range(3):
        y = x * x * 0.5 + x
        losses.append(y.data)
        descend.zero_feedback()
        descend.backward(y, 1.0)
        descend.step()
    slope, expected = 1.0, []
    for _ in range(3):
        expected.append(slope * slope * 0.5 + slope)
        slope -= 0.1 * (slope + 1)
    assert losses == pytest.approx(expected)


def test_what_was_said_stays_as_it_was_said():
    x = node(1, trainable=True)
    said = {"any": "kind"}
    with pytest.raises(BackwardError):
        (x + 1).backward(said)
    for said in ("text", 0.5, (0.5, "text"), True):
        x.zero_feedback()
        (x + 1).backward(said)
        assert sum_feedback([x]).user_feedback is said
    (x + 2).backward(node("in a node"))
    assert sum_feedback([x]).user_feedback == [True, "in a node"]


def test_optimizers_are_copied():
    x = node("text", trainable=True)
    optimizer = OptoPrime([x], answers({"str": "other"}))
    twin = copy.deepcopy(optimizer)
    twin.backward(twin.parameters[0] + "!", "no")
    twin.step()
    assert twin.parameters[0].data == "other"
    assert x.data == "text"


def test_settings_of_trace_are_taken_and_misspelt_ones_refused():
    x = node(1, trainable=True)
    OptoPrime([x], answers(), log=False, prompt_symbols={"variables": "#Parameters"}, use_json_object_format=False)
    with pytest.raises(TypeError, match="memmory_size"):
        OptoPrime([x], answers(), memmory_size=3)


# Classes and functions of all kinds.


def test_models_of_classes_that_are_abstract():
    class Solver(abc.ABC):
        @abc.abstractmethod
        def solve(self, task): ...

    @trace.model
    class Agent(Solver):
        def __init__(self, tools):
            super().__init__()
            self.tools = trace.node(tools, trainable=True)
            self.env = None

        @trace.bundle()
        def solve(self, tools, env, task=None, limit: int = 30):
            """Solve the task with the tools."""
            return env["reward"], [tool["name"] for tool in tools][:limit], "wrong"

        def forward(self, task):
            return self.solve(self.tools, self.env, task)

    agent = Agent([{"name": "search"}, {"name": "answer"}])
    agent.env = {"reward": 0.0, "lock": object()}
    output = agent(3)
    reward, names, _ = output
    assert (reward.data, names.data) == (0.0, ["search", "answer"])
    names.backward("use fewer")
    assert len(agent.tools.feedback) == 1


def test_trainable_functions_call_each_other_and_their_code_is_told():
    """An interpreter whose parts are all trainable: the code of a part is an input of what calls it."""

    @bundle(description="[symbols] The functions of the language.", trainable=True)
    def symbols():
        return {"+": lambda x, y: x + y, "neg": lambda x: -x, "pi": math.pi}

    @bundle(description="[environment] All that is defined.", trainable=True, catch_execution_error=False)
    def environment(includes=("symbols",)):
        env = {"_outer": None}
        if "symbols" in includes:
            env.update(symbols())
        return env

    @bundle(_process_inputs=False, trainable=True, catch_execution_error=False)
    def apply(make, key, arguments):
        return make()[key](*arguments)

    env = environment()
    assert env.data["pi"] == math.pi
    assert contain(env.parents, symbols.parameter)
    env.backward("something is missing")
    assert len(symbols.parameter.feedback) == len(environment.parameter.feedback) == 1
    result = apply(symbols, "+", node([1, 2]))
    assert result.data == 3
    result.backward(visualize=True)


def test_coroutines_run_side_by_side():
    @trace.bundle()
    async def basic(text=""):
        await asyncio.sleep(0)
        return text.upper()

    @trace.bundle()
    async def failing(text):
        raise ValueError(f"no {text}")

    async def main():
        a = trace.node("a")
        results = await asyncio.gather(*(basic(a) for _ in range(3)))
        with pytest.raises(trace.ExecutionError) as caught:
            await failing(a)
        return a, results, caught.value

    a, results, error = asyncio.run(main())
    for result in results:
        assert type(result) is trace.nodes.MessageNode
        assert result == "A"
        assert contain(result.parents, a)
    assert isinstance(error.exception_node, trace.nodes.ExceptionNode)
    assert error.exception_node.data == "(ValueError) no a"
    assert contain(error.exception_node.parents, a)


def test_modules_of_trace_hang_on_the_package():
    for name in ("nodes", "bundle", "modules", "containers", "broadcast", "errors", "iterators", "operators", "utils"):
        assert hasattr(trace, name)
    assert trace.errors.ExecutionError is trace.ExecutionError


def test_a_step_is_shown_in_a_notebook(monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(display, "display", lambda page: shown.append(page.data))
    x = node("a < b", name="x", trainable=True)
    optimizer = OptoPrime([x], answers({"x": "b & c"}))
    optimizer.backward(x.upper(), (0.5, "longer"))
    optimizer.step()

    trace.utils.render_opt_step(0, optimizer)
    trace.utils.render_opt_step(0, optimizer, no_trace_graph=True, no_improvement=True)

    assert "x = b &amp; c" in shown[0]
    assert "longer" in shown[0]
    assert "because" in shown[0]
    assert "upper0" in shown[0]
    assert "upper0" not in shown[1]
    assert "b &amp; c" not in shown[1]


# Programs that ask models by Trace's names.


@pytest.fixture
def house(monkeypatch):
    """A server that the variables of Trace name, and that answers as task and as optimizer."""

    def answer(messages):
        if "#Feedback" in messages[-1]["content"] or "# Feedback" in messages[-1]["content"]:
            return json.dumps({"reasoning": "shorter", "suggestion": {"system": "Answer with yes or no."}})
        return "yes" if "yes or no" in messages[0]["content"] else "Certainly, yes."

    for name in ("OPTO_MODEL", "OPTO_TASK_MODEL", "OPTO_OPTIMIZER_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(LLMFactory, "_profiles", dict(LLMFactory._profiles))
    with LLMServer(answer) as server:
        monkeypatch.setenv("TRACE_DEFAULT_LLM_BACKEND", "CustomLLM")
        monkeypatch.setenv("TRACE_CUSTOMLLM_URL", server.openai_url)
        monkeypatch.setenv("TRACE_CUSTOMLLM_API_KEY", "sk-house")
        yield server


def profile():
    LLMFactory.register_profile("answers", backend="CustomLLM", model="house-model", temperature=0.0)
    assert "answers" in LLMFactory.list_profiles()
    return LLM(profile="answers")


class Remembering(AbstractModel):
    """A model of the program's own, around a client."""

    def __init__(self, reset_freq=None):
        self.asked = []
        super().__init__(LLM, reset_freq)

    @property
    def model(self):
        return lambda *args, **kwargs: self.asked.append(kwargs["messages"]) or self._model(*args, **kwargs)


@pytest.mark.parametrize(
    "make",
    [LLM, CustomLLM, profile, Remembering, lambda: LLMFactory.get_llm("default"), lambda: DummyLLM(LLM().create)],
    ids=["LLM", "CustomLLM", "profile", "AbstractModel", "LLMFactory", "DummyLLM"],
)
def test_a_prompt_is_learned_with_every_kind_of_client(house, make):
    @model
    class Answers:
        def __init__(self, llm):
            self.system = node("Answer the question.", name="system", trainable=True)
            self.llm = llm

        @bundle()
        def respond(self, system, question):
            """Asks the model."""
            messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
            response = self.llm(messages=messages, max_tokens=100)
            return response.choices[0].message.content

        def forward(self, question):
            return self.respond(self.system, question)

    agent = Answers(make())
    optimizer = OptoPrime(agent.parameters(), memory_size=0)
    answers = []
    for _ in range(3):
        output = agent.forward("Is the sky blue?")
        answers.append(output.data)
        if output.data == "yes":
            break
        optimizer.zero_feedback()
        optimizer.backward(output, "One word, please.")
        optimizer.step(verbose=False)
    assert answers == ["Certainly, yes.", "yes"]
    assert len(house.requests) == 3
    assert {request.headers["authorization"] for request in house.requests} == {"Bearer sk-house"}
    assert house.requests[0].body["max_tokens"] == 100
