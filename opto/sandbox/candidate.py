"""Code that somebody proposed, as something that can be called: each call goes to a child process."""

import errno
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial, reduce
from typing import Any
from zlib import crc32

from opto.callers import user_level
from opto.errors import IsolationError, SandboxCrashError, SandboxError, SandboxMemoryError, StoppingError
from opto.forks import renew_after_fork
from opto.sandbox import failures
from opto.sandbox.child.codec import MalformedError
from opto.sandbox.child.codes import NOT_STARTED, OVER_DISK
from opto.sandbox.child.reading import limited
from opto.sandbox.filters import told_filters
from opto.sandbox.forwarding import KEPT
from opto.sandbox.limits import Limits
from opto.sandbox.main import Main
from opto.sandbox.outcomes import NOTHING, Outcome, depth_of, made_by, see_that_there_is_room, serving
from opto.sandbox.places import BANNED, Imports, resolve, site_folders, standard_folders
from opto.sandbox.printed import Printed, Streams
from opto.sandbox.processes.endings import end_later, stay_out
from opto.sandbox.processes.pool import Lease, Pool, TaskWaiter, ThreadWaiter
from opto.sandbox.processes.shortages import mend_for
from opto.sandbox.processes.talk import (
    Child,
    Do,
    Ended,
    HostCall,
    Late,
    Misbehaved,
    Overasked,
    Overcrowded,
    OverDisk,
    Steps,
    run,
    run_async,
)
from opto.sandbox.processes.zygote import Variant, Zygote, ZygoteDiedError
from opto.sandbox.scope.scope import Scope
from opto.sandbox.scope.seeds import seeds_for

__all__ = ["ChildCandidate"]


