"""The edge to language models: one client for all of them, and doubles for tests.

Example:
    >>> from opto.llm import ScriptedLLM
    >>> llm = ScriptedLLM(["Dear Ada, welcome."])
    >>> llm("Greet Ada.").text
    'Dear Ada, welcome.'
"""

from opto.blocks import UnknowingThreadWarning
from opto.llm.adapter import Adapter
from opto.llm.bridge import in_thread, raise_if_cancelled
from opto.llm.cassettes import Cassette, CassetteWarning, cassette_in_force
from opto.llm.client import LLM, DummyLLM
from opto.llm.content import image
from opto.llm.environment import environment_model
from opto.llm.labels import Labels, Role, labelled, labels
from opto.llm.messages import Message, Reply, Tool, Usage
from opto.llm.of_trace import BACKENDS, model_for_trace
from opto.llm.roles import as_llm, named_for, use_llm
from opto.llm.scripted import ScriptedLLM
from opto.llm.spending import Budget, CallRecord, Estimate, Ledger, Price
from opto.llm.tokens import estimate_messages, estimate_tokens

__all__ = [
    "BACKENDS",
    "LLM",
    "Adapter",
    "Budget",
    "CallRecord",
    "Cassette",
    "CassetteWarning",
    "DummyLLM",
    "Estimate",
    "Labels",
    "Ledger",
    "Message",
    "Price",
    "Reply",
    "Role",
    "ScriptedLLM",
    "Tool",
    "UnknowingThreadWarning",
    "Usage",
    "as_llm",
    "cassette_in_force",
    "environment_model",
    "estimate_messages",
    "estimate_tokens",
    "image",
    "in_thread",
    "labelled",
    "labels",
    "model_for_trace",
    "named_for",
    "raise_if_cancelled",
    "use_llm",
]
