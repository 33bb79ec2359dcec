"""What a model is shown: the problem within a budget of tokens, what was tried before, and templates."""

from opto.optimizers.prompts.describing import (
    Variable,
    as_it_is,
    by_name,
    cut_middle,
    describe_feedback,
    describe_variables,
    render_feedback,
    render_value,
    render_values,
    render_variable,
    show_value,
)
from opto.optimizers.prompts.log import ShownProblem, logged
from opto.optimizers.prompts.memory import (
    Judged,
    describe_rejected,
    judged_before,
    most_relevant,
    render_rejected,
    render_tried,
    tried_in,
)
from opto.optimizers.prompts.problem import SECTIONS, Problem
from opto.optimizers.prompts.selection import distances
from opto.optimizers.prompts.template import PromptTemplate, masked

__all__ = [
    "SECTIONS",
    "Judged",
    "Problem",
    "PromptTemplate",
    "ShownProblem",
    "Variable",
    "as_it_is",
    "by_name",
    "cut_middle",
    "describe_feedback",
    "describe_rejected",
    "describe_variables",
    "distances",
    "judged_before",
    "logged",
    "masked",
    "most_relevant",
    "render_feedback",
    "render_rejected",
    "render_tried",
    "render_value",
    "render_values",
    "render_variable",
    "show_value",
    "tried_in",
]
