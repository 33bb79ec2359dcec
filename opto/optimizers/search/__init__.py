"""Optimizers that need no language model: they propose from scores alone."""

from opto.optimizers.search.base import ScoreSearch
from opto.optimizers.search.local import LocalSearch
from opto.optimizers.search.sampler import Sampler
from opto.optimizers.search.space import can_search, from_unit, to_unit

__all__ = ["LocalSearch", "Sampler", "ScoreSearch", "can_search", "from_unit", "to_unit"]
