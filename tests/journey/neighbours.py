"""Other people's things in the project of the tests, and all that the project holds, to compare before with after."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import requests

from provision import operations
from provision.clock import Clock
from provision.gcp import Gcp
from provision.patience import Patience
from provision.teardown import Left
from steps import _connections, default_service
from tests.journey.deploy import NUMBER, PROJECT, SkippingClock

REGION = "europe-west1"
CORPORATE = f"projects/{PROJECT}/global/networks/corporate"

# What the emulator keeps beside the project's things: its own settings, histories that only grow, Google's own agents.
NO_THINGS = {
    "calls", "cloudbuild.builds", "cloudbuild.ids", "compute.requests", "counters", "emulator", "faults", "iam.deleted",
    "logging.entries", "operations", "scenarios", "service.agents", "servicenetworking.released", "settings",
    "sql.reserved", "storage.looks", "tokens",
}  # fmt: skip

Things = dict[str, Any]


def things(emulator: Any) -> Things:
    """Everything in the project, by name: policies as sets of (role, member, condition), the ledger's bucket left out."""
    found: Things = {}
    for kind, key, text in emulator.world._database.execute("SELECT kind, key, value FROM rows"):
        if kind not in NO_THINGS and "-provision-" not in key:
            for name, value in _named(kind, key, json.loads(text)):
                found.setdefault(name, {})[kind] = value
    return found


def _named(kind: str, key: str, value: Any) -> Iterable[tuple[str, Any]]:
    """The thing behind a row of the emulator, under the name by which `down` would list it."""
    match kind:
        case "iam.policies":
            granted = {
                (binding["role"], member, json.dumps(binding.get("condition"), sort_keys=True))
                for binding in value.get("bindings", [])
                for member in binding["members"]
            }
            if granted:
                yield f"{key}/iamPolicy", (granted, value.get("auditConfigs"))
        case "projects":
            yield from ((f"projects/{key}/services/{name}", on) for name, on in value["services"].items() if on)
        case "appengine.apps":
            iap = value.pop("iap", {})
            yield f"apps/{key}", value
            if any(iap.values()):
                yield f"apps/{key}/iap", iap
        case "compute.networks":
            for held in value.get("peerings", []):
                del held["stateDetails"]  # tells when it was last connected
            yield key, value
        case "iam.accounts":
            account = f"projects/{value['projectId']}/serviceAccounts/{key}"
            if not value.get("deleted"):  # the application comes with an account of its own
                yield f"apps/{PROJECT}/account" if key.endswith("@appspot.gserviceaccount.com") else account, value
        case "sql.backups":
            yield f"projects/{PROJECT}/instances/{value['instance']}", value
        case _:
            yield key, value


def unlisted(before: Things, after: Things, left: Iterable[Left]) -> dict[str, tuple[Any, Any]]:
    """What is other than before though `down` did not list it, and what it listed though it is not there."""
    listed = {item.ref.replace(f"projects/{NUMBER}/", f"projects/{PROJECT}/") for item in left}
    differing = {
        name: (before.get(name), after.get(name))
        for name in {*before, *after}
        if before.get(name) != after.get(name) and not any(_covers(ref, name) for ref in listed)
    }
    gone = {ref: ("listed", "not there") for ref in listed if not any(_covers(ref, name) for name in after)}
    return differing | gone


def _covers(listed: str, name: str) -> bool:
    """Whether a line of the list tells of a thing: of itself, of what is in it, or of something in it."""
    inside = ("/repositories/", "/services", "/packages/")
    holds = any(mark in listed for mark in inside) and name.startswith(f"{listed}/")
    return name == listed or listed.startswith(f"{name}/") or holds or name == f"{listed}/account"


def changes(emulator: Any, act: Callable[[], object]) -> list[str]:
    """The changing calls that something makes, in order and by method; the ledger's own left out."""
    requests.delete(f"{emulator.url}/emulator/calls", timeout=10)
    act()
    calls = requests.get(f"{emulator.url}/emulator/calls", timeout=10).json()["calls"]
    return [call["id"] for call in calls if call["write"] and "-provision-" not in call["path"]]


