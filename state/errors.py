"""What can go wrong between a run and its ledger.

Each docstring finishes the sentence "this is raised when". The messages say what happened and why; the command line,
which knows its own commands, adds what to type next.
"""

from state.holder import Holder


class StateError(Exception):
    """Anything of the below went wrong."""


# Stores: what one request came to. Journal and lease deal with these, and let out only what they cannot mend.


class Conflict(StateError):
    """A write named a generation that is no longer the one that is there."""

    def __init__(self, name: str, generation: int) -> None:
        super().__init__(f"{name} is not at generation {generation} any more: somebody else has written it.")
        self.name = name
        self.generation = generation


class Unclear(StateError):
    """A write may or may not have happened, or a read got no answer."""

    def __init__(self, name: str, cause: object) -> None:
        super().__init__(f"No clear answer for {name}: {cause}")
        self.name = name


class TooFast(StateError):
    """The store asks for fewer writes a second, or is busy with another writer."""

    def __init__(self, name: str, cause: object) -> None:
        super().__init__(f"{name} takes no more writes just now: {cause}")
        self.name = name


# The ledger


class NotSaved(StateError):
    """The ledger could not be saved, also after waiting; the change is kept in memory and goes with the next save."""

    def __init__(self, name: str, cause: BaseException) -> None:
        super().__init__(f"{name} could not be saved: {cause}")
        self.name = name
        self.cause = cause


class Fenced(StateError):
    """Another run has saved the ledger since, so that nothing more may be done in the name of this one."""

    def __init__(self, run: str, by: str) -> None:
        super().__init__(f"Run {run} was overtaken: {by} has written the ledger since. This run changes nothing more.")
        self.run = run
        self.by = by


class NewerSchema(StateError):
    """The ledger was written by a newer release, whose meaning this one might destroy."""

    def __init__(self, name: str, found: int, known: int) -> None:
        super().__init__(f"{name} has schema {found}, and this release knows schemas up to {known}.")
        self.found = found
        self.known = known


class Moved(StateError):
    """The ledger is in another place by now, and this one only says where."""

    def __init__(self, name: str, to: str) -> None:
        super().__init__(f"{name} has moved to {to}.")
        self.to = to


class DamagedLedger(StateError):
    """The ledger is cut off, is no JSON, or is not what was once saved."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} is damaged: {why}.")
        self.name = name
        self.why = why


class LostLedger(StateError):
    """The ledger is gone and its history is there: what removes a ledger on purpose removes the history first."""

    def __init__(self, name: str, newest: int) -> None:
        super().__init__(f"{name} is gone, but ledgers up to serial {newest} lie in its history.")
        self.newest = newest


# The lease


class Locked(StateError):
    """Another run holds the lease.

    Attributes:
        holder: who that is, as the lease says.
        quiet: seconds since its last sign of life, by the server's clock.
        expires_in: seconds until the lease may be taken over if no further sign comes.
    """

    def __init__(self, holder: Holder, quiet: float, expires_in: float) -> None:
        doing = f"; it is at: {holder.doing}" if holder.doing else ""
        super().__init__(
            f"{holder.who} on {holder.host} (process {holder.pid}) is at work with run {holder.run}, "
            f"and was last heard of {quiet:.0f} s ago{doing}."
        )
        self.holder = holder
        self.quiet = quiet
        self.expires_in = expires_in


class LeaseLost(StateError):
    """This run's lease is lost, or too near its end to begin another request."""

    def __init__(self, why: str) -> None:
        super().__init__(f"This run holds the deployment no longer: {why}. It starts nothing more.")
        self.why = why
