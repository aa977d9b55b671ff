"""What several checks want to know: each thing is asked once, when the first of them wants to know it."""

import dataclasses
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from provision import bootstrap, identity, retry, session
from provision.clock import Clock
from provision.config import Config
from provision.deployment import Deployment
from provision.engine import deployment_of
from provision.gcp import Gcp
from provision.inspect import Inspector
from provision.plan import Plan, Row
from provision.step import Body, FactsUnknown, Ref
from state.ledger import Ledger

T = TypeVar("T")

Json = dict[str, Any]


class fact(Generic[T]):  # noqa: N801 - it is written like property
    """A property that is asked once, by who wants to know it first; the others wait for the answer, or the error."""

    def __init__(self, ask: "Callable[[Facts], T]") -> None:
        self._ask = ask
        self.__doc__ = ask.__doc__

    def __get__(self, facts: "Facts", owner: type | None = None) -> T:
        return facts.once(self._ask.__name__, lambda: self._ask(facts))


@dataclasses.dataclass
class Facts:
    """The deployment that is looked at, and what is known of it.

    Args:
        gcp: The clients.
        settings: What the user wants.
        plan: The table of steps.
        clock: Whose time passes.
        look_up: Reads the ledger, given who tells the project; None when there is none yet.
        state: Where the user says that the ledger is; None leaves it to the program.
        adopts: The refs that the user has said to take over.
        replaces: The refs of which the user has said to make others.
    """

    gcp: Gcp
    settings: Config
    plan: Plan
    clock: Clock
    look_up: Callable[[Callable[[], bootstrap.Project]], Ledger | None]
    state: str | None = None
    adopts: Callable[[Ref], bool] = lambda ref: False
    replaces: Collection[Ref] = ()

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Future[Any]] = {}

    def once(self, name: str, ask: Callable[[], T]) -> T:
        """What is known under a name; it is asked when nobody has asked yet."""
        with self._lock:
            first = name not in self._known
            known: Future[T] = self._known.setdefault(name, Future())
        if first:
            try:
                known.set_result(ask())
            except BaseException as error:  # noqa: BLE001 - it is raised again, here and wherever else it is asked
                known.set_exception(error)
        return known.result()

    @fact
    def runner(self) -> str:
        """The IAM member that runs the command; empty when Google does not say."""
        return identity.asked(self.gcp)

    @fact
    def project(self) -> bootstrap.Project:
        """The project as Google knows it; only its number where Resource Manager is off; see bootstrap.look_at."""
        try:
            return bootstrap.look_at(self.gcp)
        except Exception as error:
            if not retry.is_off_here(error):
                raise
            return bootstrap.look_at_its_services(self.gcp)

    @fact
    def ledger(self) -> Ledger | None:
        """The ledger, None when there is none yet."""
        return self.look_up(lambda: self.project)

    def has_begun(self) -> bool:
        """Whether there is a ledger by now: of what is there nobody knows whose it is when it came after the look."""
        return self.look_up(lambda: self.project) is not None

    @fact
    def planned_in(self) -> Ledger:
        """The ledger, or the one that a first run would make."""
        try:
            known = self.ledger
        except Exception:  # noqa: BLE001 - told by the check of the ledger
            known = None
        return known or session.first_ledger(self.project, self.settings)

    @fact
    def deployment(self) -> Deployment:
        """What the steps declare from."""
        return deployment_of(self.settings, self.planned_in)

    @fact
    def ledger_bucket(self) -> str:
        """The bucket that holds the ledger, or will; empty when it is a file of this machine."""
        if self.state is None:
            return bootstrap.state_bucket(self.project)
        return self.state.removeprefix("gs://").partition("/")[0] if self.state.startswith("gs://") else ""

    @fact
    def declared(self) -> dict[str, dict[Ref, Body]]:
        """By row, what should exist; by an empty ref where that hangs on what is not made yet."""
        facts = Inspector(self.plan, self.gcp, self.planned_in, self.clock).known_facts()
        found: dict[str, dict[Ref, Body]] = {}
        for row in self.plan:
            try:
                found[row.name] = row.step.declare(self.deployment, facts)
            except FactsUnknown:
                found[row.name] = {"": {}}
        return found

    def declares(self, row: Row) -> bool:
        """Whether a row has anything to do at all."""
        return bool(self.declared[row.name])

    @fact
    def ahead(self) -> list[tuple[Row, Ref, Body]]:
        """What is declared and was not made yet, as far as the ledger knows."""
        records = self.planned_in.records
        return [
            (row, ref, body)
            for row in self.plan
            for ref, body in self.declared[row.name].items()
            if (record := records.get(ref)) is None or not (record.done or record.adopted)
        ]

    @fact
    def unbegun(self) -> list[tuple[Row, Ref, Body]]:
        """Of what is ahead, what no run has begun to make: whatever was begun may count as used already."""
        records = self.planned_in.records
        return [item for item in self.ahead if (record := records.get(item[1])) is None or record.pending is None]

    def makes(self, *names: str) -> bool:
        """Whether something of these rows is still to be made."""
        return any(row.name in names for row, _, _ in self.ahead)

    @fact
    def services(self) -> dict[str, str]:
        """By API that the plan needs, in short, whether it is ``ENABLED`` or ``DISABLED``."""
        ref = f"projects/{self.project.number}/services"
        live = self.plan["apis"].step.read(self.gcp, ref) or {}
        return dict(live["services"])

    @fact
    def application(self) -> Json | None:
        """The project's App Engine application, None when there is none yet."""
        return self.present(lambda: self.gcp.appengine.apps().get(appsId=self.settings.project).execute())

    @fact
    def ancestors(self) -> list[str]:
        """What the project lies in, innermost first, as ``folders/N`` and ``organizations/N``."""
        calls = self.gcp.resources.projects()
        found = calls.getAncestry(projectId=self.settings.project, body={}).execute().get("ancestor", [])
        return [f"{item['resourceId']['type']}s/{item['resourceId']['id']}" for item in found[1:]]

    @fact
    def organization(self) -> Json | None:
        """The organization that the project belongs to, as it describes itself; None when it belongs to none."""
        names = [name for name in self.ancestors if name.startswith("organizations/")]
        return dict(self.gcp.resources.organizations().get(name=names[0]).execute()) if names else None

    def present(self, ask: Callable[[], Json]) -> Json | None:
        """An answer, None where there is nothing under the name that was asked for."""
        try:
            return ask()
        except Exception as error:
            if retry.absent(error):
                return None
            raise
