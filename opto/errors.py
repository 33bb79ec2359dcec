"""Every exception that opto raises.

::

    OptoError
    ├── GraphError
    │   ├── MissingInputsError        an operator read a node that it was not given
    │   ├── ExecutionError            user code raised; carries an exception node
    │   └── BackwardError             feedback cannot be sent backward
    ├── SourceError                   the source of a trainable function is unusable
    ├── ModuleError                   a module cannot be frozen, saved, loaded, pickled or exported as asked
    ├── DomainError (ValueError)      a value lies outside its parameter's domain
    ├── OptimizerError
    │   ├── SuggestionError           an answer cannot be read
    │   └── StepsFailedError          several steps in a row failed
    ├── AnswerError (ValueError)      an answer is not in the form that was asked for
    ├── RunError                      a run folder cannot be read or written
    ├── SandboxError                  code could not run within its limits; carries the line it was in
    │   ├── SandboxTransferError      a value cannot enter or leave
    │   ├── SandboxTimeoutError       it took too long
    │   ├── SandboxMemoryError        it used too much memory, or too much room on the disk
    │   ├── SandboxOutputError        it printed or returned too much
    │   ├── SandboxForbiddenError     it did what it may not
    │   └── SandboxCrashError         it ended its process
    ├── StoppingError                 what goes on is to end: nobody takes it for a failure and goes on
    │   ├── IsolationError            the level of isolation that was asked for is not to be had
    │   ├── CassetteError             recorded replies cannot be read, or do not hold what was asked
    │   └── BudgetError               a budget is used up: no call was made
    ├── MissingDependencyError (ImportError)
    └── LLMError                      a call to a model failed
        ├── AuthenticationError       the key is missing, wrong or not allowed
        ├── QuotaError                no credit left
        ├── BadRequestError           the provider refuses the request as it is
        │   └── ContextLengthError    the prompt is longer than the model's window
        ├── ContentRefusedError       a safety system refused to answer
        ├── RateLimitError            transient: too many requests
        ├── LLMTimeoutError           transient: no answer in time
        ├── LLMConnectionError        transient: the endpoint cannot be reached
        └── ServerError               transient: the provider failed, or sent nonsense
"""

from typing import Any, ClassVar

__all__ = [
    "AnswerError",
    "AuthenticationError",
    "BackwardError",
    "BadRequestError",
    "BudgetError",
    "CassetteError",
    "ContentRefusedError",
    "ContextLengthError",
    "DomainError",
    "ExecutionError",
    "GraphError",
    "IsolationError",
    "LLMConnectionError",
    "LLMError",
    "LLMTimeoutError",
    "MissingDependencyError",
    "MissingInputsError",
    "ModuleError",
    "OptimizerError",
    "OptoError",
    "QuotaError",
    "RateLimitError",
    "RunError",
    "SandboxCrashError",
    "SandboxError",
    "SandboxForbiddenError",
    "SandboxMemoryError",
    "SandboxOutputError",
    "SandboxTimeoutError",
    "SandboxTransferError",
    "ServerError",
    "SourceError",
    "StepsFailedError",
    "StoppingError",
    "SuggestionError",
]


class OptoError(Exception):
    """What is wrong, and what to do about it.

    Args:
        problem: One sentence that names the object and its value.
        mend: One sentence in the imperative. It has no default, so that no error can leave its reader
            without a next step.

    Example:
        >>> print(OptoError("Node 'x:0' has no parents.", mend="Call a bundle first."))
        Node 'x:0' has no parents. Call a bundle first.
    """

    def __init__(self, problem: str, *, mend: str) -> None:
        # Not super(): an ExecutionError also inherits from what user code raised, whose __init__ wants its own.
        Exception.__init__(self, f"{problem} {mend}")
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        # Not by attribute: an ExecutionError inherits from classes of users, which may have a `problem` of their own.
        return f"{self.__dict__['problem']} {self.__dict__['mend']}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt as cls(*args), which knows nothing of `mend` or of a subclass's attributes.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(kind: type[OptoError], args: tuple[Any, ...], state: dict[str, Any]) -> OptoError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


def kind_of(value: Any) -> str:
    """Return what *value* is, with its article, for the text of an error.

    Example:
        >>> kind_of(5), kind_of("x"), kind_of(None)
        ('an int', 'a str', 'None')
    """
    if value is None:
        return "None"
    name = f"class {value.__name__}" if isinstance(value, type) else type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


class GraphError(OptoError):
    """Something is wrong with a trace graph."""


class MissingInputsError(GraphError):
    """An operator read a node that is none of its inputs, so feedback could not reach that node."""


class ExecutionError(GraphError):
    """User code raised inside an operator. Code that catches exceptions itself raises it with a node that it made.

    It is also an instance of the class that was raised, with its ``args`` and attributes: ``except
    ZeroDivisionError`` catches it. Only its text is another one.

    Args:
        exception_node: The `ExceptionNode` that took the place of the result. It can be given feedback like
            any output: ``error.exception_node.backward("do not divide by zero")``.
    """

    def __init__(self, exception_node: Any) -> None:
        super().__init__(
            f"{exception_node.op_name} raised {exception_node.data}.",
            mend="Mend the code, or catch ExecutionError and give feedback to its exception_node.",
        )
        self.exception_node = exception_node

    def __reduce__(self) -> tuple[Any, ...]:
        # The combination with the class that was raised is made at run time and has no import path.
        return _rebuild, (ExecutionError, self.args, self.__dict__.copy())