class ChildCandidate:
    """A candidate in processes of its own. It may be called from several threads and tasks at once.

    Calls one after the other go to the same process, which keeps what the code keeps; calls at the same time to
    several. A process that passed a limit is ended, and the next call begins with a new one.

    Attributes:
        output: What the last call printed.

    Args:
        births: Counts its processes, and those of others in whose place it is: none draws what another one has drawn.
    """

    def __init__(
        self,
        main: Main,
        scope: Scope,
        *,
        limits: Limits,
        variant: Variant,
        births: Iterator[int],
        hosts: Mapping[str, Any],
        extra: Collection[str],
        streams: Streams,
    ) -> None:
        self.output = ""
        self._streams = streams
        self._main, self._scope, self._limits, self._hosts = main, scope, limits, hosts
        self._variant, self._extra = variant, extra
        self._zygote: Zygote | None = None
        self._pool = Pool(limits.children)
        self._defaults: dict[str, Any] | None = None
        self._births = births
        self._is_warned = False
        scope.values.caller = weakref.WeakMethod(self._call_inner)
        weakref.finalize(self, end_later, self._pool.close).atexit = False
        self.begin_again()
        renew_after_fork(self)

    def begin_again(self) -> None:
        """Forget who tells processes of something: in a forked process, nobody does."""
        self._telling = threading.RLock()

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run the function on *args* and *kwargs*, and return its result.

        Raises:
            SandboxError: It passed a limit, or something cannot enter or leave.
            Exception: Whatever the function raised.
        """
        self._scope.expect((*args, *kwargs.values()))
        return self._run(lambda child: self._call(child, args, kwargs))

    async def acall(self, /, *args: Any, **kwargs: Any) -> Any:
        """Do as a call does, while the event loop goes on. Cancelling it ends the process."""
        self._scope.expect((*args, *kwargs.values()))
        return await self._run_async(lambda child: self._call(child, args, kwargs))

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The values of arguments that may be left out, by name; this starts the child."""
        if self._defaults is None:
            self._run(self._nothing)
        assert self._defaults is not None
        return self._defaults

    @property
    def is_current(self) -> bool:
        """True while the functions and classes that went along are what the program has by these names."""
        return self._scope.is_current

    @property
    def content(self) -> Any:
        """Its text, and what that uses of the program."""
        with self._telling:
            self._scope.look_again()
            return [self._main.source, self._scope.content]

    def close(self) -> None:
        """End its processes, and lose what they keep. A call begins with a new one."""
        self._pool.close()

    def _run(self, work: Callable[[Child], Steps]) -> Any:
        see_that_there_is_room()
        is_inside = depth_of(self._main.name) > 0
        lease = self._pool.take(is_inside=is_inside)
        if lease is None:
            waiter = ThreadWaiter()
            lease = self._pool.take(waiter=waiter) or waiter.result(self._pool)
        try:
            return run(self._guarded(lease, work)).unwrap()
        finally:
            lease.is_over = True

    async def _run_async(self, work: Callable[[Child], Steps]) -> Any:
        is_inside = depth_of(self._main.name) > 0
        lease = self._pool.take(is_inside=is_inside)
        if lease is None:
            import asyncio  # noqa: PLC0415 - whoever calls this has it already

            waiter = TaskWaiter(asyncio.get_running_loop())
            lease = self._pool.take(waiter=waiter) or await waiter.result(self._pool)
        try:
            outcome: Outcome = await run_async(self._guarded(lease, work))
        finally:
            lease.is_over = True
        return outcome.unwrap()

    def _guarded(self, lease: Lease, work: Callable[[Child], Steps]) -> Steps:
        """Do *work* with a child, which is started first if there is only leave for one, and give it back."""
        child = lease.child
        is_again, self.output = False, ""
        try:
            while True:
                if child is None:
                    child = yield Do(self._start)
                try:
                    child.errors.clear()
                    child.served = made_by(self) or [0]
                    outcome = NOTHING if child.is_loaded else (yield from self._load(child))
                    if outcome.error is None:
                        outcome = yield from work(child)
                    break
                except (Late, Ended, OverDisk, Overasked, Overcrowded, Misbehaved) as what:
                    stay_out()
                    if is_again or not isinstance(what, Ended) or not child.is_orphan:
                        outcome = Outcome(None, (yield Do(partial(self._failure, child, what))))
                        break
                # Somebody ended the process that makes them: none of the candidate's doing.
                child.end()
                child, is_again = None, True
        finally:
            # In the middle of a talk it would take the next message for an answer.
            if child is not None and child.is_loaded and not child.is_busy:
                self._pool.give(child, lease)
            else:
                self._pool.drop(child, lease)
        return outcome

    def _failure(self, child: Child, what: Exception) -> BaseException:
        """End *child*, and return the error for *what* it did."""
        name, limits, is_load = self._main.name, self._limits, not child.is_loaded
        files = {**self._scope.rewritten, self._main.file: name}
        # Whoever fills the disk goes on while it is asked for its line.
        printed, places = (child.printed(), []) if isinstance(what, OverDisk) else child.end_of(files)
        line, frames = failures.frames_at(places, files, self._main.file)
        self.output = self._streams.show(printed, self._limits.output)
        status = child.end()
        if status == NOT_STARTED:
            return self._not_started(OSError(errno.EAGAIN, "there are too many processes"))
        if status == OVER_DISK:
            what = OverDisk()
        if isinstance(what, Late):
            error: SandboxError = failures.late(name, limits, line, is_load=is_load, inner=frames[1:])
        elif isinstance(what, Overasked):
            error = failures.overasked(name, limits, line)
        elif isinstance(what, OverDisk):
            error = failures.over_disk(name, limits)
        elif isinstance(what, Overcrowded):
            error = failures.overcrowded(name)
        elif isinstance(what, Ended):
            error = failures.crashed(name, status, line, limits)
        else:
            error = SandboxCrashError(
                f"The process of {name}() answered with {what}.", mend="Return plain data, and leave its files alone."
            )
        error.output = self.output
        return failures.with_frames(error, frames)

    def _start(self) -> Child:
        imports = self._imports()
        order = {
            "readable": imports.readable,
            "memory": self._limits.memory,
            "disk": self._limits.disk,
            "file_size": self._limits.disk // 4,
            "result": self._limits.result,
            "output": self._limits.output,
            "guard": True,
            "guarded": [*standard_folders(), *site_folders(), *imports.readable],
        }
        reason: Exception | None = None
        for seconds in _PAUSES:
            time.sleep(seconds)
            try:
                zygote = self._zygote
                if zygote is None or not zygote.is_open:
                    zygote = self._zygote = Zygote.shared(self._variant_for(imports))
                return Child(zygote, self._limits, order)
            except ZygoteDiedError as error:
                reason = error
            except OSError as error:
                reason = error
                if error.errno not in _TEMPORARY:
                    break
        raise self._not_started(reason) from reason

    def _variant_for(self, imports: Imports) -> Variant:
        # What bubblewrap does not let in at its start is not there for any child.
        readable = tuple(sorted(imports.readable)) if self._variant.bubblewrap is not None else ()
        return self._variant._replace(preload=imports.preload, readable=readable)

    def _not_started(self, reason: Exception | None) -> IsolationError:
        # No error of the candidate, which would be fed back: it can do nothing about it.
        said, mend = (reason.strerror, mend_for(reason)) if isinstance(reason, OSError) else (reason, None)
        return IsolationError(
            f"A process for {self._main.name}() could not be started: {said}.",
            mend=mend or "Close programs or files, or raise the limits of this user.",
        )

    def _imports(self) -> Imports:
        with self._telling:
            return resolve({*self._scope.modules, *self._extra}, self._scope.used)

    def _load(self, child: Child) -> Steps:
        with self._telling:
            scope = self._beginning(child)
        serve = partial(self._serve, child, {})
        reply = yield from child.exchange(
            {"do": "load", "scope": scope, "warnings": told_filters()}, self._limits.start, serve
        )
        with limited(self._limits.start):
            outcome = self._outcome_of(child, reply)
        if outcome.error is None:
            child.is_loaded = True
            defaults = reply.get("defaults")
            if type(defaults) is not dict:
                raise Misbehaved("something else than its default values")
            if self._defaults is None:
                with limited(self._limits.start):
                    self._defaults = {name: self._default(form) for name, form in defaults.items()}
        return outcome

    def _beginning(self, child: Child) -> dict[str, Any]:
        """Return what *child* must know before the first call."""
        main, imports = self._main, self._imports()
        child.known = len(self._scope.entries)
        child.versions = {key: item.version for key, item in self._scope.watched.items()}
        return {
            "hosts": [*self._hosts],
            "imports": imports.names,
            "banned": [name for name in BANNED if name.partition(".")[0] not in imports.names],
            "places": imports.places,
            "entries": self._scope.entries[: child.known],
            "seeds": seeds_for(self._scope.used, (crc32(main.source.encode("utf-8", "replace")), next(self._births))),
            "main": {**main.told, **self._scope.main},
        }

    def _default(self, form: Any) -> Any:
        try:
            return self._scope.values.decoder.decode(form)
        except MalformedError:
            return KEPT

    def _nothing(self, _: Child) -> Steps:
        yield from ()
        return NOTHING

    def _call_inner(self, form: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call a function that the candidate has returned."""
        return self._run(lambda child: self._call(child, args, kwargs, form))

    def _call(self, child: Child, args: tuple[Any, ...], kwargs: Mapping[str, Any], inner: Any = None) -> Steps:
        encode, names = self._scope.encode, self._main.parameters if inner is None else ()
        called = [*names[: len(args)], *["*args"] * (len(args) - len(names))]
        with self._telling:  # or a call would speak of a class that another one is about to tell of
            self._scope.look_again()
            message = {
                "do": "call",
                "args": [encode(name, value) for name, value in zip(called, args, strict=True)],
                "kwargs": {name: encode(name, value) for name, value in kwargs.items() if value is not KEPT},
            }
            if inner is not None:
                message["of"] = inner
            message["classes"] = self._news_for(child)
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        reply = yield from child.exchange(message, self._limits.seconds, partial(self._serve, child, given))
        if reply.get("threads"):
            # They would go on, with nobody to count their time. What they have done is done.
            child.is_loaded = False
        with limited(self._limits.start):
            return self._outcome_of(child, reply)

    def _news_for(self, child: Child) -> list[Any]:
        """Return the parts of the scope that *child* was not told of."""
        news = self._scope.entries[child.known :]
        child.known += len(news)
        for key, item in self._scope.watched.items():
            if child.versions.get(key, 0) != item.version:
                child.versions[key] = item.version
                news = [*news, item.entry]
        return news

    def _outcome_of(self, child: Child, reply: Mapping[str, Any]) -> "Outcome":
        """Return the value in an answer, or the exception that it says was raised."""
        name, limits = self._main.name, self._limits
        self.output = ""
        if "out" in reply or "limit" in reply:
            said = Printed.told(reply) if "out" in reply else child.printed()
            self.output = self._streams.show(said, limits.output)
        try:
            if "limit" in reply:
                child.is_loaded = reply["limit"] == "type"  # all others are ended with it
                error: BaseException = failures.limit_passed(name, reply, limits)
            elif "error" in reply:
                error = self._raised(child, reply["error"])
            else:
                try:
                    value = self._scope.values.decoder.decode(reply["ok"])
                except MalformedError as malformed:
                    child.is_loaded = False
                    return Outcome(None, failures.unreadable(name, str(malformed)))
                if reply.get("lost"):
                    self._say_what_is_lost(reply["lost"])
                return Outcome(value, None)
        except (
            MalformedError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            ArithmeticError,
            RecursionError,
        ) as malformed:
            raise Misbehaved(failures.visible(str(malformed)[:200])) from None
        if isinstance(error, SandboxError):
            error.output = self.output
            child.is_loaded = child.is_loaded and not isinstance(error, SandboxMemoryError)
        return Outcome(None, error)

    def _raised(self, child: Child, described: Mapping[str, Any]) -> BaseException:
        main, decoder = self._main, self._scope.values.decoder
        sent = [(main.file, 0, main.source)]
        sent += [(entry["file"], entry["line"], entry["source"]) for entry in self._scope.entries if "file" in entry]
        lines = {(file, first + line) for file, first, text in sent for line in range(1, text.count("\n") + 2)}
        options: Any = {"file": main.file, "lines": lines, "decoder": decoder, "errors": child.errors}
        return failures.raised(main.name, described, self._limits, **options)

    def _serve(self, child: Child, given: Mapping[str, Any], asked: Mapping[str, Any]) -> Steps:
        """Call what a child asks for, if it is offered, and return the answer for it."""
        child.served[0] += 1
        if child.served[0] > self._limits.calls:
            raise Overasked
        try:
            function = self._offered(asked["host"], given)
            decode = self._scope.values.decoder.decode
            with limited(self._limits.seconds):
                args = [decode(form) for form in asked["args"]]
                kwargs = {str(name): decode(form) for name, form in asked["kwargs"].items()}
        except (MalformedError, KeyError, TypeError, AttributeError) as error:
            said = failures.visible(str(error)[:200])
            raise Misbehaved(f"a call of something that nobody offers ({said})") from None
        try:
            with serving(self, child.served):
                value, is_awaited = yield HostCall(partial(function, *args, **kwargs))
                with self._telling:
                    form = self._scope.encode_result(asked["host"], value)
                    return {"ok": form, "awaited": is_awaited, "classes": self._news_for(child)}
        except StoppingError:
            raise  # past the candidate, which might hold it back
        except Exception as error:  # whatever a function of the user's raises goes the way of the candidate's own
            number = child.note(error)
            kind = next(base.__name__ for base in type(error).__mro__ if base.__module__ == "builtins")
            return {"error": {"type": kind, "text": failures.text_of(error), "id": number}}

    def _offered(self, path: str, given: Mapping[str, Any]) -> Callable[..., Any]:
        """Return what the candidate knows by *path*: something in *hosts*, or in an argument."""
        inner = self._scope.values.offered(path)
        function = inner if inner is not None else self._hosts[path]
        if function is None:
            root, *names = path.split(".")
            function = reduce(getattr, names, given[root] if root in given else self._scope.value_of(root))
        result: Callable[..., Any] = function
        return result

    def _say_what_is_lost(self, names: Any) -> None:
        if not self._is_warned:
            self._is_warned = True
            shown = failures.visible(", ".join(str(name)[:80] for name in names[:10]))
            warnings.warn(
                f"{self._main.name}() changed {shown}, but what changed code changes stays in its process, and the "
                "next call begins with the old value. Return it instead.",
                RuntimeWarning,
                stacklevel=user_level(),
            )


#: How long, in seconds, before each try to start a process.
_PAUSES = (0.0, 0.05, 0.2, 0.8)
#: What may be otherwise soon: too many processes or files, or no memory.
_TEMPORARY = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
