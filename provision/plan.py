"""The table of steps as data: which row needs which, checked when it is built."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from provision.config import Config
from provision.deployment import Deployment
from provision.errors import BeyondRepair
from provision.gcp import Gcp
from provision.step import Body, Contents, Create, Delete, Owner, Ref, Step, Told, Trouble
from state.ledger import Ledger, Record


@dataclass(frozen=True)
class Row:
    """One step and what the engine must know of it.

    Args:
        step: The module.
        needs: Rows above it that must be done first.
        at_least: Fields, dotted, of which the cloud may hold more than we declare: a number may be larger, a list or a
            policy's bindings may hold foreign items.
        write_only: Fields, dotted, that the API never returns; compared with what the ledger says we applied last.
        settles: Seconds within which a change that Google has accepted shows in a read, as documented.
        dies_with: The row whose deletion takes this one along.
        keep_older: How many resources that are not declared any more are kept beside those that are.
        data: Holds data of the users: `down` keeps it unless it is empty or --delete-data is given.
        renews: What cannot be changed in place is made anew under the next id instead of refused.
        final: Why one that was deleted cannot be made again as it was, by a rollback; None when it can.
        lies_in: The row in whose resource it lies, without going with it: whose that is decides whose this is.
        awaits: Rows that it waits for by itself at run time: when one fails, its own end is not waited for.
        once: Its name cannot be used a second time: what is gone is made anew under the next id.
        refused: The verb to go on with when the step's own delete goes on failing in a way that asks for it.
        elsewhere: The verb to go on with when the step's own create is not possible where it would be done.
        told: Tells what to add to the error of an operation that failed.
        trouble: Tells what is wrong with it before it is updated; raises BeyondRepair when no update would help.
        kept: Tells, when it is applied, why `down` must keep it; None when it need not.
        foresees: Raises what would stop it later on, before anything is made.
    """

    step: Step
    needs: tuple[str, ...] = ()
    at_least: tuple[str, ...] = ()
    write_only: tuple[str, ...] = ()
    settles: float = 0
    dies_with: str | None = None
    keep_older: int = 0
    data: bool = False
    renews: bool = False
    once: bool = False
    refused: Delete | None = None
    elsewhere: Create | None = None
    told: Told | None = None
    trouble: Trouble | None = None
    kept: Callable[[Deployment], str | None] | None = None
    final: str | None = None
    lies_in: str | None = None
    awaits: tuple[str, ...] = ()
    foresees: Callable[[Gcp, Config], None] | None = None

    @property
    def name(self) -> str:
        """The module's own name, as the ledger knows the step."""
        return self.step.__name__.rpartition(".")[2]

    @property
    def title(self) -> str:
        """What the row makes, for the user: the first line of the module's docstring."""
        return (self.step.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @property
    def has_ids(self) -> bool:
        """Whether a new one can be there beside the old one, under an id of its own."""
        return self.renews or self.once

    def data_in(self, gcp: Gcp, record: Record) -> Contents | None:
        """Ask what data of the users lies in something that this row has made; None when there is none."""
        contents = self.step.contents(gcp, record.ref) if self.data and not record.adopted else None
        return contents if contents and contents.objects else None

    def is_strangers(self, live: Body, record: Record | None, deployment_id: str) -> bool:
        """Whether what is there is somebody else's: without our mark, and never taken over."""
        return self.step.owner(live, deployment_id) is Owner.FOREIGN and not (record and record.adopted)

    def is_stillborn(self, error: BeyondRepair, record: Record | None) -> bool:
        """Whether what is beyond repair never came to be, so that another one takes its place.

        The ledger may be an older one: that it never worked is Google's to say, too.
        """
        return self.has_ids and error.never_was and record is not None and record.never_was

    def obsolete(self, ledger: Ledger, declared: Collection[Ref]) -> list[Record]:
        """What the next `up` takes away: recorded, ours, not declared any more, and not among the newest to be kept."""
        recorded = [record for record in ledger.records.values() if record.step == self.name]
        older = [record for record in recorded if record.ref not in declared]
        older.sort(key=lambda record: record.done.serial if record.done else 0, reverse=True)
        return [record for record in older[self.keep_older :] if not (record.adopted or record.protected)]


def row(
    step: Step,
    *needs: Step,
    at_least: tuple[str, ...] = (),
    write_only: tuple[str, ...] = (),
    settles: float = 0,
    dies_with: Step | None = None,
    keep_older: int = 0,
    data: bool = False,
    renews: bool = False,
    once: bool = False,
    refused: Delete | None = None,
    elsewhere: Create | None = None,
    told: Told | None = None,
    trouble: Trouble | None = None,
    kept: Callable[[Deployment], str | None] | None = None,
    final: str | None = None,
    lies_in: Step | None = None,
    awaits: tuple[Step, ...] = (),
    foresees: Callable[[Gcp, Config], None] | None = None,
) -> Row:
    """Write one line of the table; see Row for the arguments."""
    within = lies_in or dies_with
    return Row(
        step=step,
        needs=tuple(_name(other) for other in needs),
        at_least=at_least,
        write_only=write_only,
        settles=settles,
        dies_with=_name(dies_with) if dies_with else None,
        keep_older=keep_older,
        data=data,
        renews=renews,
        once=once,
        refused=refused,
        elsewhere=elsewhere,
        told=told,
        trouble=trouble,
        kept=kept,
        final=final,
        lies_in=_name(within) if within else None,
        awaits=tuple(_name(other) for other in awaits),
        foresees=foresees,
    )


class Plan:
    """All rows in order: read downwards for `up`, upwards for `down`.

    Raises:
        ValueError: A row stands twice, needs a row that is not above it, or has no docstring.
    """

    def __init__(self, rows: tuple[Row, ...]) -> None:
        self.rows: dict[str, Row] = {}
        for line in rows:
            if line.name in self.rows:
                raise ValueError(f"{line.name} stands in the table twice")
            above = {*line.needs, *line.awaits, *filter(None, (line.dies_with, line.lies_in))}
            if missing := sorted(above - self.rows.keys()):
                raise ValueError(f"{line.name} needs {', '.join(missing)}, which must stand above it")
            if not line.title:
                raise ValueError(f"{line.name} has no docstring to tell the user what it makes")
            self.rows[line.name] = line

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def __getitem__(self, name: str) -> Row:
        return self.rows[name]

    def unknown(self, ledger: Ledger) -> list[Record]:
        """What the ledger holds of rows that this version of the program does not have."""
        return [record for record in ledger.records.values() if record.step not in self.rows]

    def why_unknown(self, record: Record) -> str:
        """What to say of a record of a row that this version of the program does not have; "" where it has it."""
        if record.step in self.rows:
            return ""
        return f"Made by the step {record.step}, which this version of the program does not have."

    def needs(self) -> dict[str, tuple[str, ...]]:
        """The graph: by row name, the names of the rows that it needs."""
        return {line.name: line.needs for line in self}

    def dependants(self) -> dict[str, tuple[str, ...]]:
        """The graph the other way round: by row name, what needs it or lies in it, and goes before it."""
        return {
            line.name: tuple(
                other.name for other in self if line.name in {*other.needs, other.lies_in, other.dies_with}
            )
            for line in self
        }

    def above(self, name: str) -> set[str]:
        """All rows that a row needs, also through others."""
        return set(self[name].needs).union(*(self.above(other) for other in self[name].needs))

    def around(self, name: str) -> set[str]:
        """All rows with whose deletion a row goes."""
        outer = self[name].dies_with
        return {outer, *self.around(outer)} if outer else set()

    def is_protected(self, name: str, protect: Collection[str]) -> bool:
        """Whether settings that protect some rows forbid to delete what this one makes: it, or what it goes with."""
        return not {name, *self.around(name)}.isdisjoint(protect)

    def inside(self, name: str) -> set[str]:
        """All rows that go when a row is deleted."""
        return {line.name for line in self if name in self.around(line.name)}

    def lying_in(self, names: Collection[str]) -> set[str]:
        """All rows that lie in some rows, also through others."""
        found = set(names)
        for line in self:  # what a row lies in stands above it
            if line.lies_in in found:
                found.add(line.name)
        return found - set(names)

    def with_needs(self, names: Collection[str]) -> set[str]:
        """Some rows and all that they need."""
        return set(names).union(*map(self.above, names))

    def with_dependants(self, names: Collection[str]) -> set[str]:
        """Some rows and all that need them, or lie in them."""
        found = set(names)
        for line in self:  # what a row needs, and what it lies in, stands above it
            if not found.isdisjoint({*line.needs, line.lies_in}):
                found.add(line.name)
        return found


def _name(step: Step) -> str:
    return step.__name__.rpartition(".")[2]