class BackwardError(GraphError):
    """Feedback cannot be sent backward from this output."""


class SourceError(OptoError):
    """The source of a function cannot be found, does not parse, or does not define the function."""


class ModuleError(OptoError):
    """A module cannot be frozen, saved, loaded, pickled or exported as asked; it is unchanged."""


class DomainError(OptoError, ValueError):
    """A value is not one that the parameter may take; the parameter is unchanged."""


class OptimizerError(OptoError):
    """An optimizer cannot do what it was asked."""


class SuggestionError(OptimizerError):
    """The answer of a model cannot be read as a suggestion."""


class StepsFailedError(OptimizerError):
    """Several steps in a row ended in ``failed`` or ``rejected``; the problem names the causes."""


class AnswerError(OptoError, ValueError):
    """A model answered, but not in the form that was asked for. The call itself did not fail.

    Attributes:
        reply: The `opto.llm.Reply`, with all that was said and what it cost.
    """

    def __init__(self, problem: str, *, mend: str, reply: Any) -> None:
        super().__init__(problem, mend=mend)
        self.reply = reply


class RunError(OptoError):
    """A run folder cannot be read or written."""


class StoppingError(OptoError):
    """What goes on is to end.

    It is no `LLMError`, which loops may record and go on after, and operators pass it on as it is: no `ExecutionError`
    is made of it.
    """


class CassetteError(StoppingError):
    """Recorded replies cannot be read, or none of them answers what was asked.

    It is no `LLMError`: no model failed, and nothing that tries again, or goes on without an answer, should take it
    for one.
    """


class BudgetError(StoppingError):
    """A call does not fit into what is left of a budget, and was not made.

    It is no `LLMError`: loops and optimizers stop, instead of recording a failure and going on.

    Attributes:
        resource: What there is too little of: ``calls``, ``tokens``, ``cost`` or ``seconds``.
        limit: How much of it may be spent.
        spent: How much of it was.
        reserved: How much of it calls in flight held.
        needed: How much the call may take; None if nobody knows.
    """

    def __init__(
        self,
        problem: str,
        *,
        mend: str,
        resource: str,
        limit: float,
        spent: float = 0,
        reserved: float = 0,
        needed: float | None = None,
    ) -> None:
        super().__init__(problem, mend=mend)
        self.resource = resource
        self.limit = limit
        self.spent = spent
        self.reserved = reserved
        self.needed = needed


class IsolationError(StoppingError):
    """The level of isolation that was asked for is not to be had on this machine: no code was run."""


class SandboxError(OptoError):
    """Code did not run within its limits. Its text is fit for whoever is to mend the code.

    Attributes:
        line: The line of the code that was reached, or None if nobody knows.
        output: What the code had printed; at most the first 32 KiB of it if its process was ended in the middle.
    """

    def __init__(self, problem: str, *, mend: str, line: int | None = None, output: str = "") -> None:
        super().__init__(problem, mend=mend)
        self.line = line
        self.output = output


class SandboxTransferError(SandboxError):
    """A value cannot enter the sandbox, or cannot leave it."""


class SandboxTimeoutError(SandboxError):
    """The code did not finish in time."""


class SandboxMemoryError(SandboxError):
    """The code used more memory, or more room on the disk, than it may."""


class SandboxOutputError(SandboxError):
    """The code printed or returned more than it may."""


class SandboxForbiddenError(SandboxError):
    """The code did what it may not: read other files, use the network, start processes, import other modules."""


class SandboxCrashError(SandboxError):
    """The code ended its process: by a crash, by a signal, or by leaving.

    Attributes:
        signal: The signal that ended it, or None.
        exit_code: What it left with, or None.
    """

    signal: int | None = None
    exit_code: int | None = None


class MissingDependencyError(OptoError, ImportError):
    """An optional package is not installed; the message holds the line that installs it."""


class LLMError(OptoError):
    """A call to a model failed.

    Attributes:
        transient: True if the same call may succeed later.
        status: HTTP status, or None if no response came.
        request_id: The provider's id of the request, or None.
        retry_after: Seconds that the provider asks to wait, or None.
        should_retry: What the provider says about trying again, or None.
        retries: How many attempts failed before this one.
        raw: The body of the response as it came, with the key struck out; None if nothing came.
        usage: What it cost, as far as the body says; else None.
    """

    transient: ClassVar[bool] = False

    def __init__(
        self,
        problem: str,
        *,
        mend: str,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(problem, mend=mend)
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.retries = 0
        self.raw: str | None = None
        self.usage: Any = None  # an opto.llm.Usage


class AuthenticationError(LLMError):
    """The key is missing, wrong, or not allowed to use this model."""


class QuotaError(LLMError):
    """The account has no credit left."""


class BadRequestError(LLMError):
    """The provider refuses the request as it is; sending it again cannot help."""


class ContextLengthError(BadRequestError):
    """The prompt is longer than the model's context window."""


class ContentRefusedError(LLMError):
    """The provider's safety system refused to answer."""


class RateLimitError(LLMError):
    """Too many requests, for now."""

    transient = True


class LLMTimeoutError(LLMError):
    """No answer came in time. The call may have been billed."""

    transient = True


class LLMConnectionError(LLMError):
    """The endpoint cannot be reached, or the connection broke."""

    transient = True


class ServerError(LLMError):
    """The provider failed (5xx), or sent something that is not an answer."""

    transient = True
