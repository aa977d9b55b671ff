"""Ways to break what is ours, one small class each: the simulation must find every one of them."""

import contextlib

from provision import refusals
from provision.convergence import Convergence
from provision.deeds import Deeds
from provision.step import Owner
from state.errors import Conflict
from state.journal import Journal
from state.lock import Lease
from tests.simulation.runs import ALL_REAL, Classes


class IntentAfterTheCall(Journal):
    """An intent is only noted, and saved with whatever is saved next."""

    def commit(self, change):
        self.note(change)


class GenerationIgnored(Journal):
    """A save replaces whatever is there."""

    def _try_to_save(self, ledger):
        blob = self._store.get(self._name)
        self._generation = blob.generation if blob else 0
        return super()._try_to_save(ledger)

    def _arrived(self, ledger):
        return None


class OpenedWithoutTheLease(Journal):
    """A ledger is taken over without asking whether the lease still holds."""

    def open(self, run, initial, instead=None, check=None):
        return super().open(run, initial, instead)


class NeverRenewed(Lease):
    """No sign of life is given, and the run trusts in its lease all the same."""

    def beat(self):
        return 15.0

    def check(self):
        pass


class NeverChecked(Lease):
    """Signs of life are given, and nobody asks what came of them."""

    def check(self):
        pass


class TakenOverByDeleting(Lease):
    """What has run out is deleted, whatever it is by then, and made anew."""

    def _write(self, generation):
        if generation and not self._generation:
            blob = self._store.get(self._name)
            if blob is not None:
                with contextlib.suppress(Conflict):
                    self._store.delete(self._name, blob.generation)
            generation = 0
        super()._write(generation)


class NotGivenBack(Lease):
    """The lease stays behind when the run has ended."""

    def release(self):
        self._ended.set()
        self._lose("it was forgotten")


class WithoutMargin(Lease):
    """A lease is taken as soon as its time is up, though a request of its holder may be under way."""

    def _may_take(self, locked):
        return super()._may_take(locked) or locked.quiet > 40


@contextlib.contextmanager
def altered(kind, name, value):
    """One attribute of a class is another for a while."""
    before = kind.__dict__[name]
    setattr(kind, name, value)
    try:
        yield
    finally:
        setattr(kind, name, before)


def _no_intent(deeds, deed, row, ref, call, outcome):
    operation = call()
    if operation is not None:
        deeds._wait(row, operation)
    return deed


def _operation_not_journaled(deeds, row, ref, operation):
    if operation is not None:
        deeds._wait(row, operation)


def _without_before(make):
    def deed(self, verb, ref, before, after):
        return make(self, verb, ref, None, after)

    return deed


def _everything_is_ours(claim):
    def without_marks(convergence, row, ref, body, live):
        if row.step.owner(live, convergence.deeds.journal.ledger.deployment) is not Owner.FOREIGN:
            claim(convergence, row, ref, body, live)

    return without_marks


def _nothing_was_before_us(claim):
    def without_found(convergence, row, ref, body, live):
        if not row.at_least:
            claim(convergence, row, ref, body, live)

    return without_found


def _sent_again(make):
    def make_it(deeds, deed, row, ref, call, outcome):
        def twice():
            try:
                return call()
            except Exception as error:
                if refusals.refusal_of(error) is None:
                    raise
                return call()

        return make(deeds, deed, row, ref, twice, outcome)

    return make_it


def _added_twice(make):
    def make_it(deeds, deed, row, ref, call, outcome):
        def twice():
            if deed.verb == "create" and "/versions/" in ref:
                call()
            return call()

        return make(deeds, deed, row, ref, twice, outcome)

    return make_it


def _conflict_is_success(settle):
    def settled(convergence, row, ref, body):
        try:
            return settle(convergence, row, ref, body)
        except Exception as error:
            refusal = refusals.refusal_of(error)
            if refusal is None or refusal.status != 409:
                raise
            convergence._conclude(row, ref, body, body, None)
            return body

    return settled


def _nothing_to_resume(deeds, row, ref):
    pass


# By name: what runs are made of, what is altered of the engine meanwhile, and in which words it is found.
TABLE = {
    "an intent is saved after its call": (Classes(journal=IntentAfterTheCall), None, "has no intent in the ledger"),
    "a save ignores the generation": (Classes(journal=GenerationIgnored), None, "saved the ledger though"),
    "a ledger is opened without the lease": (Classes(journal=OpenedWithoutTheLease), None, "saved the ledger though"),
    "the lease is never renewed": (Classes(lease=NeverRenewed), None, "holds the lease"),
    "the lease is never checked": (Classes(lease=NeverChecked), None, "holds the lease"),
    "the lease is taken over by deleting it": (Classes(lease=TakenOverByDeleting), None, "deleted the lease of"),
    "the lease is not given back": (Classes(lease=NotGivenBack), None, "there still is a lease"),
    "the lease is taken before its margin": (Classes(lease=WithoutMargin), None, "took the lease of"),
    "there is no intent": (ALL_REAL, (Deeds, "make", _no_intent), "has no intent in the ledger"),
    "operations are not journaled": (
        ALL_REAL,
        (Deeds, "_follow", _operation_not_journaled),
        "which the ledger does not name",
    ),
    "operations are not waited for again": (
        ALL_REAL,
        (Deeds, "resume", _nothing_to_resume),
        "an operation is still under way",
    ),
    "a request that changes something is sent again": (
        ALL_REAL,
        (Deeds, "make", _sent_again(Deeds.make)),
        "the ledger does not know of",
    ),
    "a version of a secret is added twice": (
        ALL_REAL,
        (Deeds, "make", _added_twice(Deeds.make)),
        "the ledger does not know of",
    ),
    "409 is taken for success": (
        ALL_REAL,
        (Convergence, "_settle", _conflict_is_success(Convergence._settle)),
        "ended with GoogleRefused",
    ),
    "the image of before is missing": (
        ALL_REAL,
        (Deeds, "deed", _without_before(Deeds.deed)),
        "has no image of what was there before",
    ),
    "the mark is ignored": (
        ALL_REAL,
        (Convergence, "_claim", _everything_is_ours(Convergence._claim)),
        "touched a stranger's thing",
    ),
    "what was before us is forgotten": (
        ALL_REAL,
        (Convergence, "_claim", _nothing_was_before_us(Convergence._claim)),
        "the policy lacks",
    ),
}
