"""What a parameter may be. Checked in code, never only asked for in words.

A `Domain` reads what a model or a search suggests, without loss or guesswork: ``"7"`` is a 7, ``"lots"`` is
not, and neither is True. What it writes it reads again: ``domain.accept(domain.write(value)) == value``.
"""

from opto.nodes.domains.base import All, Check, Domain, OfType
from opto.nodes.domains.choices import Choices
from opto.nodes.domains.ranges import Range
from opto.nodes.domains.reading import read_as, unfenced
from opto.nodes.domains.schema import Schema
from opto.nodes.domains.specs import as_domain
from opto.nodes.domains.text import Text

__all__ = [
    "All",
    "Check",
    "Choices",
    "Domain",
    "OfType",
    "Range",
    "Schema",
    "Text",
    "as_domain",
    "read_as",
    "unfenced",
]
