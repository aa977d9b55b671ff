"""The contract between the engine and a step: a module that satisfies the Protocol `Step`.

A mutating verb makes the next single changing call towards the goal and returns its operation; the engine journals
it, waits, reads, and calls again until nothing differs. So every call is safe by itself, and a step holds no retry,
no waiting and no error code.
"""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

import pydantic

from provision import errors
from provision.deployment import Deployment
from provision.gcp import Gcp

Ref = str
"""A full resource name, known before the resource exists: ``projects/p/instances/mlflow-x7f2``."""

Body = dict[str, Any]
"""JSON as the API takes and returns it, holding only the fields that we manage."""

Operation = str
"""A long-running operation by its service and name: ``//sqladmin.googleapis.com/projects/p/operations/0a1b``."""


class Facts(pydantic.BaseModel):
    """Values that only the server can tell, for later steps; each step that has some makes a subclass of its own."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    step: ClassVar[str]


F = TypeVar("F", bound=Facts)


class FactsUnknown(LookupError):
    """Facts were asked for before their step was done; a plan of things that do not exist yet meets this."""


class FactBook:
    """What the steps have learnt so far, looked up by class: ``facts[sql_instance.Facts].connection_name``."""

    def __init__(self, facts: Iterable[Facts] = ()) -> None:
        self._facts: dict[type[Facts], Facts] = {type(item): item for item in facts}

    def __getitem__(self, kind: type[F]) -> F:
        found = self._facts.get(kind)
        if not isinstance(found, kind):
            raise FactsUnknown(f"{kind.__module__} is not done yet")
        return found

    def add(self, item: Facts) -> None:
        """Keep a step's facts, in place of any older ones of the same step."""
        self._facts[type(item)] = item


@dataclass(frozen=True)
class Change:
    """One field that differs.

    Args:
        path: Where it lies in the body, key by key.
        live: What the cloud has; None when the field is absent.
        goal: What it should be; None when it should be absent.
    """

    path: tuple[str, ...]
    live: Any
    goal: Any

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.live!r} -> {self.goal!r}"


@dataclass(frozen=True)
class Contents:
    """What lies in a resource that holds data of the users."""

    objects: int
    bytes: int

    def __str__(self) -> str:
        """In words: ``3 objects, 52.4 MB``."""
        value, units = float(self.bytes), iter(("kB", "MB", "GB", "TB", "PB", "EB"))
        unit = "bytes"
        while value >= 1000:
            value, unit = value / 1000, next(units)
        amount = f"{value:.1f}" if self.bytes >= 1000 else str(self.bytes)
        return f"{self.objects} object{'' if self.objects == 1 else 's'}, {amount} {unit}"


class Stays(Exception):
    """Raised by a delete that must not be made now; its message tells the user what stays and why."""


class HoldsData(Stays):
    """Raised instead of removing something with data of the users in it.

    Args:
        contents: What it holds.
    """

    def __init__(self, contents: Contents) -> None:
        super().__init__(f"It holds {contents}.")
        self.contents = contents


class Owner(enum.Enum):
    """Whose a live resource is when the ledger does not know it."""

    OURS = "ours"
    SHARED = "shared"
    FOREIGN = "foreign"


Create = Callable[[Gcp, Ref, Body], Operation | None]
"""A creating verb: of what ref names, from what is declared."""

Told = Callable[[Gcp, Ref, Operation], str]
"""What there is to tell of an operation on what ref names that failed."""

Trouble = Callable[[Gcp, Ref, Body], str]
"""What is wrong with what ref names, from what is live, and an update mends; empty when nothing is."""

Delete = Callable[[Gcp, Ref, Body, Body], Operation | None]
"""A deleting verb: of what ref names, from what is live and what was applied."""


class Step(Protocol):
    """What a step module offers. The first line of its docstring says to the user what it makes."""

    __name__: str
    __doc__: str | None

    # What `down` leaves behind of it and why; None when nothing stays.
    LEAVES: str | None

    # The permissions that its verbs need of who runs them, down to the last of `down`.
    RIGHTS: tuple[str, ...]

    # What should exist, by ref. Facts that are not known yet raise FactsUnknown.
    def declare(self, deployment: Deployment, facts: FactBook) -> dict[Ref, Body]: ...

    # What does exist, in the spelling of declare; None, or Google's own not-found error, when it is absent.
    def read(self, gcp: Gcp, ref: Ref) -> Body | None: ...

    # The next single call that brings it into being.
    def create(self, gcp: Gcp, ref: Ref, body: Body) -> Operation | None: ...

    # The next single call that brings the changed fields to their goals.
    def update(self, gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> Operation | None: ...

    # The next single call that takes it away, from what is there and what the ledger says we applied; or Stays.
    def delete(self, gcp: Gcp, ref: Ref, live: Body, applied: Body) -> Operation | None: ...

    # What later steps need to know of it.
    def facts(self, live: Body) -> Facts | None: ...

    # Whose it is, by the marks on it.
    def owner(self, live: Body, deployment_id: str) -> Owner: ...

    # What would be lost with it; None when it holds no data of the users.
    def contents(self, gcp: Gcp, ref: Ref) -> Contents | None: ...


# Defaults, to be assigned by a step: `update = immutable`


def immutable(gcp: Gcp, ref: Ref, body: Body, changes: Sequence[Change]) -> NoReturn:
    """Refuse a change that Google does not allow in place."""
    raise errors.CannotChangeInPlace(f"{ref} cannot be changed in place: " + "; ".join(map(str, changes)))


def keep(gcp: Gcp, ref: Ref, live: Body, applied: Body) -> NoReturn:
    """Stand for a resource that `down` never deletes; the engine sees this function and does not call it."""
    raise AssertionError(f"{ref} is kept and must not be deleted")


def no_facts(live: Body) -> None:
    """Tell that no later step needs anything that only the server knows."""


def no_contents(gcp: Gcp, ref: Ref) -> None:
    """Tell that no data of the users is in it."""


def by_labels(live: Body, deployment_id: str) -> Owner:
    """Ours when the labels (in whichever field the API keeps them) hold our mark."""
    settings = live.get("settings")
    labels = live.get("labels") or (settings.get("userLabels") if isinstance(settings, Mapping) else None) or {}
    return _owner(labels.get("managed-by") == "provision" and labels.get("deployment") == deployment_id)


def by_description(live: Body, deployment_id: str) -> Owner:
    """Ours when the description holds our mark: for resources that take no labels."""
    return _owner(f"managed-by=provision deployment={deployment_id}" in str(live.get("description", "")))


def by_parent(live: Body, deployment_id: str) -> Owner:
    """Ours because what it lies in is ours."""
    return Owner.OURS


def shared(live: Body, deployment_id: str) -> Owner:
    """Nobody's own: adopted where it exists already."""
    return Owner.SHARED


def unmarked(body: Body, deployment_id: str) -> Body:
    """A body without our mark, for what was there before us: so it is taken for ours neither now nor ever after."""
    plain: Body = {}
    for key, value in body.items():
        if isinstance(value, Mapping):
            ours = value.get("deployment") == deployment_id
            inner = {name: item for name, item in value.items() if not (ours and name in {"managed-by", "deployment"})}
            if inner := unmarked(inner, deployment_id):
                plain[key] = inner
        elif f"deployment={deployment_id}" not in str(value):
            plain[key] = value
    return plain


def _owner(marked: bool) -> Owner:
    return Owner.OURS if marked else Owner.FOREIGN
