"""When a request may begin, how long it may take, and what is tried again."""

from opto.llm.pacing.clock import Clock
from opto.llm.pacing.retrying import DEADLINE, RETRIES, Attempts, Patience, ask, ask_async
from opto.llm.pacing.throttle import limited, throttle_of

__all__ = ["DEADLINE", "RETRIES", "Attempts", "Clock", "Patience", "ask", "ask_async", "limited", "throttle_of"]
