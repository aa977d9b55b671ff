"""Goes back to what was before a run: from the ledgers that earlier runs left, by the path that `up` takes.

1. What was made since is removed, if it carries our mark and holds no data of the users.
2. What was changed since gets its before image; what was deleted since is made again.
3. What was there before us and was taken over since gets its before image, and is known no more.
4. What cannot come back, and whatever names it, stays as it is. That is told before anything starts.
5. Names are made as they were made then, so that the next `up` goes on with what came back.

The way back is durable before its first step, so that it can be gone on with, or given up, after any crash; and so is
that its end was reached, so that the same command once more does not go forth again.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from provision import compare, renewal
from provision.engine import Engine
from provision.errors import BadUsage, NameReserved
from provision.plan import Plan, Row
from provision.step import HoldsData, Ref, Stays, keep
from provision.teardown import Left
from state.journal import Instead
from state.ledger import Deed, Ledger, Record, Rollback

_KEPT = ("adopted", "found", "keep", "protected", "replaced")
"""What of a record comes back by being written down again; the rest of it is what was done, and is told by `bring`."""


@dataclass(frozen=True)
class Way:
    """A way back, and what will not be on it.

    Args:
        goal: What it comes to, for the ledger.
        lost: What cannot come back, by ref, and why.
        stays: What therefore stays as it is now, by ref, and why.
    """

    goal: Rollback
    lost: dict[Ref, str]
    stays: dict[Ref, str]


def way_back(plan: Plan, states: Sequence[Ledger], to: str | None = None) -> Way:
    """Work out the way back to before a run; nothing is touched.

    Args:
        plan: The table.
        states: The ledgers as each run left them, oldest first; the last one is that of now.
        to: The run before which it shall lead; the last that changed something when None.

    Raises:
        BadUsage: There is no such run.
    """
    now = states[-1]
    if to is None and now.rollback is not None and now.rollback.by:
        return Way(Rollback(to=now.rollback.to), {}, {})  # the same command again: everything is back already
    before, later, run = _parted(states, to)
    first = _first_deeds(before.records, later)
    then = {ref: record for ref, record in before.records.items() if record.done is not None}
    goal = Rollback(to=run)
    for ref, record in then.items():
        body, deed, row = record.body, first.get(ref), plan.rows.get(record.step)
        if deed is not None and deed.before is not None and not (row and row.at_least):
            body = compare.merged(body, deed.before)
        wanted = record.model_copy(update={"body": body, "pending": None})
        if not _is_already(now.records.get(ref), wanted):
            goal.restore[ref] = wanted
    for ref, record in now.records.items():
        row, deed = plan.rows.get(record.step), first.get(ref) or record.done or record.pending
        if ref in then or deed is None:
            continue
        if row is None or row.step.delete is keep:
            goal.release[ref] = {}
        elif not record.adopted and (deed.before is None or (row.at_least and deed.before != deed.after)):
            goal.remove.append(ref)
        else:
            goal.release[ref] = deed.before or {}
    return _without_the_lost(plan, goal, before, now)


def _is_already(current: Record | None, wanted: Record) -> bool:
    if current is None or current.pending or current.waits:
        return False
    return (current.body, _kept(current)) == (wanted.body, _kept(wanted))


def interrupted(ledger: Ledger, to: str | None = None) -> Rollback | None:
    """The way back that an earlier run has begun and not gone to its end, if it is the one that is asked for."""
    goal = ledger.rollback
    return goal if goal is not None and not goal.by and to in {None, goal.to} else None


def begin(engine: Engine, goal: Rollback) -> None:
    """Make the goal durable, so that a later run can go on with it."""
    engine.journal.commit(lambda ledger: setattr(ledger, "rollback", goal))


def give_up(engine: Engine) -> None:
    """Forget a way back, begun or gone to its end; everything stays as it is now."""
    if engine.ledger.rollback is not None:
        if not engine.ledger.rollback.by:
            engine.deeds.log.info("rollback.abandoned", to=engine.ledger.rollback.to)
        engine.journal.note(lambda ledger: setattr(ledger, "rollback", None))


def leave_the_end(engine: Engine) -> None:
    """Forget that the end of a way back was reached, since something is done that is not on it."""
    if engine.ledger.rollback is not None and engine.ledger.rollback.by:
        give_up(engine)


def of_its_own(instead: Instead) -> Instead:
    """What puts another ledger in the place of one, without the other's way back: it would be gone on with unasked.

    The way back that is under way stays, if the other has that one.
    """

    def made(found: Ledger | None) -> Ledger:
        ledger = instead(found)
        same = found is not None and interrupted(found) is not None and ledger.rollback == found.rollback
        return ledger if same else ledger.model_copy(update={"rollback": None})

    return made


def go_back(engine: Engine) -> list[Left]:
    """Go the way that the ledger holds, from wherever an earlier run has come.

    Returns:
        What had to stay.

    Raises:
        ProvisionError: What could not be done; the way stays in the ledger.
    """
    goal = engine.ledger.rollback
    if goal is None or goal.by:
        return []
    left: list[Left] = []
    adopted = {ref for ref, record in goal.restore.items() if record.adopted}
    engine.path.adopts = adopted.__contains__  # somebody has agreed to that already; `down` has only let go of it
    engine.deeds.failed.clear()  # what waits for a row that failed has to go too, and can only once its end is there
    if not _named_by(engine.ledger.salt, engine.ledger.records):
        # Nothing has the present names, as after a `down`: an `up` that gives this way up goes on with what is back.
        engine.journal.note(lambda ledger: _name_as_then(ledger, goal))
    _walk(engine, engine.plan.needs(), lambda name: _restore(engine, goal, name))
    engine.journal.note(lambda ledger: _name_as_then(ledger, goal))
    _walk(engine, engine.plan.dependants(), lambda name: left.extend(_undo(engine, goal, name)))

    def arrive(ledger: Ledger) -> None:
        ledger.rollback = Rollback(to=goal.to, by=engine.run)
        ledger.replacing.clear()
        _name_as_then(ledger, goal)  # what was removed meanwhile has been counted
        steps = {record.step for record in ledger.records.values()}
        for name in ledger.facts.keys() - steps:
            del ledger.facts[name]

    engine.journal.commit(arrive)
    return left


def _name_as_then(ledger: Ledger, goal: Rollback) -> None:
    ledger.salt = goal.salt or ledger.salt
    counters = {**ledger.counters, **goal.counters}
    ledger.counters = {name: count for name, count in counters.items() if count}


def _restore(engine: Engine, goal: Rollback, name: str) -> None:
    row = engine.plan[name]
    for ref, record in goal.restore.items():
        if record.step == name:
            try:
                engine.bring(row, ref, record.body)
            except renewal.Gone as error:
                raise NameReserved(
                    f"{ref} is gone behind our back, or never came to be, and its name cannot be used a second time.",
                    hint="python -m provision up makes another one, and gives up this rollback.",
                ) from error
            engine.journal.note(engine.deeds.written(row, ref, **_kept(record)))


def _kept(record: Record) -> dict[str, object]:
    return {field: getattr(record, field) for field in _KEPT}


def _undo(engine: Engine, goal: Rollback, name: str) -> list[Left]:
    row, left = engine.plan[name], list[Left]()
    for record in [record for record in engine.ledger.records.values() if record.step == name]:
        if record.ref in goal.release:
            if body := goal.release[record.ref]:
                engine.bring(row, record.ref, body)
            elif row.step.LEAVES:
                left.append(Left(record.ref, row.step.LEAVES))
            engine.deeds.forget(record.ref)
        elif record.ref in goal.remove:
            left.extend(_removed(engine, row, record))
    return left


def _parted(states: Sequence[Ledger], to: str | None) -> tuple[Ledger, Sequence[Ledger], str]:
    """The ledger before a run, the ledgers from that run on, and the run's id."""
    nothing = states[-1].model_copy(update={"records": {}})
    earlier = [nothing, *states[:-1]]
    if to is None:
        changed = [
            number for number, state in enumerate(states) if _told(state.records) != _told(earlier[number].records)
        ]
        if not changed:
            raise BadUsage("No run has changed anything yet, so there is nothing to go back to.")
        return earlier[changed[-1]], states[changed[-1] :], states[changed[-1]].run
    for number, state in enumerate(states):
        if state.run == to:
            return earlier[number], states[number:], to
    known = ", ".join(dict.fromkeys(state.run for state in reversed(states)))
    raise BadUsage(f"No run {to} is known.", hint=f"The runs, newest first: {known}.")


