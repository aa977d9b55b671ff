"""A cloud of a few kinds of things, with Google's habits.

Operations take time and go on without the process that began them; reads lag behind; names stay reserved; a policy is
shared with strangers and replaced by etag; some numbers are given by the server; children go with their parent.
"""

import copy
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

import httplib2
from googleapiclient.errors import HttpError

from provision.gcp import Gcp
from tests.simulation.network import Refused

SERVICE = "//serviceusage.googleapis.com/"


@dataclass(frozen=True)
class Kind:
    """How things of a kind behave.

    Args:
        seconds: how long an operation on them takes, mostly nearly the least; without operations when None.
        lag: seconds within which a read may still show what was before.
        once: whether a name stays reserved for ever.
        numbered: whether the server gives the last part of the name.
        shy: how likely a creation fails in the end, as deployments do.
    """

    seconds: tuple[float, float] | None = None
    lag: float = 0.0
    once: bool = False
    numbered: bool = False
    shy: float = 0.0


KINDS = {
    "accounts": Kind(lag=20.0),
    "networks": Kind(seconds=(3.0, 20.0)),
    "databases": Kind(seconds=(10.0, 140.0), once=True),
    "users": Kind(seconds=(1.0, 5.0)),
    "versions": Kind(numbered=True),
    "servers": Kind(seconds=(6.0, 90.0), shy=0.03),
    "apps": Kind(lag=20.0),
}


def kind_of(ref):
    """The kind is the last word but one: databases/d/users/u is a user."""
    return ref.split("/")[-2]


@dataclass
class Thing:
    """Something in the cloud.

    Args:
        body: its fields.
        mark: the deployment whose mark it carries; "" for a stranger's.
        by: the flight that made it; None when it was there before all.
        busy: whether an operation on it is under way.
        before: what a read shows until `shown`; None for nothing.
    """

    body: dict
    mark: str = ""
    by: object = None
    busy: bool = False
    before: dict | None = None
    shown: float = 0.0


def refusal(status, reason, message):
    """An answer of Google's, as its library raises it."""
    content = json.dumps({"error": {"code": status, "message": message, "errors": [{"reason": reason}]}})
    return HttpError(httplib2.Response({"status": str(status)}), content.encode())


def absent():
    return refusal(404, "notFound", "There is no such thing.")


def under_way():
    return refusal(409, "operationInProgress", "Another operation is under way.")


