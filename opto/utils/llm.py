"""Alias of `opto.llm` for programs written for Trace."""

from opto.llm import LLM, DummyLLM

__all__ = ["LLM", "DummyLLM"]
