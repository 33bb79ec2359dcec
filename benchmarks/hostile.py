"""What each level of isolation holds: hostile functions against it, and ordinary ones that must run.

    python benchmarks/hostile.py                      # every level, as the user who runs it
    python benchmarks/hostile.py --also-as tester     # as root: also as that user, who is made if need be
    python benchmarks/hostile.py --level child --only "fork bomb"

Prints a table. Each attack runs under the limits that it attacks (2 s, 256 MiB, 16 MiB of files); a process beside this
one makes the calls, and what happens to that is watched from here.
"""

import argparse
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from opto.errors import IsolationError, MissingDependencyError
from opto.sandbox import Limits, Sandbox

HERE = Path(__file__).parent
LEVELS = ("child", "auto", "strict", "monty")
LIMITS = Limits(seconds=2.0, start=2.0, memory=256 << 20, output=1 << 16, result=1 << 20, disk=16 << 20, children=2)
#: How much longer than its limit a call may take: starting, finding the line, ending what it has started.
PATIENCE = 25.0
#: What came of a function that needs a package which is not installed.
NOT_TRIED = "not tried: pip install numpy"
#: In front of every attack: what somebody who has read the sources would begin with. What is tried is the walls.
LOOSEN = """
import ctypes, gc, os, sys, time

def _libc():
    return ctypes.CDLL(None, use_errno=True)

def _say(**message):
    import json
    frame = sys._getframe()
    while 'do' not in (frame.f_locals.get('message') or ()): frame = frame.f_back
    data = json.dumps({'n': frame.f_locals['message']['n'], **message}).encode()
    data = len(data).to_bytes(8, 'big') + data
    while data: data = data[os.write(3, data):]
    time.sleep(1)

for _item in gc.get_objects():
    if type(_item).__name__ == "function" and _item.__name__ == "hook" and _item.__closure__:
        for _cell in _item.__closure__:
            if isinstance(_cell.cell_contents, dict) and "on" in _cell.cell_contents:
                _cell.cell_contents["on"] = False
"""


class Attack(NamedTuple):
    """One hostile function: what it is, the text, and what shows that it did harm."""

    kind: str
    name: str
    source: str
    harm: str | None


class Ordinary(NamedTuple):
    """One ordinary function: the text, a call of it, and what must come out."""

    name: str
    source: str
    call: str
    expected: str


class Outcome(NamedTuple):
    """What came of a call."""

    value: Any
    error: BaseException | None
    seconds: float


def sections(name: str) -> "list[tuple[str, str]]":
    text = (HERE / name).read_text(encoding="utf-8")
    parts = re.split(r"^== (.*)\n", text, flags=re.MULTILINE)
    return [*zip(parts[1::2], parts[2::2], strict=True)]


def attacks() -> list[Attack]:
    """Read the hostile functions."""
    found = []
    for head, text in sections("hostile.txt"):
        match = re.fullmatch(r"(\w+): (.*?)(?: \[(\w+)\])?", head)
        assert match, head
        beside, _, body = text.rpartition("--\n")
        lines = "".join(f"    {line}\n" for line in body.strip("\n").split("\n"))
        found.append(Attack(match[1], match[2], f"{LOOSEN}\n{beside}\ndef attack(facts):\n{lines}", match[3]))
    return found


def ordinary() -> list[Ordinary]:
    """Read the ordinary functions."""
    found = []
    for head, text in sections("ordinary.txt"):
        name, _, rest = head.partition(": ")
        call, _, expected = rest.rpartition(" => ")
        found.append(Ordinary(name, text.strip("\n") + "\n", call, expected))
    return found


