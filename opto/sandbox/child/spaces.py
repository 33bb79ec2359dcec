"""The namespaces that a candidate lives in: one for each module of the user's that a part of its code comes from."""

import __future__

import ast
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from importlib import import_module
from types import FrameType, FunctionType, ModuleType
from typing import Any

from .codec import Decoder
from .definitions import put_names, without_decorators
from .guard import Locations, guarded_builtins
from .held import held
from .objects import Objects, found, stand_in
from .receivers import Outside, Self

__all__ = ["Spaces", "find_line", "frames_of"]

_Entry = Mapping[str, Any]
_MOST_FRAMES = 40
#: Flags of code, as `inspect` has them, which would take long to load.
_OF_GENERATORS, _OF_COROUTINES = 0x220, 0x80
_NOTHING: Any = object()


class Spaces:
    """What is in scope for a candidate.

    Attributes:
        files: File names of its code, by which its lines are told from those of libraries.
        function: The candidate, once it is loaded.
        needs_loop: True if some of the code may ask for the event loop that it runs in.
    """

    def __init__(self, objects: Objects, harmless: frozenset[str]) -> None:
        self.files: set[str] = set()
        self.function: Any = None
        self.needs_loop = False
        self._objects, self._harmless = objects, harmless
        self._spaces: dict[str, dict[str, Any]] = {}
        self._builtins: dict[str, Any] = {}
        self._functions: dict[str, Any] = {}  # by what the other side calls them
        decoder = Decoder(objects.read)
        self._makers: dict[str, Callable[[_Entry], Any]] = {
            "import": lambda entry: found(entry["module"], entry["name"]),
            "module": self._module,
            "value": lambda entry: decoder.decode(entry["value"]),
            "host": lambda entry: objects.host(entry["key"]),
            "outside": lambda entry: Outside(entry["why"]),
            "same": lambda entry: self._space(entry["of"]).get(entry["name"], _NOTHING),
            "later": self._later,
            "source": self._of_source,
            "property": self._property,
            "class": lambda entry: objects.class_for(entry, self._space(entry["space"])["__name__"], decoder),
            "inside": lambda entry: vars(objects.known[entry["of"]])[entry["name"]],
            "stand-in": lambda entry: stand_in(entry["kind"], entry["name"], decoder.decode(entry["members"])),
        }

    def load(self, scope: Mapping[str, Any], begin: Callable[[], None] | None) -> FunctionType:
        """Define the candidate and what it uses; *begin* is called before anything of it runs."""
        self._objects.offered = tuple(scope["hosts"])
        self._builtins = guarded_builtins(self._harmless | {*scope["imports"]}, frozenset(scope["banned"]))
        # First: a module of the user's may have the name of another one.
        sys.meta_path.insert(0, Locations(scope["places"]))
        if begin is not None:
            begin()
        self.define(scope["entries"])
        for name, seed in scope["seeds"].items():
            __import__(name)
            sys.modules[name].seed(seed)
        main = scope["main"]
        self.files.add(main["file"])
        tree = ast.parse(main["source"], main["file"])
        tree.body = [item for item in tree.body if not _is_main_block(item)]
        without_decorators(tree, main["name"])
        self.function = self._run(tree, main)
        if not isinstance(self.function, FunctionType):
            raise TypeError(f"{main['name']} is no function once the code has run.")
        self.function.__qualname__ = main["qualname"]
        self._functions["!main"] = self.function
        self.define(entry for entry in scope["entries"] if entry.get("of") == "!main")
        if main["class"] is not None:
            self._objects.put(main["class"], main["name"], _as(main["put_as"], self.function))
        return self.function

    def define(self, entries: Iterable[_Entry]) -> None:
        """Make what *entries* tell, and put it into its place: a namespace, a class, a function or one's variables."""
        for entry in entries:
            try:
                value = self._made(entry)
            except Exception as error:
                if not entry.get("is_optional"):
                    raise
                value = Outside(f"{entry.get('member', entry.get('as'))} could not be made: {error}")
            if "cell" in entry:
                self._assign(entry["cell"], value)
            elif "attribute" in entry:
                self._set_attribute(entry, value)
            elif "member" in entry:
                self._objects.put(entry["put"], entry["member"], value)
            elif "as" in entry and value is not _NOTHING:
                self._space(entry["into"])[entry["as"]] = value
            if "key" in entry:
                self._objects.learn(entry["key"], value)

    def _assign(self, name: str, value: Any) -> None:
        """Give the closure variable *name* of the candidate another value."""
        names = self.function.__code__.co_freevars
        if name in names:
            self.function.__closure__[names.index(name)].cell_contents = value

    def _set_attribute(self, entry: _Entry, value: Any) -> None:
        """Give a function an attribute, unless it could not be made, or has made one itself that cannot enter."""
        if "member" in entry:
            member = vars(self._objects.known[entry["put"]]).get(entry["member"])
            function = getattr(member, "__func__", member)
        else:
            function = self._functions.get(entry["of"])
        name = entry["attribute"]
        if isinstance(function, FunctionType) and not (isinstance(value, Outside) and hasattr(function, name)):
            setattr(function, name, value)

    def _made(self, entry: _Entry) -> Any:
        return self._makers[entry["do"]](entry)

    def _property(self, entry: _Entry) -> property:
        return property(*(entry[part] and self._made(entry[part]) for part in ("get", "set", "delete")))

    def _later(self, entry: _Entry) -> Any:
        """Return what calls a function that is made of what asks for this."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._functions[entry["of"]](*args, **kwargs)

        return call

    def _of_source(self, entry: _Entry) -> Any:
        self.files.add(entry["file"])
        tree = ast.parse(entry["source"], entry["file"])
        ast.increment_lineno(tree, entry["line"])
        return self._run(tree, entry)

    def _space(self, key: str) -> dict[str, Any]:
        space = self._spaces.get(key)
        if space is None:
            name = "candidate" if key in {"__main__", "candidate"} else f"candidate.{key}"
            # One of which nobody knows but those who look for that of a class, as dataclasses do.
            module = sys.modules[name] = ModuleType(name)
            space = self._spaces[key] = vars(module)
            space.update(__builtins__=self._builtins, __package__=key.rpartition(".")[0], __Self__=Self)
        return space

    def _module(self, entry: _Entry) -> ModuleType:
        """Have whoever imports a module of the user's get the namespace that stands for it."""
        name, path = entry["module"], entry["path"]
        space = self._space(name)
        module = sys.modules[f"candidate.{name}"]
        if sys.modules.get(name) is not module:
            sys.modules[name] = module
            space["__getattr__"] = _rest_of(name)
            if path is not None:
                space.update(__path__=path, __package__=name)
        return module

    def _run(self, tree: ast.Module, entry: _Entry) -> Any:
        """Run *tree* in the body of a function, and return what it calls by the name in *entry*.

        The arguments of the function are the closure variables of the original. A class around it makes private names
        mean what they mean in the original.
        """
        self.needs_loop = self.needs_loop or _asks_for_loop(entry["source"], tree)
        given = {**entry["free"], **put_names(tree, entry["name"], entry.get("defaults", {}))}
        free = {name: self._made(item) for name, item in given.items()}
        if entry.get("class") is not None:
            free["__class__"] = self._objects.known[entry["class"]]  # for super()
        around: Any = ast.parse(f"class {entry['owner'] or '_'}:\n def make({', '.join(free)}): ...")
        make = around.body[0].body[0]
        make.body = [
            *(item for item in tree.body if not isinstance(item, ast.ImportFrom) or item.module != "__future__"),
            *ast.parse(f"return {entry['name']}, locals()").body,
        ]
        flags = __future__.annotations.compiler_flag
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(3 * limit)  # as much as there is for a text, which is no tree any more
        try:
            code = compile(around, entry["file"], "exec", flags, dont_inherit=True)
        finally:
            sys.setrecursionlimit(limit)
        outside: dict[str, Any] = {}
        exec(code, self._space(entry["space"]), outside)  # noqa: S102 - it is what all of this is for
        made, names = vars(outside.popitem()[1])["make"](**free)
        self._objects.functions.add(entry["source"], code, self._space(entry["space"]), names)
        if isinstance(made, FunctionType | type):
            made.__qualname__ = entry["name"]
        if entry.get("holds") and isinstance(made, FunctionType):
            made = _holding(made)
        if "id" in entry:
            self._functions[entry["id"]] = made
        return _as(entry.get("how"), made)