class Cloud:
    """What is there, and the servers that change it.

    Args:
        network: carries the requests.
        judge: is told of every change that lands.
    """

    def __init__(self, network, judge):
        self._network, self._judge, self._scheduler = network, judge, network.scheduler
        self.things: dict[str, Thing] = {}
        self.reserved: set[str] = set()
        self.operations: dict[str, dict] = {}
        self.policy = {"version": 3, "etag": 0, "bindings": []}
        self.doubled: set[str] = set()
        """Where a number may have been given twice: a late request has no name by which it could be refused."""
        self._numbers: dict[str, int] = {}
        self._names = itertools.count(1)

    # What steps call

    def read(self, gcp, ref):
        """What is seen of a thing now."""

        def effect(flight):
            thing = self.things.get(ref)
            if thing is None:
                raise absent()
            body = thing.before if thing.shown > self._scheduler.now else thing.body
            if body is None:
                raise absent()
            return {**copy.deepcopy(body), "mark": thing.mark}

        return self._call(gcp, "read", ref, effect)

    def create(self, gcp, ref, body, mark):
        """Make a thing; where the server gives the number, make the next one."""
        kind, parent = KINDS[kind_of(ref)], ref.rpartition("/")[0].rpartition("/")[0]

        def effect(flight):
            name = ref
            if kind.numbered:
                number = self._numbers.get(parent, 0) + 1
                name = f"{ref.rpartition('/')[0]}/{number}"
            if parent and parent not in self.things:
                raise absent()
            if parent and self.things[parent].busy:
                raise under_way()
            if name in self.things or name in self.reserved:
                raise refusal(409, "instanceAlreadyExists" if kind.once else "alreadyExists", f"{name} exists.")
            self._judge.changed(flight, "create", ref)
            if kind.numbered:
                self._numbers[parent] = number
                if flight.may_stray:
                    self.doubled.add(parent)
            shown = self._scheduler.now + self._random.uniform(0, kind.lag)
            self.things[name] = Thing(dict(body), mark, flight, shown=shown)
            fails = self._random.random() < kind.shy and self.moody
            return self._operation(kind, name, lambda: self._vanish(name) if fails else None, fails=fails)

        self._judge.tries_to_make(ref)
        return self._call(gcp, "create", ref, effect)

    def update(self, gcp, ref, changes):
        """Set fields of a thing."""
        kind = KINDS[kind_of(ref)]

        def effect(flight):
            thing = self._free(ref)
            self._judge.changed(flight, "update", ref)
            thing.before, thing.shown = (
                copy.deepcopy(thing.body),
                self._scheduler.now + self._random.uniform(0, kind.lag),
            )
            for change in changes:
                if change.goal is None:
                    thing.body.pop(change.path[0], None)
                else:
                    thing.body[change.path[0]] = change.goal
            return self._operation(kind, ref, lambda: None)

        return self._call(gcp, "update", ref, effect)

    def delete(self, gcp, ref):
        """Take a thing away, with its children."""
        kind = KINDS[kind_of(ref)]

        def effect(flight):
            self._free(ref)
            self._judge.changed(flight, "delete", ref)
            return self._operation(kind, ref, lambda: self._vanish(ref))

        return self._call(gcp, "delete", ref, effect)

    def get_policy(self, gcp, resource):
        """The policy, with its etag."""
        return self._call(gcp, "read", f"{resource}/iamPolicy", lambda flight: copy.deepcopy(self.policy))

    def set_policy(self, gcp, resource, policy):
        """Replace the policy, unless somebody was faster."""

        def effect(flight):
            if policy["etag"] != self.policy["etag"]:
                raise refusal(409, "aborted", "There were concurrent policy changes.")
            self._judge.changed(flight, "policy", f"{resource}/iamPolicy")
            self.policy = {**copy.deepcopy(policy), "etag": self.policy["etag"] + 1}

        self._call(gcp, "set", f"{resource}/iamPolicy", effect)

    def poll(self, gcp, name):
        """An operation as it is now."""

        def effect(flight):
            self._judge.polled(flight, SERVICE + name)
            return dict(self.operations[name])

        return self._call(gcp, "poll", name, effect)

    # What others do

    moody = True
    """Whether deployments may fail."""

    hasty = False
    """Whether operations take no longer than they must."""

    def vandalise(self, ref):
        """Somebody removes a thing by hand; of a number that the server gave, a trace remains."""
        thing = self.things.get(ref)
        if thing is None or thing.busy:
            return
        if KINDS[kind_of(ref)].numbered:
            thing.body["state"] = "DESTROYED"
        else:
            self._vanish(ref)

    def quiet(self):
        """Whether no operation is under way."""
        return all(answer["done"] for answer in self.operations.values())

    # Inside

    @property
    def _random(self):
        return self._scheduler.random

    def _free(self, ref):
        thing = self.things.get(ref)
        if thing is None:
            raise absent()
        if thing.busy:
            raise under_way()
        return thing

    def _vanish(self, ref):
        for name in [name for name in self.things if name == ref or name.startswith(f"{ref}/")]:
            del self.things[name]
            if KINDS[kind_of(name)].once:
                self.reserved.add(name)

    def _operation(self, kind: Kind, ref: str, finish: Callable[[], object], *, fails: bool = False) -> str | None:
        if kind.seconds is None:
            finish()
            return None
        name = f"operations/{next(self._names)}"
        thing = self.things[ref]
        thing.busy = True
        self.operations[name] = {"name": name, "done": False}

        def end():
            thing.busy = False
            error = {"error": {"code": 13, "message": "An internal error occurred."}} if fails else {}
            self.operations[name] = {"name": name, "done": True, **error}
            finish()

        least, most = kind.seconds
        self._scheduler.at(self._random.uniform(least, self._most(least, most)), end)
        return SERVICE + name

    def _most(self, least, most):
        if self.hasty:
            return least
        return most if self._random.random() < 0.3 else 2 * least

    def _call(self, gcp, verb, ref, effect):
        changes = verb not in {"read", "poll"}
        method = "POST" if changes else "GET"
        try:
            return self._network.call(
                f"{verb} {ref}", effect, changes=changes, gate=lambda: gcp.gate(method, f"https://cloud/{ref}")
            )
        except Refused as refused:
            raise _as_google_says(refused.fate) from None


def _as_google_says(fate):
    match fate:
        case "503 before" | "503 after":
            return refusal(503, "backendError", "Try again.")
        case "429":
            return refusal(429, "rateLimitExceeded", "Too many requests.")
    return ConnectionResetError(f"{fate}: no answer came")


class SimulatedGcp(Gcp):
    """The clients of one process, of which only operations are asked for: the steps know the cloud themselves."""

    def __init__(self, cloud):
        super().__init__("my-project")
        self._cloud = cloud

    @property
    def serviceusage(self):
        return self

    def operations(self):
        return self

    def get(self, name):
        return _Asked(lambda: self._cloud.poll(self, name))


@dataclass
class _Asked:
    execute: Callable[[], dict]
