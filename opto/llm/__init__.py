"""The edge to language models: one client for all of them, and doubles for tests.

Example:
    >>> from opto.llm import ScriptedLLM
    >>> llm = ScriptedLLM(["Dear Ada, welcome."])
    >>> llm("Greet Ada.").text
    'Dear Ada, welcome.'
"""

from opto.llm.adapter import Adapter
from opto.llm.bridge import in_thread, raise_if_cancelled
from opto.llm.client import LLM, DummyLLM, as_llm, use_llm
from opto.llm.content import image
from opto.llm.environment import environment_model
from opto.llm.messages import Message, Reply, Tool, Usage
from opto.llm.scripted import ScriptedLLM
from opto.llm.tokens import estimate_messages, estimate_tokens

__all__ = [
    "LLM",
    "Adapter",
    "DummyLLM",
    "Message",
    "Reply",
    "ScriptedLLM",
    "Tool",
    "Usage",
    "as_llm",
    "environment_model",
    "estimate_messages",
    "estimate_tokens",
    "image",
    "in_thread",
    "raise_if_cancelled",
    "use_llm",
]