def _told(records: dict[Ref, Record]) -> dict[Ref, object]:
    """What of the records tells that a run has changed something."""
    return {
        ref: (record.body, record.done and record.done.serial, record.pending, record.replaced)
        for ref, record in records.items()
    }


def _first_deeds(before: dict[Ref, Record], later: Iterable[Ledger]) -> dict[Ref, Deed]:
    """By ref, the first deed since: its before image is how things were."""
    known = {deed.serial for record in before.values() for deed in (record.done, record.pending) if deed}
    first: dict[Ref, Deed] = {}
    for state in later:
        for ref, record in state.records.items():
            for deed in (record.done, record.pending):
                if deed is None or (ref in before and deed.serial in known):
                    continue
                if ref not in first or deed.serial < first[ref].serial:
                    first[ref] = deed
    return first


def _without_the_lost(plan: Plan, goal: Rollback, before: Ledger, now: Ledger) -> Way:
    """Take out of a goal what cannot come back, and the rows of whatever names it; and settle the names."""
    lost: dict[Ref, str] = {}
    for ref, record in goal.restore.items():
        why = plan.why_unknown(record) or plan[record.step].final
        if why and ref not in now.records:
            lost[ref] = why
    stays = _what_stays(plan, goal, lost, now)
    salt = before.salt
    if before.salt != now.salt and _named_by(now.salt, stays):  # the next `up` can name things in one way only
        salt = now.salt
        why = f"What stays is named with {now.salt}, and this with {before.salt}; one deployment has one of them."
        lost |= {ref: why for ref in _named_by(before.salt, goal.restore) if ref not in lost}
        stays = _what_stays(plan, goal, lost, now)
    rows = _rows_that_stay(goal, lost)
    back = {record.step for record in before.records.values()} - rows - {record.step for record in plan.unknown(before)}
    reached = Rollback(
        to=goal.to,
        restore={ref: record for ref, record in goal.restore.items() if record.step not in rows and ref not in stays},
        release={ref: body for ref, body in goal.release.items() if ref not in stays},
        remove=[ref for ref in goal.remove if ref not in stays],
        salt=salt,
        counters={name: before.counters.get(name, 0) for name in sorted(back)},
    )
    return Way(reached, lost, stays)


