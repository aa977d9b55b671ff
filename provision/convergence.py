"""The one path: brings what is declared into being, and takes it away again.

A first run, a re-run, a resume after a crash, adoption, the repair of drift and a rollback are all `bring`: read,
compare, act, until nothing differs.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from provision import compare, renewal, retry, step
from provision.deeds import Deeds
from provision.errors import (
    BeyondRepair,
    CannotChangeInPlace,
    DidNotSettle,
    NameReserved,
    NameTaken,
    NotOurs,
    OperationFailed,
)
from provision.gcp import TIMEOUT
from provision.plan import Plan, Row
from provision.refusals import refusal_of
from provision.step import Body, Change, Create, Delete, Operation, Owner, Ref
from state.ledger import Deed, Record

MARK_LOST = (
    "Put its mark back, let go of it (python -m provision release {ref}),"
    " or take it over (python -m provision up --adopt {ref})."
)

ACTS = 5
"""Calls towards one goal before it counts as not reachable; each has an intent of its own."""


@dataclass
class Convergence:
    """Works on one resource at a time, from any thread.

    Args:
        plan: The table.
        deeds: Makes the changes.
        adopts: Whether a thing that does not carry our mark may be taken over.
    """

    plan: Plan
    deeds: Deeds
    adopts: Callable[[Ref], bool] = lambda ref: False

    def bring(self, row: Row, ref: Ref, body: Body) -> Body:
        """Make one ref what its body says; returns it as it is then.

        Raises:
            NotOurs: Something is there that is not ours and may not be adopted.
            CannotChangeInPlace: A field differs that cannot be changed.
            DidNotSettle: It still differs after several calls.
            NameTaken: What we had made is gone, and somebody else has its name by now.
            BeyondRepair: It is in a state that Google does not bring it out of.
            renewal.Gone: Nothing of ours is there, and its name cannot be used, or not again.
            renewal.Stillborn: What is there never came to be.
        """
        self.deeds.resume(row, ref)
        try:
            return self.deeds.patience.with_(f"{row.title} ({ref})", lambda: self._settle(row, ref, body), about=ref)
        except NameReserved as error:
            if not row.once:
                raise
            raise renewal.Gone(ref) from error
        except NameTaken as error:
            if not self._never_was(ref):
                raise
            raise renewal.Gone(ref) from error
        except BeyondRepair as error:
            if not row.is_stillborn(error, self.deeds.known(ref)):
                raise
            raise renewal.Stillborn(ref) from error
        except OperationFailed as error:
            self._tell_more(row, ref, error)
            raise

    def remove(self, row: Row, record: Record) -> None:
        """Take one recorded resource away, when it is ours; its record stays.

        Raises:
            NotOurs: The thing under this name does not carry our mark any more.
            Stays: It must not go now.
        """
        self.deeds.resume(row, record.ref)
        # An unfinished change may have had its effect, so what it was about to apply is ours too.
        after = (record.pending and record.pending.after) or {}
        ours = [compare.without(body, record.found) for body in (record.body, after)]
        try:
            self._take_away(row, record.ref, ours, row.step.delete)
        except OperationFailed as error:
            if row.refused is None or not retry.asks_for_another_way(error):
                raise
            self.deeds.log.info("resource.refused", step=row.name, ref=record.ref, why=str(error))
            self._take_away(row, record.ref, ours, row.refused)

    def _tell_more(self, row: Row, ref: Ref, error: OperationFailed) -> None:
        """Let the step add what it can find out; that it cannot be found out hides nothing."""
        if row.told is None or not error.operation:
            return
        try:
            error.add(row.told(self.deeds.gcp, ref, error.operation))
        except Exception as problem:
            if (refusal := refusal_of(problem)) is None:
                raise
            self.deeds.log.info("nothing.told", step=row.name, ref=ref, why=str(refusal))

    def _settle(self, row: Row, ref: Ref, declared: Body) -> Body:
        applied = self._perhaps_applied(row, ref)
        body, live, changes = self._first_look(row, ref, declared, applied)
        deed: Deed | None = None
        for _ in range(ACTS):
            if live is not None and not changes:
                break
            outcome: dict[str, object] = {"done": deed, "body": applied} if deed else {}
            deed = self._act(row, ref, body, live, changes, outcome)
            applied = compare.merged(applied, body)
            live, changes = self._next_look(row, ref, body, applied, changes)
        if live is None or changes:
            raise DidNotSettle(f"{ref} still differs: {'; '.join(map(str, changes or [])) or 'it is not there'}")
        self._conclude(row, ref, body, live, deed)
        return live

    def _first_look(
        self, row: Row, ref: Ref, declared: Body, applied: Body
    ) -> tuple[Body, Body | None, list[Change] | None]:
        """What is to be there, what is, and how it differs; None where nothing is.

        What a dead run has begun may show only later: until it must, nothing is believed that tells of none of it.
        """
        deeds, record, since = self.deeds, self.deeds.known(ref), self.deeds.clock.monotonic()
        while True:
            asked = deeds.clock.monotonic()
            live = deeds.read(row, ref)
            if live is None:
                if row.once and record is not None and record.done is not None:
                    raise renewal.Gone(ref)
                return declared, None, None
            self._claim(row, ref, declared, live)
            body = self._as_a_guest(ref, declared)
            changes = self._differences(row, body, live, applied)
            unsure = not changes and self._may_be_on_its_way(row, ref, live)
            if not unsure or asked - since >= max(row.settles, TIMEOUT):
                return body, live, changes
            deeds.patience.pause(2.0)

    def _next_look(
        self, row: Row, ref: Ref, body: Body, applied: Body, acted: list[Change] | None
    ) -> tuple[Body | None, list[Change] | None]:
        """What is there after a call, and how it differs.

        What Google has accepted may show only later: read again for the documented time, do not act again.
        """
        deeds, since = self.deeds, self.deeds.clock.monotonic()
        while True:
            asked = deeds.clock.monotonic()
            live = deeds.read(row, ref)
            changes = None if live is None else self._differences(row, body, live, applied)
            if changes != acted or asked - since >= row.settles:
                return live, changes
            deeds.patience.pause(min(2.0, row.settles / 10))

    def _may_be_on_its_way(self, row: Row, ref: Ref, live: Body) -> bool:
        """Whether a run that died has begun a change of what is there, and nothing of it is to be seen."""
        record = self.deeds.known(ref)
        if record is None or record.pending is None:
            return False
        if record.pending.after is None:  # nothing shall remain, and something is there
            return True
        return bool(self._differences(row, _readable(row, record.pending.after), live, {}))

    def _never_was(self, ref: Ref) -> bool:
        record = self.deeds.known(ref)
        return record is not None and record.never_was

    def _perhaps_applied(self, row: Row, ref: Ref) -> Body:
        """What was applied, and what a run that died may have applied: else nobody would take that back.

        Not what cannot be read back: there, only what certainly was applied counts.
        """
        record = self.deeds.known(ref)
        if record is None or record.pending is None or record.pending.after is None:
            return record.body if record else {}
        after = compare.without(_readable(row, record.pending.after), record.found)
        applied = compare.united(record.body, after)
        self.deeds.journal.note(self.deeds.written(row, ref, body=applied))  # goes with the intent that replaces this
        return applied

    def _differences(self, row: Row, body: Body, live: Body, applied: Body) -> list[Change]:
        return compare.differences(body, live, applied, at_least=row.at_least, write_only=row.write_only)

    def _claim(self, row: Row, ref: Ref, body: Body, live: Body) -> None:
        """Make sure that a thing that is there is ours, or may be adopted, before it is touched.

        Also what we have made: somebody may have deleted it and put their own thing in its place.
        """
        deeds, record = self.deeds, self.deeds.known(ref)
        owner = row.step.owner(live, deeds.journal.ledger.deployment)
        if row.is_strangers(live, record, deeds.journal.ledger.deployment) and not self.adopts(ref):
            if record is not None and record.done is None:  # we were about to make one, and somebody else was faster
                deeds.forget(ref)
            since = "exists already and does not carry" if record is None else "does not carry"
            after = "" if record is None else " any more"
            differs = "; ".join(map(str, self._differences(row, body, live, {}))) or "nothing but the mark"
            raise NotOurs(
                f"{ref} {since} our mark{after} ({row.title}). What differs: {differs}",
                hint=MARK_LOST.format(ref=ref) if record and record.done else "",
            )
        if owner is Owner.FOREIGN or (owner is Owner.SHARED and record is None):
            if record is None or not record.adopted:
                deeds.journal.note(deeds.written(row, ref, adopted=True))
                deeds.log.info("resource.adopted", step=row.name, ref=ref)
        elif record is None and row.at_least:
            deeds.journal.note(deeds.written(row, ref, found=compare.shared(body, live)))

    def _as_a_guest(self, ref: Ref, body: Body) -> Body:
        """What was there before us is not marked."""
        record = self.deeds.known(ref)
        return step.unmarked(body, self.deeds.journal.ledger.deployment) if record and record.adopted else body

    def _act(
        self,
        row: Row,
        ref: Ref,
        body: Body,
        live: Body | None,
        changes: list[Change] | None,
        outcome: dict[str, object],
    ) -> Deed:
        """Make one call; the outcome of the call before it, if there was one, is written down with its intent."""
        deeds, changes = self.deeds, changes or []
        deeds.log.debug("resource.change", step=row.name, ref=ref, changes=[str(change) for change in changes])
        if live is None:
            return self._create(row, ref, body, outcome)
        deed = deeds.deed("update", ref, before=compare.managed(live, body), after=body)

        def update() -> Operation | None:
            if row.trouble is not None:
                row.trouble(deeds.gcp, ref, live)
            return row.step.update(deeds.gcp, ref, body, changes)

        try:
            return deeds.make(deed, row, ref, update, outcome)
        except CannotChangeInPlace as error:
            if not outcome:
                raise
            # What was made a moment ago: a new one under another id would come out the same.
            raise DidNotSettle(f"{ref} did not come out as declared: {'; '.join(map(str, changes))}") from error

    def _create(self, row: Row, ref: Ref, body: Body, outcome: dict[str, object]) -> Deed:
        """Make it, in the row's other way where Google asks for one."""
        deeds = self.deeds

        def make(create: Create) -> Deed:
            deed = deeds.deed("create", ref, before=None, after=body)
            return deeds.make(deed, row, ref, lambda: create(deeds.gcp, ref, body), outcome)

        try:
            return make(row.step.create)
        except Exception as error:
            if row.elsewhere is None or not retry.asks_for_another_way(error):
                raise
            deeds.log.info("resource.refused", step=row.name, ref=ref, why=str(error))
        return make(row.elsewhere)

    def _conclude(self, row: Row, ref: Ref, body: Body, live: Body, deed: Deed | None) -> None:
        deeds, record = self.deeds, self.deeds.known(ref)
        body = compare.without(body, record.found) if record else body
        settled = record is not None and record.pending is None and record.waits is None and record.done is not None
        if deed is None and record is not None and settled and record.body == body:
            return
        # What we found made already, by a run that died before it could say so, was made by its intent.
        deed = deed or (record.pending or record.done if record else None)
        deed = deed or deeds.deed("update", ref, before=compare.managed(live, body), after=body)
        # Not waited for: the intent of a dependant is durable before its call, and that save carries this outcome.
        deeds.journal.note(deeds.written(row, ref, pending=None, done=deed, body=body, waits=None))

    def _seen(self, row: Row, ref: Ref) -> Body | None:
        """What is there; also what a run that ended in the middle has made, and what does not show yet."""
        deeds, record = self.deeds, self.deeds.known(ref)
        unsure = record is not None and record.pending is not None and record.pending.verb == "create"
        until = deeds.clock.monotonic() + max(row.settles, TIMEOUT)
        while True:
            asked = deeds.clock.monotonic()  # what was asked before a pause of the whole machine is as old as that
            live = deeds.read(row, ref)
            if live is not None or not unsure or asked >= until:
                return live
            deeds.patience.pause(2.0)

    def _take_away(self, row: Row, ref: Ref, ours: list[Body], delete: Delete) -> None:
        self.deeds.patience.with_(f"removing {ref}", lambda: self._dismantle(row, ref, ours, delete), about=ref)

    def _dismantle(self, row: Row, ref: Ref, ours: list[Body], delete: Delete) -> None:
        deeds = self.deeds
        applied, begun = compare.united(*ours), deeds.clock.monotonic()
        for _ in range(ACTS):
            live = self._seen(row, ref)
            if live is None or not any(compare.remains(body, live) for body in ours):
                record = deeds.known(ref)
                if record and record.pending and (record.pending.verb, record.pending.run) == ("delete", deeds.run):
                    deeds.tell("delete", row, ref, begun)
                return
            if not self._is_ours(row, ref, live):
                raise NotOurs(
                    f"{ref}, or what it lies in, does not carry our mark any more, so it is left alone",
                    hint="Remove it yourself if nobody needs it, then run the same command again.",
                )
            deed = deeds.deed("delete", ref, before=compare.managed(live, applied), after=None)
            call = functools.partial(delete, deeds.gcp, ref, live, applied)
            deeds.make(deed, row, ref, call, {"body": applied})
        raise DidNotSettle(f"{ref} is still there after {ACTS} attempts to delete it")

    def _is_ours(self, row: Row, ref: Ref, live: Body) -> bool:
        """Whether a thing may be deleted: by its own mark, or, where it can carry none, by that of what it lies in."""
        ledger = self.deeds.journal.ledger
        if row.step.owner(live, ledger.deployment) is Owner.FOREIGN:
            return False
        if row.lies_in is None:
            return True
        outer = self.plan[row.lies_in]
        for record in ledger.records.values():
            if record.step == outer.name and ref.startswith(f"{record.ref}/"):
                around = self.deeds.read(outer, record.ref)
                return record.adopted or (around is not None and self._is_ours(outer, record.ref, around))
        return False


def _readable(row: Row, body: Body) -> Body:
    """The fields of a body that a read can show."""
    return {key: value for key, value in body.items() if key not in row.write_only}
