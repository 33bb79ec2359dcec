"""Data with a structure: how models write them, and whether they fit a schema."""

from opto.structure.jsonschema import check_schema, find_misfit, is_json
from opto.structure.objects import ENDS_THINKING, OPENS_OBJECT, UnreadableObjectError, read_object

__all__ = [
    "ENDS_THINKING",
    "OPENS_OBJECT",
    "UnreadableObjectError",
    "check_schema",
    "find_misfit",
    "is_json",
    "read_object",
]