def _what_stays(plan: Plan, goal: Rollback, lost: Iterable[Ref], now: Ledger) -> dict[Ref, str]:
    """What of a goal is not touched although it is there, and why."""
    rows = _rows_that_stay(goal, lost)
    whys = {ref: plan.why_unknown(record) for ref, record in now.records.items()}
    return {
        ref: whys[ref] or "What it was made for, or from, cannot come back."
        for ref, record in now.records.items()
        if (whys[ref] or record.step in rows) and (ref in goal.restore or ref in goal.remove or ref in goal.release)
    }


def _rows_that_stay(goal: Rollback, lost: Iterable[Ref]) -> set[str]:
    """The rows of what does not come back, and of what names it, which would not work."""
    broken, size = set(lost), -1
    while len(broken) > size:
        size = len(broken)
        broken |= {ref for ref, record in goal.restore.items() if any(_names(ref, record, other) for other in broken)}
    return {goal.restore[ref].step for ref in broken}


def _named_by(salt: str, refs: Iterable[Ref]) -> list[Ref]:
    """Of some refs, those in whose names the salt is."""
    return [ref for ref in refs if salt in re.split("[-/]", ref)]


def _names(ref: Ref, record: Record, other: Ref) -> bool:
    """Whether a thing lies in another, or speaks of it by its full name or by a name that is unlike any other."""
    name = other.rpartition("/")[2]
    text = json.dumps(record.body)
    return ref.startswith(f"{other}/") or other in text or ("-" in name and name in text)


def _removed(engine: Engine, row: Row, record: Record) -> list[Left]:
    if record.protected:
        return [Left(record.ref, "The settings protect it.")]
    try:
        engine.remove(row, record)
    except HoldsData as reason:
        return [Left(record.ref, str(reason))]
    except Stays as reason:
        engine.deeds.forget(record.ref)
        return [Left(record.ref, str(reason))]
    return [Left(record.ref, row.step.LEAVES)] if row.step.LEAVES else []


def _walk(engine: Engine, needs: dict[str, tuple[str, ...]], visit: Callable[[str], None]) -> None:
    engine.raise_for(engine.visit_all(needs, visit))
