"""Replies of models, kept by what was asked: to replay in tests, to pay once, and to see what was said."""

from opto.llm.cassettes.cassette import Cassette, CassetteWarning
from opto.llm.cassettes.request import Request
from opto.llm.cassettes.scope import Tape, cassette_in_force

__all__ = ["Cassette", "CassetteWarning", "Request", "Tape", "cassette_in_force"]