def _rest_of(name: str) -> Callable[[str], Any]:
    """Return what finds in the file of a module what was not sent of it."""
    loaded: ModuleType | None = None

    def look_up(item: str) -> Any:
        nonlocal loaded
        if item in {"__path__", "__spec__", "__loader__"}:
            raise AttributeError(item)
        if loaded is None:
            module = sys.modules.pop(name)
            try:
                loaded = import_module(name)
            except ModuleNotFoundError:
                raise AttributeError(f"nothing of the module {name} entered the sandbox as {item}") from None
            finally:
                sys.modules[name] = module
        return getattr(loaded, item)

    return look_up


def _holding(function: FunctionType) -> FunctionType:
    """Return *function* with results that have themselves under ``data``, as those of operators have in the program."""
    flags = function.__code__.co_flags
    if flags & (_OF_GENERATORS):
        return function

    def holding(*args: Any, **kwargs: Any) -> Any:
        return held(function(*args, **kwargs))

    async def holding_later(*args: Any, **kwargs: Any) -> Any:
        return held(await function(*args, **kwargs))

    made: Any = holding_later if flags & _OF_COROUTINES else holding
    return wraps(function)(made)  # type: ignore[return-value]  # as it is one


def _as(how: str | None, made: Any) -> Any:
    """Return what the decorator *how* makes of a function in the body of a class."""
    if how is None:
        return made
    return found("functools" if how == "cached_property" else "builtins", how)(made)


def _asks_for_loop(source: str, tree: ast.Module) -> bool:
    """True if *source* speaks of event loops, or has functions that import what may: a package, while it runs."""
    if "asyncio" in source:
        return True
    if "async " not in source:
        return False
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]
    return any(name.partition(".")[0] not in sys.stdlib_module_names for name in names)


def _is_main_block(item: ast.stmt) -> bool:
    if not isinstance(item, ast.If) or not isinstance(item.test, ast.Compare):
        return False
    sides = [item.test.left, *item.test.comparators]
    return {getattr(side, "id", getattr(side, "value", None)) for side in sides} == {"__name__", "__main__"}


def find_line(frame: FrameType | None, files: Collection[str]) -> int | None:
    """Return the line of the innermost frame that is in one of *files*."""
    while frame is not None:
        if frame.f_code.co_filename in files:
            return frame.f_lineno
        frame = frame.f_back
    return None


def frames_of(error: BaseException, files: Collection[str]) -> list[tuple[str, int, str]]:
    """Return where *error* came through code of *files*: file, line and function, outermost first."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename in files:
            found.append((code.co_filename, traceback.tb_lineno, code.co_name[:100]))
        traceback = traceback.tb_next
    return found if len(found) <= _MOST_FRAMES else [*found[: _MOST_FRAMES // 4], *found[-_MOST_FRAMES // 4 * 3 :]]
