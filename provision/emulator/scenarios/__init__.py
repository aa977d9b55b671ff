"""Google's habits that can be switched on: each a scenario by name, for tests and for users who rehearse them.

A scenario is a function that puts its state into the world, and around it what changes an answer while it is on:
a *habit* around some methods, an *ending* in place of an operation's own. What is on is kept in the world, so it
survives a restart, is part of a snapshot, and is gone with a reset. See docs/reference/scenarios.md.
"""

import difflib
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from provision.emulator.api import Call, Reply
from provision.emulator.clock import parse
from provision.emulator.errors import GoogleError
from provision.emulator.operations import NotYet, before_any_end
from provision.emulator.world import World

Json = dict[str, Any]
Answer = Json | Reply | None

TABLE = "scenarios"
LARGEST = 10**9
"""Of a number that an option may be: some thirty years in seconds."""


@dataclass
class Playing:
    """A scenario that is on.

    Args:
        world: Where it plays.
        name: Its name.
        row: Its options, when it began, and what it has counted; see `count`.
    """

    world: World
    name: str
    row: Json

    def __getitem__(self, option: str) -> Any:  # any JSON
        return self.row["options"][option]

    def lasts(self, since: str = "") -> bool:
        """Whether it is not over yet: `seconds` after it began, or after the time given (RFC 3339)."""
        begun = parse(since or self.row["since"])
        return self.world.clock.now() - begun < timedelta(seconds=float(self["seconds"]))

    def first(self, what: str) -> str:
        """When something was met for the first time: now, if it never was."""
        begun = self.row.setdefault("first", {})
        if what not in begun:
            begun[what] = self.world.timestamp(6)
            self.world.table(TABLE)[self.name] = self.row
        return str(begun[what])

    def again(self) -> bool:
        """Whether it plays once more, of `times`; counts."""
        return self.count("times") <= int(self["times"])

    def count(self, what: str) -> int:
        """One more of something; how many there are now."""
        counts = self.row.setdefault("counts", {})
        counts[what] = counts.get(what, 0) + 1
        self.world.table(TABLE)[self.name] = self.row
        return int(counts[what])


class Unknown(ValueError):
    """There is no such scenario, it has no such option, or the option no such value; says what there is."""


Begin = Callable[[World, Json], None]
GoOn = Callable[[], Answer]
Habit = Callable[[Call, Playing, GoOn], Answer]
Ending = Callable[[World, Json, Playing], NotYet | None]


@dataclass
class Scenario:
    """One habit of Google's.

    Args:
        name: By which it is switched on.
        number: Of the list of habits that it belongs to.
        source: The public page or issue that tells of it.
        options: What may be set, with defaults.
        among: By option that may not be just anything, what it may be.
        begin: Puts its state into the world.
    """

    name: str
    number: int
    source: str
    options: Json
    among: Mapping[str, Collection[str]]
    begin: Begin
    habits: list[tuple[str, Habit]] = field(default_factory=list)
    endings: dict[str, Ending] = field(default_factory=dict)

    @property
    def says(self) -> str:
        """What Google does, in a line."""
        return (inspect.getdoc(self.begin) or "").partition("\n")[0]


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, number: int, source: str, *, among: Mapping[str, Collection[str]] | None = None, **options: Any
) -> Callable[[Begin], Begin]:
    """Register a scenario; the function is called when it is switched on, its docstring says what Google does."""

    def register(begin: Begin) -> Begin:
        SCENARIOS[name] = Scenario(name, number, source, options, among or {}, begin)
        return begin

    return register


def habit(*methods: str, of: str) -> Callable[[Habit], Habit]:
    """Register what changes the answers of some methods (ids, `*` for parts) while a scenario is on."""

    def register(function: Habit) -> Habit:
        SCENARIOS[of].habits += [(method, function) for method in methods]
        return function

    return register