class Neighbour:
    """Somebody else, at work in the same project."""

    def __init__(self, gcp: Gcp, clock: Clock | None = None) -> None:
        self.gcp = gcp
        self.clock = clock or SkippingClock()

    def has_network(self, *ranges: str) -> None:
        """The network `corporate` with the subnet `data`, connected to Google's services when there are ranges."""
        body: dict[str, Any] = {"name": "corporate", "autoCreateSubnetworks": False}
        self.wait("compute", self.gcp.compute.networks().insert(project=PROJECT, body=body))
        body = {"name": "data", "ipCidrRange": "10.1.0.0/20", "network": CORPORATE, "privateIpGoogleAccess": True}
        self.wait("compute", self.gcp.compute.subnetworks().insert(project=PROJECT, region=REGION, body=body))
        for name in ranges:
            body = {
                "name": name,
                "purpose": "VPC_PEERING",
                "addressType": "INTERNAL",
                "prefixLength": 20,
                "network": CORPORATE,
            }
            self.wait("compute", self.gcp.compute.globalAddresses().insert(project=PROJECT, body=body))
        if ranges:
            self.connects(*ranges)

    def connects(self, *ranges: str) -> None:
        """The network's connection holds exactly these ranges."""
        body = {"network": f"projects/{NUMBER}/global/networks/corporate", "reservedPeeringRanges": list(ranges)}
        calls = self.gcp.servicenetworking.services().connections()
        asked = calls.patch(name=f"{_connections.SERVICE}/connections/-", force=True, body=body)
        self.wait("servicenetworking", asked)

    def has_application(self, *, iap: bool = False) -> None:
        """An App Engine application, perhaps behind IAP with a client of their own."""
        body: dict[str, Any] = {"id": PROJECT, "locationId": "europe-west"}
        if iap:
            body["iap"] = {"enabled": True, "oauth2ClientId": "theirs", "oauth2ClientSecret": "of-theirs"}
        self.wait("appengine", self.gcp.appengine.apps().create(body=body))

    def serves(self, service: str) -> None:
        """A version of theirs that gets all traffic of the service."""
        body = {
            "id": "theirs",
            "env": "flex",
            "runtime": "custom",
            "deployment": {"container": {"image": default_service.IMAGE}},
            "network": {"name": "corporate", "subnetworkName": "data"},
            "manualScaling": {"instances": 1},
            "readinessCheck": {"path": "/"},
            "livenessCheck": {"path": "/"},
        }
        calls = self.gcp.appengine.apps().services().versions()
        self.wait("appengine", calls.create(appsId=PROJECT, servicesId=service, body=body))

    def has_things(self) -> None:
        """An account, grants with and without conditions, a bucket with an object, and a firewall rule."""
        accounts = self.gcp.iam.projects().serviceAccounts()
        accounts.create(name=f"projects/{PROJECT}", body={"accountId": "somebody"}).execute()
        somebody = f"serviceAccount:somebody@{PROJECT}.iam.gserviceaccount.com"
        soon = {"title": "soon", "expression": "request.time < timestamp('2027-05-01T00:00:00Z')"}
        bindings = [
            {"role": "roles/viewer", "members": ["user:bob@example.com"]},
            {"role": "roles/logging.logWriter", "members": [somebody, "group:ops@example.com"]},
            {"role": "roles/logging.logWriter", "members": ["user:bob@example.com"], "condition": soon},
            {"role": "roles/cloudsql.client", "members": [somebody], "condition": soon},
        ]
        audit = [{"service": "allServices", "auditLogConfigs": [{"logType": "DATA_READ"}]}]
        policy = {"version": 3, "bindings": bindings, "auditConfigs": audit}
        self._set_policy(policy)
        bucket = self.gcp.storage.create_bucket(f"{PROJECT}-theirs", location="EU")
        bucket.blob("report.txt").upload_from_string("theirs")
        rule = {"name": "ssh", "network": CORPORATE, "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
        self.wait("compute", self.gcp.compute.firewalls().insert(project=PROJECT, body=rule))

    def _set_policy(self, policy: dict[str, Any]) -> None:
        from google.iam.v1 import policy_pb2
        from google.protobuf import json_format

        asked = {"resource": f"projects/{PROJECT}", "policy": json_format.ParseDict(policy, policy_pb2.Policy())}
        self.gcp.projects.set_iam_policy(request=asked)

    def wait(self, service: str, asked: Any) -> None:
        """Send a request and wait for its operation."""
        operation = operations.started(service, asked.execute())
        if operation is not None:
            Patience(self.gcp, self.clock).until_over(operation)
