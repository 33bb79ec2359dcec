"""`CodeSearch`: better code of trainable functions by small changes of their syntax trees."""

from opto.optimizers.code_search.search import CodeSearch

__all__ = ["CodeSearch"]
