"""Watches every change that lands, as nobody in the story can, and says which promise was broken."""

from provision.compare import managed
from state import journal
from state.holder import Holder
from state.lock import MARGIN
from tests.simulation.cloud import KINDS, SERVICE, kind_of
from tests.simulation.table import POLICY

ROUNDED = 1.0
"""Seconds by which the server's clock, which has no fractions, may be behind."""


class Judge:
    """Knows who may do what at each moment.

    Args:
        scheduler: whose time it is.
    """

    def __init__(self, scheduler):
        self._scheduler = scheduler
        self.failures = []
        self.strays = []
        """Requests that landed outside of their run's lease, as the fault model allows."""
        self.store = self.cloud = None  # set by the story
        self._overtaken, self._saver = set(), None
        self._strayed, self._late = set(), set()
        self._first = {}
        self._read = self._ledger = None

    def fail(self, what):
        """Note a broken promise."""
        self.failures.append(f"at {self._scheduler.now:.1f} s: {what}")

    @property
    def ledger(self):
        """The ledger as it is saved, None when there is none."""
        blob = self.store.blobs.get("ledger.json")
        if blob is not self._read:
            self._read, self._ledger = blob, None if blob is None else journal.loads(blob[0], "ledger.json")
        return self._ledger

    # Ledger and lease

    def stored(self, flight, name, data):
        """A write of ledger or lease is about to land; None deletes."""
        if name == "lease.json":
            self._leased(flight.process, data)
        elif name == "ledger.json":
            self._saved(flight.process)

    def _saved(self, process):
        if process in self._overtaken:
            self.fail(f"{process.name} saved the ledger though {self._saver.name} had taken over")
        if self._saver not in {None, process}:
            self._overtaken.add(self._saver)
        self._saver = process

    def _leased(self, process, data):
        holder, quiet = self._holder()
        if holder is None:
            return
        if data is None and holder.owner != process.name:
            self.fail(f"{process.name} deleted the lease of {holder.owner}")
        if data is not None and Holder.read(data).owner != holder.owner:
            left = holder.ttl + MARGIN - ROUNDED - quiet
            if left > 0 and not process.knows_dead(holder):
                self.fail(f"{process.name} took the lease of {holder.owner}, which had {left:.0f} s left")

    def _holder(self):
        if "lease.json" not in self.store.blobs:
            return None, 0.0
        data, _, updated = self.store.blobs["lease.json"]
        return Holder.read(data), (self.store.now() - updated).total_seconds()

    # The cloud

    def tries_to_make(self, ref):
        """A run found nothing under this name, and is about to make it."""
        self._first.setdefault((self._scheduler.task.process, ref), "create")

    def changed(self, flight, verb, ref):
        """A change is about to have its effect."""
        holder, _ = self._holder()
        process, thing = flight.process, self.cloud.things.get(ref)
        if verb != "create" and thing is not None and thing.by is None and not ref.startswith("apps/"):
            self.fail(f"{process.name} touched a stranger's thing: {verb} {ref}")
        if holder is None or holder.owner != process.name:
            self._stray(flight, verb, ref, holder)
            return
        first = self._first.setdefault((process, ref), verb)
        if flight.fate == "late":
            self._late.add(ref)  # it may come between another request of its run and what that one was made from
        else:
            self._intended(process, verb, ref, first)

    def _stray(self, flight, verb, ref, holder):
        process = flight.process
        self.strays.append((verb, ref))
        if not flight.may_stray:
            self.fail(f"{verb} {ref} by {process.name}, while {holder.owner if holder else 'nobody'} holds the lease")
        if flight.stalled and flight.thread in self._strayed:
            self.fail(f"{verb} {ref} is the second request of the same thread of {process.name} after its lease")
        self._strayed.add(flight.thread)

    def _intended(self, process, verb, ref, first):
        record = self.ledger.records.get(ref)
        pending = record.pending if record else None
        verbs = {"create", "update", "delete"} if ref == POLICY else {verb}
        if pending is None or pending.verb not in verbs:
            self.fail(f"{verb} {ref} by {process.name} has no intent in the ledger")
        elif first == "update" and pending.before is None:
            self.fail(f"update {ref} by {process.name} has no image of what was there before")
        elif verb == "update" and first == "update" and self._first.pop((process, ref)):
            self._first[process, ref] = "seen"
            self._same_image(ref, pending)

    def _same_image(self, ref, pending):
        thing = self.cloud.things[ref]
        if ref in self._late or KINDS[kind_of(ref)].lag:
            return
        actual, noted = (managed(body, thing.body) for body in (thing.body, pending.before))
        if any(noted[key] != actual[key] for key in noted):
            self.fail(f"the image of {ref} before its update is {noted}, and it was {actual}")

    def unnamed(self):
        """Operations under way of which the ledger does not know: their names were lost with a run or an answer."""
        records = self.ledger.records.values() if self.ledger else ()
        known = {record.pending.operation for record in records if record.pending}
        under_way = (name for name, answer in self.cloud.operations.items() if not answer["done"])
        return [name for name in under_way if SERVICE + name not in known]

    def polled(self, flight, operation):
        """A run asks whether an operation is over."""
        holder, _ = self._holder()
        if holder is None or holder.owner != flight.process.name or flight.process in self._overtaken:
            return
        known = [record.pending.operation for record in self.ledger.records.values() if record.pending]
        if operation not in known:
            self.fail(f"{flight.process.name} waits for {operation}, which the ledger does not name")
