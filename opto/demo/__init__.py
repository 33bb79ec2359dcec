"""What ``opto demo`` runs: a simulator that knows nothing of opto, and a program around it."""

from opto.demo.crossing import Approach, Result, load_simulator, simulate
from opto.demo.traffic import Crossing, Progress, choose_method, judge, new_optimizer, optimize

__all__ = [
    "Approach",
    "Crossing",
    "Progress",
    "Result",
    "choose_method",
    "judge",
    "load_simulator",
    "new_optimizer",
    "optimize",
    "simulate",
]