class World:
    """A victim: files, secrets, sockets and a process of the user who runs this."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="opto-victim-"))
        self.folder.chmod(0o755)
        self.secret = f"opto-secret-{os.urandom(8).hex()}"
        os.environ["OPTO_SECRET"] = self.secret
        home = self.folder / "home"
        home.mkdir()
        (home / "credentials").write_text(self.secret)
        (home / "credentials").chmod(0o600)
        (home / "victim").write_text("mine")
        self._home, self._before = home, self._look(home)
        self.kept = {"key-of-the-user": self.secret}
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        paths = {name: str(self.folder / name) for name in ("unix", "datagram")}
        self._unix, self._abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self._datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._unix.bind(paths["unix"])
        self._datagram.bind(paths["datagram"])
        name = f"opto-{os.getpid()}-{os.urandom(4).hex()}"
        self._abstract.bind(f"\0{name}" if sys.platform == "linux" else str(self.folder / "abstract"))
        for path in paths.values():
            os.chmod(path, 0o777)
        for server in (self._unix, self._abstract):
            server.listen(8)
        for each in (self._tcp, self._udp, self._unix, self._abstract, self._datagram):
            each.setblocking(False)
        self._bystander = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        self.facts = {
            "home": str(home),
            "credentials": str(home / "credentials"),
            "victim": str(home / "victim"),
            "caller": os.getpid(),
            "address": id(self.kept),
            "key": "key-of-the-user",
            "bystander": self._bystander.pid,
            "tcp": self._tcp.getsockname()[1],
            "udp": self._udp.getsockname()[1],
            "unix": paths["unix"],
            "datagram": paths["datagram"],
            "abstract": f"\0{name}",
            "list": [1, 2],
            "alone": getpass.getuser() == os.environ.get("OPTO_HOSTILE_USER"),
        }

    @staticmethod
    def _look(home: Path) -> Any:
        try:
            found = [(path.name, os.lstat(path)) for path in sorted(home.iterdir())]
            texts = [(home / name).read_text() for name in ("credentials", "victim")]
        except OSError:
            return None
        return [(name, stat.st_mode, stat.st_mtime_ns, stat.st_uid) for name, stat in found], texts

    def has_heard(self) -> bool:
        """True if anything came over the network."""
        heard = False
        for server in (self._tcp, self._unix, self._abstract):
            try:
                server.accept()[0].close()
                heard = True
            except BlockingIOError:
                pass
        for each in (self._udp, self._datagram):
            try:
                each.recv(100)
                heard = True
            except BlockingIOError:
                pass
        return heard

    def is_changed(self) -> bool:
        """True if the home folder is not what it was."""
        return self._look(self._home) != self._before

    def is_bystander_dead(self) -> bool:
        """True if the process is gone."""
        return self._bystander.poll() is not None

    def close(self) -> None:
        for each in (self._tcp, self._udp, self._unix, self._abstract, self._datagram):
            each.close()
        self._bystander.kill()
        self._bystander.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _after(seconds: float, look: Callable[[], bool]) -> bool:
    time.sleep(seconds)
    return look()


#: What shows that harm was done, by its name in hostile.txt: of the world, what came of the call, and how much there
#: was in the work folders at most.
HARM: dict[str, Callable[[World, Outcome, int], bool]] = {
    "returned": lambda _, outcome, __: outcome.value not in (None, "", "refused", [], {}),
    "secret": lambda world, outcome, _: world.secret in repr(outcome.value) + str(outcome.error),
    "dead": lambda world, _, __: world.is_bystander_dead(),
    "changed": lambda world, _, __: world.is_changed(),
    "daemon": lambda world, _, __: _after(3.5, world.is_changed),
    "heard": lambda world, _, __: _after(0.05, world.has_heard),
    "disk": lambda _, __, peak: peak > 8 * LIMITS.disk,
    "forged": lambda _, outcome, __: outcome.value == "forged",
    "value": lambda _, outcome, __: outcome.error is None,
    "liar": lambda _, outcome, __: outcome.error is None and (type(outcome.value) is not str or outcome.value != "lie"),
    "shown": lambda world, outcome, _: world.secret in "".join(traceback.format_exception(outcome.error)),
    "larger": lambda _, outcome, __: outcome.error is None and (type(outcome.value) is not float or outcome.value > 1),
    "argument": lambda world, _, __: world.facts.get("list") != [1, 2],
    "main": lambda _, __, ___: hasattr(sys.modules["__main__"], "changed"),
}


class Peak(threading.Thread):
    """Watches how many bytes there ever are in the work folders, folders among them."""

    def __init__(self, folder: str) -> None:
        super().__init__(daemon=True)
        self.size, self._folder, self._ended = 0, folder, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            size, waiting = 0, [self._folder]
            while waiting and not self._ended.is_set():
                with suppress(OSError), os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
            self.size = max(self.size, size)

    def end(self) -> int:
        self._ended.set()
        self.join()
        return self.size


def tried(sandbox: Sandbox, attack: Attack) -> str:
    """Return what came of *attack*: ``held``, or in a word what was not."""
    with sandbox.load("def run(): ...") as first:
        first()
    before, others = below(sandbox), folders(sandbox)
    world = World()
    watcher = Peak(root_of(sandbox))
    watcher.start()
    started = time.monotonic()
    value = error = None
    candidate = sandbox.load(attack.source, "attack", imports=sys.stdlib_module_names)
    try:
        value = candidate(world.facts)
    except Exception as raised:
        error = raised
    outcome = Outcome(value, error, time.monotonic() - started)
    candidate.close()
    peak = watcher.end()
    try:
        if attack.harm and HARM[attack.harm](world, outcome, peak):
            return "through"
    finally:
        world.close()
    if outcome.seconds > LIMITS.seconds + PATIENCE:
        return "hung"
    with sandbox.load("import json, math\ndef run(x):\n    return [len(x), json.dumps(x), math.floor(1.5)]\n") as after:
        if after([1, 2]) != [2, "[1, 2]", 1]:
            return "next broken"
    until = time.monotonic() + PATIENCE / 2
    while (len(below(sandbox)) > len(before) or folders(sandbox) - others) and time.monotonic() < until:
        time.sleep(0.05)  # its files are removed by a process of their own
    if len(below(sandbox)) > len(before):
        return "left"
    return "files left" if folders(sandbox) - others else "held"


def folders(sandbox: Sandbox) -> set[str]:
    """Return the work folders that are there."""
    root = root_of(sandbox)
    return {name for name in os.listdir(root) if name.isdigit()} if os.path.isdir(root) else set()


def root_of(sandbox: Sandbox) -> str:
    zygote = sandbox._level.zygote
    return "/nonexistent" if zygote is None else zygote.root


def below(sandbox: Sandbox) -> set[str]:
    """Return the processes below the one that makes children, and those of users whom nobody else is."""
    zygote = sandbox._level.zygote
    if zygote is None or sys.platform != "linux":
        return set()
    children: dict[str, list[str]] = {}
    found, waiting = set(), [str(zygote.process_id)]
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(parent, []).append(name)
            if os.geteuid() == 0 and zygote.is_user_of_candidates(os.stat(f"/proc/{name}").st_uid):
                found.add(name)
    while waiting:
        more = children.get(waiting.pop(), [])
        found.update(more)
        waiting += more
    return found


def ran(sandbox: Sandbox, function: Ordinary) -> str:
    """Return what came of an ordinary function: ``held`` if it answered right."""
    names: dict[str, Any] = {name: import_module(name) for name in ("datetime", "decimal", "fractions")}
    imports = ["numpy"] if "numpy" in function.source else []
    try:
        names.update((name, import_module(name)) for name in imports)
    except ImportError:
        return NOT_TRIED
    with sandbox.load(function.source, "run", imports=imports) as candidate:
        names["run"] = candidate.function
        if "async def run" in function.source:
            names["run"] = lambda *args: __import__("asyncio").run(candidate.acall(*args))
        try:
            value = eval(function.call, names)
        except Exception as error:
            return f"{type(error).__name__}: {error}"[:60]
        return "held" if value == eval(function.expected, names) else f"answered {value!r:.40}"


def serve(level: str, only: str | None, skip: int) -> None:
    """Try everything at *level*, one line of JSON for each."""
    try:
        sandbox = Sandbox(level, limits=LIMITS)
        print(json.dumps({"level": sandbox.level}), flush=True)
    except (IsolationError, MissingDependencyError) as error:
        print(json.dumps({"level": None, "why": str(error)}), flush=True)
        return
    tasks: list[Any] = [*attacks(), *ordinary()]
    for number, task in enumerate(tasks):
        if number < skip or (only and only not in task.name):
            continue
        print(json.dumps({"begins": number}), flush=True)
        result = tried(sandbox, task) if isinstance(task, Attack) else ran(sandbox, task)
        print(json.dumps({"ends": number, "result": result}), flush=True)


def watch(level: str, only: str | None, user: str | None) -> tuple[str, dict[int, str]]:
    """Have a process of *user* try everything; return the level in force, and results by number."""
    results: dict[int, str] = {}
    skip, name = 0, level
    while True:
        command = [interpreter(user), str(Path(__file__).resolve()), "--serve", level, "--skip", str(skip)]
        command += ["--only", only] if only else []
        options: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        environment = {**os.environ, "OPTO_HOSTILE_USER": user or "", "PYTHONWARNINGS": "ignore"}
        if user:
            monty = shutil.which("monty", path=os.path.dirname(sys.executable))
            environment.update({"MONTY_BIN": monty} if monty else {})
            environment.update(USER=user, LOGNAME=user, HOME=f"/home/{user}", PYTHONPATH=os.pathsep.join(packages()))
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True, cwd="/", **options
        )
        begun = None
        timer = threading.Timer(PATIENCE * 4, process.kill)
        for line in process.stdout or ():
            timer.cancel()
            timer = threading.Timer(PATIENCE * 4, process.kill)
            timer.start()
            said = json.loads(line)
            if "level" in said:
                name = said["level"] or f"not to be had: {said['why']}"
            elif "begins" in said:
                begun = said["begins"]
            else:
                results[said["ends"]] = said["result"]
                begun = None
        timer.cancel()
        process.wait()
        if begun is None:
            return name, results
        results[begun] = "caller died" if process.returncode != -9 else "caller died or hung"
        skip = begun + 1


def interpreter(user: str | None) -> str:
    """Return a Python that *user* may run."""
    if user is None:
        return sys.executable
    here = [sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}", "/usr/bin/python3"]
    for path in here:
        with suppress(PermissionError):
            subprocess.run([path, "-c", "1"], user=user, group=user, extra_groups=[], cwd="/", check=True)
            return path
    raise SystemExit(f"{user} can run none of {here}.")


def packages() -> list[str]:
    return [path for path in sys.path if path.endswith("site-packages")]


def make_user(name: str) -> None:
    """Make a user without a password, if there is none of that name."""
    if subprocess.run(["id", name], capture_output=True, check=False).returncode:
        subprocess.run(["useradd", "--create-home", "--user-group", name], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What each level of isolation holds.")
    parser.add_argument("--level", action="append", choices=LEVELS, help="only this one")
    parser.add_argument("--only", help="only what has this in its name")
    parser.add_argument("--also-as", metavar="USER", help="as root: also as USER, who is made if need be")
    parser.add_argument("--json", action="store_true", help="results as JSON")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--skip", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.only, options.skip)
        return
    users: list[str | None] = [None]
    if options.also_as:
        make_user(options.also_as)
        users.append(options.also_as)
    columns = {}
    for user in users:
        for level in options.level or LEVELS:
            name, results = watch(level, options.only, user)
            columns[f"{level}: {name}, {user or getpass.getuser()}"] = results
            print(f"{level} ({name}) as {user or getpass.getuser()}: {summary(results)}", file=sys.stderr, flush=True)
    print(json.dumps(columns, indent=1) if options.json else f"{table(columns)}\n\n{by_kind(columns)}")


def summary(results: dict[int, str]) -> str:
    count = len(attacks())
    if not results:
        return "nothing was tried"
    hostile = [result for number, result in results.items() if number < count]
    plain = [result for number, result in results.items() if number >= count]
    untried = plain.count(NOT_TRIED)
    said = f"{hostile.count('held')} of {len(hostile)} held, {plain.count('held')} of {len(plain)} ordinary ones ran"
    return f"{said}, {untried} {NOT_TRIED}" if untried else said


def by_kind(columns: dict[str, dict[int, str]]) -> str:
    """Return how many of each kind were held, as a table in Markdown."""
    kinds: dict[str, list[int]] = {}
    for number, attack in enumerate(attacks()):
        kinds.setdefault(attack.kind, []).append(number)
    kinds["ordinary"] = [*range(len(attacks()), len(attacks()) + len(ordinary()))]
    rows = [["held, or ran", *columns], ["---"] * (len(columns) + 1)]
    for kind, numbers in kinds.items():
        found = [[results[number] for number in numbers if number in results] for results in columns.values()]
        rows.append([kind, *(f"{results.count('held')}/{len(results)}" for results in found)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def table(columns: dict[str, dict[int, str]]) -> str:
    """Return all results as a table in Markdown."""
    tasks = [
        *(f"{attack.kind}: {attack.name}" for attack in attacks()),
        *(f"ordinary: {each.name}" for each in ordinary()),
    ]
    rows = [["", *columns]]
    for number, task in enumerate(tasks):
        found = [results.get(number, "") for results in columns.values()]
        if any(found):
            rows.append([task, *("·" if result == "held" else result for result in found)])
    rows.append(["**held / ran**", *map(summary, columns.values())])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


if __name__ == "__main__":
    main()
