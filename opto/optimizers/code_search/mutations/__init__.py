"""Small changes of the source of functions, the likely ones first: what `CodeSearch` tries."""

from opto.optimizers.code_search.mutations.changes import Mutation, mutations
from opto.optimizers.code_search.mutations.text import SourceText

__all__ = ["Mutation", "SourceText", "mutations"]
