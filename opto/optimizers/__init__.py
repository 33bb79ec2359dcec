"""One step: from a trace and its feedback to better values of the parameters."""

from opto.optimizers.code_search import CodeSearch
from opto.optimizers.credit import Credit
from opto.optimizers.mixed import Mixed
from opto.optimizers.multi import OptoPrimeMulti
from opto.optimizers.opro import OPRO
from opto.optimizers.optimizer import Optimizer
from opto.optimizers.optoprime import OptoPrime
from opto.optimizers.optoprime_v2 import OptoPrimeV2
from opto.optimizers.prompts import Problem, Variable, describe_feedback
from opto.optimizers.proposal import Candidate, Evidence, Proposal
from opto.optimizers.search import LocalSearch, Sampler
from opto.optimizers.step import Step
from opto.optimizers.suggestion import Suggestion
from opto.optimizers.textgrad import TextGrad

__all__ = [
    "OPRO",
    "Candidate",
    "CodeSearch",
    "Credit",
    "Evidence",
    "LocalSearch",
    "Mixed",
    "Optimizer",
    "OptoPrime",
    "OptoPrimeMulti",
    "OptoPrimeV2",
    "Problem",
    "Proposal",
    "Sampler",
    "Step",
    "Suggestion",
    "TextGrad",
    "Variable",
    "describe_feedback",
]