def ending(*verbs: str, of: str) -> Callable[[Ending], Ending]:
    """Register what comes before an operation's own end while a scenario is on.

    It answers None to let it end as ever, NOT_YET to let it go on, or raises OperationError to make it fail.
    """

    def register(function: Ending) -> Ending:
        SCENARIOS[of].endings |= dict.fromkeys(verbs, function)
        return function

    return register


def switch_on(world: World, name: str, options: Json) -> None:
    """Let a scenario play from now on.

    Raises:
        Unknown: There is none of that name, or no such option or value.
    """
    known = _known(name)
    if unknown := sorted(options.keys() - known.options.keys()):
        has = ", ".join(f"{option}={default}" for option, default in known.options.items())
        raise Unknown(f"{name} has no option {', '.join(unknown)}; it has: {has or 'none'}")
    complete = known.options | {option: _as(known.options[option], said, option) for option, said in options.items()}
    for option, meant in known.among.items():
        if complete[option] not in meant:
            raise Unknown(f"{option} is one of {', '.join(sorted(meant))}, not {complete[option]!r}")
    known.begin(world, complete)
    world.table(TABLE)[name] = {"options": complete, "since": world.timestamp(6)}


def switch_off(world: World, name: str = "") -> None:
    """End a scenario, or all; what it has changed stays as it is.

    Raises:
        Unknown: There is none of that name.
    """
    for found in [_known(name).name] if name else list(world.table(TABLE)):
        world.table(TABLE).pop(found, None)


def _known(name: str) -> Scenario:
    if known := SCENARIOS.get(name):
        return known
    near = difflib.get_close_matches(name, SCENARIOS, n=3)
    which = ", ".join(near or sorted(SCENARIOS))
    raise Unknown(f"there is no scenario {name!r}; {'did you mean' if near else 'there are'}: {which}")


def _as(default: Any, said: Any, option: str) -> Any:  # any JSON
    """What was said, of the type of the default."""
    try:
        meant = type(default)(said)
    except (TypeError, ValueError, OverflowError):
        meant = math.nan
    if isinstance(meant, int | float) and not 0 <= meant <= LARGEST:
        raise Unknown(f"{option} is a number such as {default}, and {LARGEST:,} at the most, not {said!r}")
    return meant


def listed(world: World) -> list[Json]:
    """All that there are, with those that are on."""
    playing = world.table(TABLE)
    return [
        {"name": known.name, "number": known.number, "says": known.says, "source": known.source,
         "options": playing.get(known.name, {}).get("options", known.options), "on": known.name in playing}
        for known in sorted(SCENARIOS.values(), key=lambda known: (known.number, known.name))
    ]  # fmt: skip


def playing(world: World, name: str) -> Playing | None:
    """A scenario, if it is on."""
    row = world.table(TABLE).get(name)
    return Playing(world, name, row) if row else None


def through(call: Call, function: Callable[[Call], Answer]) -> Answer:
    """Answer a call as its behaviour does, but for the habits that are on; what they count also counts in a refusal."""
    habits = [
        (habit_of, Playing(call.world, name, row))
        for name, row in call.world.table(TABLE).under()
        for method, habit_of in SCENARIOS[name].habits
        if fnmatchcase(call.id, method)
    ]
    if not habits:
        return function(call)

    def go_on() -> Answer:
        with call.world.transaction():
            return function(call)

    wrapped: GoOn = go_on
    for habit_of, state in habits:
        wrapped = _wrapped(habit_of, call, state, wrapped)
    try:
        return wrapped()
    except GoogleError as refused:
        return Reply(refused.body(call.host), refused.code, refused.headers)


def _wrapped(habit_of: Habit, call: Call, state: Playing, go_on: GoOn) -> GoOn:
    return lambda: habit_of(call, state, go_on)


@before_any_end
def at_the_end(world: World, operation: Json) -> NotYet | None:
    """What comes before an operation's own end, of the scenarios that are on.

    Raises:
        OperationError: It shall fail.
    """
    for name, row in world.table(TABLE).under():
        ending_of = SCENARIOS[name].endings.get(operation["verb"])
        if ending_of and (answer := ending_of(world, operation, Playing(world, name, row))):
            return answer
    return None
