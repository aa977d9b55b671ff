"""Makes a lost ledger anew from the cloud alone, by our mark.

The ids that names are made of, salt and counters, are found by trying: those are right under which the table declares
what is there. What is live and ours becomes a record with the fields as they are. What only a ledger can know is taken
for what it most probably was, and told in docs/reference/ledger.md.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provision import compare, session, step, traces
from provision.bootstrap import Project
from provision.clock import Clock
from provision.config import Config
from provision.deployment import Deployment
from provision.errors import BadConfig, BadUsage, NothingDeployed
from provision.gcp import Gcp
from provision.inspect import Inspector
from provision.plan import Plan, Row
from provision.step import Body, FactBook, FactsUnknown, Owner, Ref
from provision.traces import Trace
from state.ledger import Deed, Ledger, Record

HIGHEST_COUNT = 200
"""New ids of one row that are looked for."""

_SALT = re.compile(r"(?<=-)[a-z][a-z0-9]{3}(?![a-z0-9])")
_SOMEBODY = "user:somebody@example.com"


@dataclass(frozen=True)
class Discovery:
    """The deployment whose ledger is lost, as far as names and marks tell.

    Args:
        project: Its project.
        config: The settings, in its region.
        deployment: Its id.
        salt: The suffix of its names.
        traces: What carries its mark.
    """

    project: Project
    config: Config
    deployment: str
    salt: str
    traces: tuple[Trace, ...]


def discover(
    plan: Plan,
    gcp: Gcp,
    clock: Clock,
    project: Project,
    config: Config,
    wanted: str | None = None,
    *,
    region_is_set: bool,
) -> Discovery:
    """Find the deployment that settings can mean.

    Args:
        plan: The table.
        gcp: The clients.
        clock: Whose time passes.
        project: The project.
        config: The settings; their env is what names are made of.
        wanted: The deployment's id, None for the only one.
        region_is_set: Whether the user has said the region, so that another one is a contradiction.

    Raises:
        NothingDeployed: Nothing in the project carries our mark.
        BadUsage: There are several, or the one that is wanted is not there.
        BadConfig: The settings say another region.
    """
    everything = traces.found(gcp, clock, project.number)
    by_id: dict[str, list[Trace]] = {}
    for trace in everything:
        by_id.setdefault(trace.deployment, []).append(trace)
    if not by_id:
        raise NothingDeployed(
            f"Nothing in project {project.id} carries our mark.", hint="Name another project with --project, or run up."
        )
    if wanted is not None and wanted not in by_id:
        raise BadUsage(f"Nothing in project {project.id} carries the mark of deployment {wanted}; {_all_of(by_id)}.")
    found = {name: _narrowed(plan, project, config, name, by_id[name]) for name in by_id if wanted in {None, name}}
    fitting = [one for one, matches in found.values() if matches]
    if len(fitting) != 1:
        some = "several deployments" if fitting else f"nothing under the names of env {config.env!r}"
        raise BadUsage(
            f"There are traces of {some} in project {project.id}; {_all_of(by_id)}.",
            hint="Say which one with --deployment, or its environment with --env.",
        )
    (one,) = fitting
    if region_is_set and one.config.region != config.region:
        raise BadConfig(f"region = {config.region!r}, but deployment {one.deployment} lies in {one.config.region}.")
    return one


def _narrowed(plan: Plan, project: Project, config: Config, deployment: str, own: list[Trace]) -> tuple[Discovery, int]:
    """The region and the salt of one deployment, and how many of its traces the table then declares."""
    regions = Counter(trace.region for trace in own if trace.region).most_common(1)
    config = config.model_copy(update={"region": regions[0][0]}) if regions else config
    refs = {trace.ref for trace in own}
    new = session.new_salt()
    salts = [new, *sorted({salt for ref in refs for salt in _SALT.findall(ref)})]
    matches = {
        salt: len(refs & _declared(plan, Deployment(config, deployment, salt, project.number))) for salt in salts
    }
    best = max(salts, key=lambda salt: matches[salt])  # the first of equals: a new one when nothing tells the old
    return Discovery(project, config, deployment, best, tuple(own)), matches[best]


def _declared(plan: Plan, deployment: Deployment) -> set[Ref]:
    """The names that need no facts; enough to tell a deployment by."""
    refs: set[Ref] = set()
    for row in plan:
        try:
            refs |= row.step.declare(deployment, FactBook()).keys()
        except FactsUnknown:
            continue
    return refs


def _all_of(by_id: Mapping[str, list[Trace]]) -> str:
    told = (f"{name} ({len(own)} things, such as {min(trace.ref for trace in own)})" for name, own in by_id.items())
    return f"there are: {', '.join(sorted(told))}"


@dataclass
class Rebuilding:
    """Reads what is there, row by row, and makes a ledger of it; nothing is changed.

    Args:
        plan: The table.
        gcp: The clients.
        found: The deployment.
        clock: Whose time passes.
        run: The run that the records say has made them.
    """

    plan: Plan
    gcp: Gcp
    found: Discovery
    clock: Clock
    run: str
    not_ours: list[Ref] = field(default_factory=list)
    """What has a name that we use, and not our mark."""

    def ledger(self) -> Ledger:
        """The ledger, as it would be saved."""
        self.not_ours.clear()
        self._facts = FactBook()
        self._ledger = Ledger(
            deployment=self.found.deployment,
            salt=self.found.salt,
            env=self.found.config.env,
            project=self.found.project.id,
            project_number=self.found.project.number,
            region=self.found.config.region,
        )
        self._inspector = Inspector(self.plan, self.gcp, self._ledger, self.clock)
        for row in self.plan:
            self._count(row)
            self._enter(row)
            self._enter_older(row)
        return self._ledger

    def _deployment(self, runners: list[str] | None = None, counters: Mapping[str, int] | None = None) -> Deployment:
        known = self._ledger
        who = tuple(known.runners if runners is None else runners)
        numbers = {**known.counters, **(counters or {})}
        return Deployment(self.found.config, known.deployment, known.salt, known.project_number, numbers, who)

    def _bodies(self, row: Row, deployment: Deployment) -> dict[Ref, Body]:
        try:
            return row.step.declare(deployment, self._facts)
        except FactsUnknown:  # what it needs is not there, or another one than the settings would make
            return {}

    def _count(self, row: Row) -> None:
        """Find how many ids the row has needed: the highest under which something is there."""
        refs = {trace.ref for trace in self.found.traces}
        counts = range(HIGHEST_COUNT)
        names = [set(self._bodies(row, self._deployment(counters={row.name: count}))) for count in counts]
        fitting = [count for count in counts if not refs.isdisjoint(names[count])]
        if fitting and fitting[-1] and names[0] != names[-1]:
            self._ledger.counters[row.name] = fitting[-1]

    def _enter(self, row: Row) -> None:
        if not self._lies_in_ours(row):
            return
        bodies = self._bodies(row, self._deployment())
        of_runners = bodies != self._bodies(row, self._deployment([_SOMEBODY]))
        for ref in bodies:
            live = self._inspector.read(row, ref)
            if live is None:
                continue
            if of_runners:
                self._find_runners(bodies[ref], live)
                bodies = self._bodies(row, self._deployment())
            owner = row.step.owner(live, self._ledger.deployment)
            if owner is Owner.FOREIGN:
                self.not_ours.append(ref)
            elif owner is Owner.SHARED or row.step.owner is not step.by_parent or compare.remains(bodies[ref], live):
                self._record(row, ref, _applied(row, bodies[ref], live), adopted=self._was_there(row, owner))
                self._learn(row, live)

    def _enter_older(self, row: Row) -> None:
        """What earlier settings have made and no name declares any more: `up` and `down` then deal with it as ever."""
        older = [trace for trace in self.found.traces if trace.row == row.name]
        for order, trace in enumerate(sorted(older, key=lambda trace: trace.made), start=1):
            live = None if trace.ref in self._ledger.records else self._inspector.read(row, trace.ref)
            if live is not None and row.step.owner(live, self._ledger.deployment) is Owner.OURS:
                self._record(row, trace.ref, live, serial=order)
                if row.name not in self._ledger.facts:
                    self._learn(row, live)

    def _lies_in_ours(self, row: Row) -> bool:
        """Whether what the row's things lie in is recorded and ours; true when they lie in nothing."""
        outer = row.dies_with or row.lies_in
        return outer is None or any(
            record.step == outer and not record.adopted for record in self._ledger.records.values()
        )

    def _was_there(self, row: Row, owner: Owner) -> bool:
        """Whether something that nobody owns counts as older than we are.

        Unless what it waits for is ours: then it was switched on after that was made, so by us.
        """
        if owner is not Owner.SHARED:
            return False
        return not any(record.step in row.needs and not record.adopted for record in self._ledger.records.values())

    def _find_runners(self, body: Body, live: Body) -> None:
        """Who may do more than the settings say has run `up`; nothing else tells."""
        declared, there = set(_items(body)), _items(live)
        people = {item for item in there if item not in declared and item.startswith(("user:", "serviceAccount:"))}
        self._ledger.runners = sorted({*self._ledger.runners, *people})

    def _record(self, row: Row, ref: Ref, body: Body, *, adopted: bool = False, serial: int | None = None) -> None:
        at = self.clock.now().isoformat(timespec="seconds")
        newest = len(self.found.traces) + 1
        # It was there before this run, whatever made it: a rollback of the run must not remove it.
        deed = Deed(verb="update", run=self.run, serial=serial or newest, at=at, before=body, after=body)
        kept = row.kept(self._deployment()) if row.kept else None
        self._ledger.records[ref] = Record(
            ref=ref,
            step=row.name,
            needs=list(row.needs),
            body=body,
            adopted=adopted,
            protected=self.plan.is_protected(row.name, self.found.config.protect),
            keep=kept,
            done=deed,
        )

    def _learn(self, row: Row, live: Body) -> None:
        facts = row.step.facts(live)
        if facts is not None:
            self._facts.add(facts)
            self._ledger.facts[row.name] = facts.model_dump(mode="json")


def _applied(row: Row, declared: Body, live: Body) -> Body:
    """What counts as applied last: as declared where that is so, otherwise as it is, but for others' share of it."""
    if not compare.differences(declared, live, declared, at_least=row.at_least, write_only=row.write_only):
        return declared
    body = compare.managed(live, declared)
    if row.at_least:
        body = _without_others(body, declared)
    return body | {name: declared[name] for name in row.write_only if name in declared}


def _without_others(body: Body, declared: Body) -> Body:
    """The items of lists that are declared too."""
    cut: Body = {}
    for key, value in body.items():
        if isinstance(value, list):
            items = [item for item in value if item in declared.get(key, [])]
            cut |= {key: items} if items else {}
        else:
            cut[key] = _without_others(value, declared.get(key, {})) if isinstance(value, dict) else value
    return cut


def _items(value: Any) -> list[str]:
    """All texts in the lists of a body."""
    if isinstance(value, Mapping):
        return [item for inner in value.values() for item in _items(inner)]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
