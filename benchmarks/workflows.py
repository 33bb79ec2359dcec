"""Print the prompt for each program that follows, as JSON: ``python prompted.py OptoPrime [--no-sources]``.

The programs are of different shape, and use nothing but what opto and trace-opt have in common: each runs in either, as
it is, and gets the same feedback. `OptoPrimeV2` is for trace-opt, where it has one.
"""

from collections.abc import Callable, Sequence
from typing import Any

from opto.trace import Module, bundle, model, node

#: What a program gives: its parameters, the value that is judged, and what is said about it.
Judged = tuple[Sequence[Any], Any, str]


@bundle()
def together(*answers):
    """Put the answers of a batch below each other, each with its number."""
    return "\n".join(f"{number}: {answer}" for number, answer in enumerate(answers))


def batch() -> Judged:
    """One function on ten examples."""

    @bundle(trainable=True)
    def team(ticket):
        """Return the team that a ticket goes to: billing, delivery or technical."""
        if "invoice" in ticket or "charged" in ticket:
            return "billing"
        return "technical"

    tickets = {
        "I was charged twice for the same month.": "billing",
        "The app closes when I open the settings.": "technical",
        "My parcel has been on its way for two weeks.": "delivery",
        "Where do I find the invoice of last year?": "billing",
        "The parcel was left in the rain.": "delivery",
        "I cannot log in since the update.": "technical",
        "Please send it to my new address.": "delivery",
        "The refund has not arrived.": "billing",
        "The courier never rang.": "delivery",
        "Printing gives empty pages.": "technical",
    }
    answers = [team(node(ticket, name="ticket")) for ticket in tickets]
    said = [
        f"{number}: {'right' if answer.data == wanted else f'wrong, it should be {wanted}'}"
        for number, (answer, wanted) in enumerate(zip(answers, tickets.values(), strict=True))
    ]
    return team.parameters(), together(*answers), "\n".join(said)


def numbers() -> Judged:
    """Two numbers, and what Python's operators make of them."""
    price = node(12.5, name="price", trainable=True, description="Price of a ticket in euro, from 5 to 40.")
    seats = node(80, name="seats", trainable=True, description="Seats that are put up, at most 200.")
    demand = 220 - price * 9.5
    sold = demand - (demand - seats) * (demand > seats)
    profit = sold * price - seats * 2.25 - (seats // 50 + 1) * 120
    return [price, seats], profit / seats, "The profit per seat should be above 6. Seats are dear, and some stay empty."


@bundle()
def relevant(document, question, count):
    """Return the count sentences of the document that share most words with the question, in their order."""
    words = {word.strip("?.,").lower() for word in question.split()}
    sentences = [sentence.strip() for sentence in document.split(". ")]
    shared = [-len(words & {word.strip("?.,").lower() for word in sentence.split()}) for sentence in sentences]
    chosen = sorted(sorted(range(len(sentences)), key=shared.__getitem__)[:count])
    return ". ".join(sentences[place] for place in chosen)


@bundle()
def ask(prompt, question, context):
    """Ask the model. Here it answers with what the context says last."""
    said = {"prompt": prompt, "question": question, "answer": context.split(". ")[-1]}
    return f"According to the text: {said['answer']}"


DOCUMENT = """\
The harbour was built in 1887 by order of the city. Its two moles are 410 and 365 metres long. The lighthouse on the \
northern mole was lit for the first time in the winter of 1891. Until 1932 it burned oil. A storm broke the southern \
mole in 1907, and it was repaired within a year. Ships of more than nine metres of draught cannot enter. The harbour \
master lives in the house beside the customs office. Since 1974 there is a ferry to the islands, four times a day in \
summer and twice in winter. The fish market opens at five in the morning"""


def pipeline() -> Judged:
    """Text, code and a number, one after the other."""
    prompt = node(
        "Answer the question from the context alone. If the context does not tell, say so.\nDo not guess.",
        name="prompt",
        trainable=True,
        description="What the model is told to do.",
    )
    count = node(2, name="count", trainable=True, description="How many sentences are given to the model, from 1 to 8.")

    @bundle(trainable=True)
    def shortened(answer):
        """Return the answer without what introduces it."""
        return answer.removeprefix("According to ")

    question = node("When was the lighthouse lit for the first time?", name="question")
    context = relevant(node(DOCUMENT, name="document"), question, count)
    answer = shortened(ask(prompt, question, context))
    said = "Wrong: the answer should be 1891, as a bare number. 'the text:' should not be in it."
    return [prompt, count, *shortened.parameters()], answer, said


@model
class Thermostat:
    """Remembers how far off it was."""

    def __init__(self):
        self.gain = node(0.2, name="gain", trainable=True, description="Heat per degree that is missing, from 0 to 2.")
        self.total = 0.0

    @bundle(trainable=True)
    def heat(self, temperature, missing):
        """Return the heat for the next hour, from 0 to 10."""
        self.total += missing
        return max(0.0, min(10.0, 4 * missing + 0.1 * self.total)) if temperature < 25 else 0.0

    def __call__(self, temperature, wanted):
        missing = (wanted - temperature) * self.gain
        return self.heat(temperature, missing)


@bundle()
def an_hour(temperature, heat, outside):
    """Return the temperature an hour later: a tenth of the difference to the outside is lost."""
    return round(temperature + 0.8 * heat - 0.1 * (temperature - outside), 2)


def loop() -> Judged:
    """A method that keeps a state, called six times."""
    thermostat, temperature = Thermostat(), node(14.0, name="temperature")
    for outside in (3.0, 2.5, 2.0, 2.0, 1.0, 0.5):
        temperature = an_hour(temperature, thermostat(temperature, 21.0), outside)
    said = f"It should be 21 degrees after six hours, and it is {temperature.data}. Heat more at the beginning."
    return thermostat.parameters(), temperature, said


class Planner(Module):
    """Turns a wish into steps."""

    def __init__(self):
        self.style = node("List the steps.", name="style", trainable=True, description="How the plan is to be written.")

    @bundle(trainable=True)
    def steps(self, wish):
        """Return the steps that a wish takes, as a list of text."""
        return [f"look for {part.strip()}" for part in wish.split(" and ")]

    def forward(self, wish):
        return self.steps(wish)


class Worker(Module):
    """Does one step after the other."""

    def __init__(self):
        self.manner = node("Be quick.", name="manner", trainable=True, description="How each step is to be done.")

    @bundle()
    def work(self, manner, step):
        """Return what was found: a model would be asked, as the manner says."""
        return f"{step}: done ({manner.rstrip('.').lower()})"

    def forward(self, steps):
        return [self.work(self.manner, step) for step in steps]


@bundle()
def report(style, plan, results):
    """Write the report about a plan and its results."""
    return f"{style}\nPlan: {'; '.join(plan)}\n{results}"


def modules() -> Judged:
    """Two modules that work on one task."""
    planner, worker = Planner(), Worker()
    plan = planner(node("a flight to Oslo and a hotel near the opera and a table for four", name="wish"))
    first, second, third = worker([plan[0], plan[1], plan[2]])
    output = report(planner.style, plan, together(first, second, third))
    said = "The flight must be booked before anything else is looked for. Say in the report what it costs."
    return [*planner.parameters(), *worker.parameters()], output, said


WORKFLOWS: dict[str, Callable[[], Judged]] = {
    workflow.__name__: workflow for workflow in (batch, numbers, pipeline, loop, modules)
}
