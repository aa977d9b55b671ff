"""What a door and a workload have to know of the world: services, traffic, policies, accounts and their keys."""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.emulator import iam, keys, tokens
from provision.emulator.machines import iap_key
from provision.emulator.machines.door_tokens import AssertionSigner, Identity, Keys
from provision.emulator.machines.metadata import Machine
from provision.emulator.machines.signin import Known
from provision.emulator.world import World

ACCESSOR = "roles/iap.httpsResourceAccessor"
MANAGED_CLIENT = "the-google-managed-client.apps.googleusercontent.com"
TOKEN_SECONDS = 3600

Json = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """What a door has to know for one request to its service."""

    number: str
    iap: bool
    client: str | None
    clients: frozenset[str]
    version: str | None


class Registry:
    """Reads the world, each question in a transaction of its own; to be asked from threads, not from a loop."""

    def __init__(self, world: World) -> None:
        self._world = world

    def service(self, app: str, service: str) -> Service:
        """The service as it is now, with the version that this request goes to."""
        with self._world.transaction():
            project = self._world.find_project(app) or {}
            iap = (self._world.table("appengine.apps").get(app) or {}).get("iap") or {}
            own = iap.get("oauth2ClientId")
            # The Google-managed client serves people of the project's organization only.
            managed = MANAGED_CLIENT if project.get("parent") else None
            row = self._world.table("appengine.services").get(f"apps/{app}/services/{service}") or {}
            return Service(
                number=str(project.get("projectNumber", "")),
                iap=bool(iap.get("enabled")),
                client=own or managed,
                clients=frozenset([*self._programmatic(app, service), *([own] if own else [])]),
                version=_drawn((row.get("split") or {}).get("allocations") or {}),
            )

    def _programmatic(self, app: str, service: str) -> list[str]:
        settings = self._world.table("iap.settings")
        found: list[str] = []
        for resource in self._chain(app, service):
            access = (settings.get(resource) or {}).get("accessSettings") or {}
            found += (access.get("oauthSettings") or {}).get("programmaticClients") or []
        return found

    def _chain(self, app: str, service: str, version: str | None = None) -> list[str]:
        web = f"projects/{app}/iap_web"
        names = [f"projects/{app}", web, f"{web}/appengine-{app}", f"{web}/appengine-{app}/services/{service}"]
        return [*names, f"{names[-1]}/versions/{version}"] if version else names

    def _listed(self, app: str, service: str, version: str | None = None) -> Iterator[str]:
        for resource in self._chain(app, service, version):
            yield from iam.members(self._world, resource, ACCESSOR)

    def admits(self, app: str, service: str, version: str | None, identity: Identity | None) -> bool:
        """Whether IAP's role is granted to `identity` (None: to everybody) on the service or what it lies in.

        Owners and editors have no way round it, and a binding with a condition grants nothing here.
        """
        with self._world.transaction():
            listed = set(self._listed(app, service, version))
            if identity is None:
                return "allUsers" in listed
            if listed & {f"group:{group}" for group in identity.groups}:
                return True
            return any(iam.is_member(self._world, identity.member, member) for member in listed)

    def known(self, app: str, service: str) -> list[Known]:
        """Whom the sign-in page offers: people of the policies, the owner, and somebody of each group and domain."""
        with self._world.transaction():
            listed = sorted(set(self._listed(app, service)))
            groups = self._world.table("groups")
            found: dict[str, Known] = {}
            for member in listed:
                kind, _, name = member.partition(":")
                if kind == "user":
                    found.setdefault(name, Known(name, "has access"))
                elif kind == "domain":
                    found.setdefault(f"someone@{name}", Known(f"someone@{name}", f"belongs to the domain {name}"))
                elif kind == "group":
                    members = (groups.get(name) or {}).get("members") or ()
                    people = [each.removeprefix("user:") for each in members if each.startswith("user:")]
                    for person in people or [f"member-of-{name}"]:
                        found.setdefault(person, Known(person, f"is a member of the group {name}", name))
            owner = self._world.owner.partition(":")[2]
            found.setdefault(owner, Known(owner, "owns the project; has no access here unless it is granted"))
            return list(found.values())

    def account_keys(self, email: str) -> Keys | None:
        """The public keys of a service account by key ID; None when there is no such account, or it is disabled."""
        with self._world.transaction():
            account = self._world.table("iam.accounts").get(email)
            if account is None or account.get("deleted") or account.get("disabled"):
                return None
            return {key["kid"]: str(key["public"]) for key in keys.account_keys(self._world, email)}

    def google_keys(self) -> Keys:
        """The keys by which ID tokens of `accounts.google.com` are signed."""
        with self._world.transaction():
            key = keys.google_key(self._world)
        return {key["kid"]: str(key["public"])}

    def assertion_signer(self) -> AssertionSigner:
        """What signs `X-Goog-IAP-JWT-Assertion`."""
        with self._world.transaction():
            return iap_key.signer(self._world)

    def subject(self, email: str) -> str:
        """The number by which Google knows an account."""
        with self._world.transaction():
            account = self._world.table("iam.accounts").get(email) or {}
        return str(account.get("uniqueId") or 10**20 + int(hashlib.sha256(email.encode()).hexdigest(), 16) % 10**20)

    def now(self) -> float:
        """The emulator's time, in seconds."""
        return self._world.clock.now().timestamp()

    def machine(self, app: str, name: str, account: str) -> Machine:
        """What the metadata server of a version says about its machine."""
        with self._world.transaction():
            project = self._world.find_project(app) or {}
            location = str((self._world.table("appengine.apps").get(app) or {}).get("locationId") or "us-central")
        region = {"us-central": "us-central1", "europe-west": "europe-west1"}.get(location, location)
        return Machine(app, str(project.get("projectNumber", "0")), f"{region}-b", name, account)

    def access_token(self, email: str) -> str:
        """A fresh access token of a service account, good for an hour on the emulator's clock."""
        with self._world.transaction():
            return tokens.issue(self._world, f"serviceAccount:{email}", TOKEN_SECONDS)

    def id_token(self, email: str, audience: str) -> str:
        """An ID token of a service account, as the metadata server gives it: good for an hour, with its address."""
        with self._world.transaction():
            now = int(self.now())
            who = self.subject(email)
            claims: Json = {"iss": "https://accounts.google.com", "aud": audience, "azp": who, "sub": who}
            claims |= {"email": email, "email_verified": True, "iat": now, "exp": now + TOKEN_SECONDS}
            return keys.sign(keys.google_key(self._world), claims)


def _drawn(allocations: Mapping[str, float]) -> str | None:
    if not allocations:
        return None
    versions = list(allocations)
    return random.choices(versions, [float(allocations[v]) for v in versions])[0]  # noqa: S311 - no secret
