"""Replies of models, kept by what was asked: to replay in tests, to pay once, and to see what was said."""

from opto.llm.cassettes.cassette import Cassette, CassetteWarning, cassette_in_force
from opto.llm.cassettes.request import Request

__all__ = ["Cassette", "CassetteWarning", "Request", "cassette_in_force"]
