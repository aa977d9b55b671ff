"""Whether somebody will get in, and why not: what the policies say of one member. Nothing is tried in their name.

Who opens the page passes the front door as themselves. Their programs pass it as the log pusher, in whose name they
must be let sign; files are written in its name too. https://cloud.google.com/iam/docs/allow-policies
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.deployment import is_of_people
from provision.doctor import Check, door
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, in_words, ok, unchecked, warning
from provision.errors import NotLetIn

Policy = dict[str, Any]
Fetch = Callable[[], Policy]
Look = Callable[[Facts, str], Iterator[Finding]]

BASIC = {"projectOwner": "roles/owner", "projectEditor": "roles/editor", "projectViewer": "roles/viewer"}
"""Members that mean everybody with a basic role in a project (https://cloud.google.com/iam/docs/principal-identifiers)."""

EVERYBODY = ("allUsers", "allAuthenticatedUsers")

CANNOT_BE_LOOKED_INTO = ("group:", "principalSet:")
"""Members that hold others, and no policy says whom."""

AGAIN = "Type python -m provision up, which puts it back."


@dataclass(frozen=True)
class Right:
    """Something that one may do by one of some roles.

    Args:
        may: What, as it is told.
        roles: The predefined roles that hold it; the basic ones hold none of these.
    """

    may: str
    roles: Collection[str]


ENTER = Right("pass the front door", {"roles/iap.httpsResourceAccessor"})
SIGN = Right("sign as the log pusher", {"roles/iam.serviceAccountTokenCreator"})
WRITE = Right("write files", {"roles/storage.objectUser", "roles/storage.objectAdmin", "roles/storage.admin"})


@dataclass
class Answer:
    """What some policies say of one member: what lets them, what may, and what would have, of who was deleted."""

    yes: list[str] = field(default_factory=list)
    perhaps: list[str] = field(default_factory=list)
    no_more: list[str] = field(default_factory=list)


def checks(member: str) -> tuple[Check, ...]:
    """What is asked about an IAM member, in the order in which it is told."""
    looks: dict[str, Look] = {
        "account": account,
        "door": page,
        "sign-in": sign_in,
        "signature": signature,
        "programs": programs,
        "files": files,
        "denials": denials,
    }

    def asked_of(look: Look) -> Callable[[Facts], Iterator[Finding]]:
        return lambda facts: look(facts, member)

    return tuple(Check(name, asked_of(look), overrulable=False) for name, look in looks.items())


def account(facts: Facts, member: str) -> Iterator[Finding]:
    """Whether the log pusher is there, and able to act."""
    ref = _ref(facts, "service_accounts", "-log-pusher@")
    found = facts.present(lambda: facts.gcp.iam.projects().serviceAccounts().get(name=ref).execute())
    if found is None:
        yield blocked(NotLetIn("The log pusher, as which programs log, was deleted.", hint=AGAIN))
    elif found.get("disabled"):
        yield blocked(NotLetIn("The log pusher, as which programs log, is disabled.", hint=AGAIN))
    else:
        yield ok(f"Programs log as {found['email']}.")


def page(facts: Facts, member: str) -> Iterator[Finding]:
    """Whether they may open the page."""
    if is_of_people(member):
        yield from _told(facts, member, ENTER, _doors(facts))
    else:
        yield ok("Only people open the page.")


def sign_in(facts: Facts, member: str) -> Iterator[Finding]:
    """Whether the OAuth client of the front door serves them."""
    iap = (facts.application or {}).get("iap", {})
    if not iap.get("enabled"):
        yield warning("The front door is switched off: whoever knows the address gets in.", AGAIN)
    elif not is_of_people(member):
        yield ok("Only people sign in on a page.")
    elif iap.get("oauth2ClientId"):
        yield unchecked(
            "The front door has an OAuth client of its own; whom its audience lets in cannot be looked into here.",
            "See Google Auth Platform, Audience, in the console: one in testing serves its list of test users only.",
        )
    else:
        yield from door.lets_in(facts, None, [member])


def signature(facts: Facts, member: str) -> Iterator[Finding]:
    """Whether their programs may sign as the log pusher, without any key."""
    ref = _ref(facts, "service_accounts", "-log-pusher@")
    asked = facts.gcp.iam.projects().serviceAccounts().getIamPolicy(resource=ref, options_requestedPolicyVersion=3)
    yield from _told(facts, member, SIGN, {"the log pusher": asked.execute, **_project(facts)})


def programs(facts: Facts, member: str) -> Iterator[Finding]:
    """Whether the log pusher may pass the front door."""
    yield from _told(facts, _log_pusher(facts), ENTER, _doors(facts), hint=AGAIN)


def files(facts: Facts, member: str) -> Iterator[Finding]:
    """Whether the log pusher may write to the bucket."""
    bucket = _ref(facts, "artifact_access", "/iamPolicy").removesuffix("/iamPolicy").rpartition("/")[2]
    asked = facts.gcp.buckets.buckets().getIamPolicy(bucket=bucket, optionsRequestedPolicyVersion=3)
    where = {f"gs://{bucket}": asked.execute, **_project(facts)}
    yield from _told(facts, _log_pusher(facts), WRITE, where, hint=AGAIN)


def denials(facts: Facts, member: str) -> Iterator[Finding]:
    """What is not looked at: policies that take away what others grant (https://cloud.google.com/iam/docs/deny-overview)."""
    place = f"cloudresourcemanager.googleapis.com/projects/{facts.settings.project}"
    yield unchecked(
        f"Whether a deny policy takes something of this away from {member} or the log pusher is not looked at.",
        f"gcloud iam policies list --kind=denypolicies --attachment-point={place}   # and so for what lies above it",
    )


def _ref(facts: Facts, step: str, part: str) -> str:
    """What a step has made, from the ledger.

    Raises:
        NotLetIn: No run has come so far.
    """
    found = [ref for ref, record in facts.planned_in.records.items() if record.step == step and part in ref]
    if not found:
        raise NotLetIn(f"{step} is not done yet.", hint="Type python -m provision up.")
    return found[0]


def _log_pusher(facts: Facts) -> str:
    return "serviceAccount:" + _ref(facts, "service_accounts", "-log-pusher@").rpartition("/")[2]


def _doors(facts: Facts) -> Mapping[str, Fetch]:
    """The policies that decide at the front door, innermost first, by what they are of."""
    service = _ref(facts, "door_access", "/iamPolicy").removesuffix("/iamPolicy")
    application = service.partition("/services/")[0]
    proxied = application.rpartition("/")[0]
    named = {f"the service {service.rpartition('/')[2]}": service, "the application": application, "all doors": proxied}

    def fetch(resource: str) -> Fetch:
        asked = facts.gcp.iap.v1().getIamPolicy(resource=resource, body={"options": {"requestedPolicyVersion": 3}})
        return lambda: facts.once(f"policy of {resource}", asked.execute)

    return {where: fetch(resource) for where, resource in named.items()} | _project(facts)


def _project(facts: Facts) -> dict[str, Fetch]:
    """The policy of the project, which holds for all that is in it."""
    asked = {"options": {"requestedPolicyVersion": 3}}
    calls = facts.gcp.resources.projects().getIamPolicy(resource=facts.settings.project, body=asked)
    return {"the project": lambda: facts.once("policy of the project", calls.execute)}


def _told(facts: Facts, member: str, right: Right, policies: Mapping[str, Fetch], hint: str = "") -> Iterator[Finding]:
    """Whether some policies let a member do something, as far as they tell."""
    answer = Answer()
    for where, fetch in policies.items():
        try:
            bindings = fetch().get("bindings", [])
        except Exception as error:  # noqa: BLE001 - the others are asked all the same
            answer.perhaps.append(f"What {where} grants cannot be looked at: {in_words(error)}")
            continue
        for binding in bindings:
            _weigh(facts, member, right, where, binding, answer)
    if answer.yes:
        yield ok(f"{member} may {right.may}: {answer.yes[0]}.")
    elif answer.perhaps:
        yield from (unchecked(why, "" if hint else NotLetIn.hint) for why in answer.perhaps)
    else:
        places = ", ".join(policies)
        why = "; ".join([*answer.no_more, f"no policy of {places} names them, and what lies above is not looked at"])
        yield blocked(NotLetIn(f"{member} may not {right.may}: {why}.", hint=hint))


def _weigh(facts: Facts, member: str, right: Right, where: str, binding: Mapping[str, Any], answer: Answer) -> None:
    """Add what one binding says to an answer."""
    role, condition = binding["role"], binding.get("condition")
    own = role.startswith(("projects/", "organizations/"))
    if role not in right.roles and not own:
        return
    for listed in _each(facts, binding.get("members", [])):
        named = f"named on {where}" if listed == member else f"{listed} is named on {where}"
        if _before_its_end(listed) == member:
            answer.no_more.append(f"{where} names an earlier account of this address, which was deleted")
        elif not (_means(listed, member) or listed.startswith(CANNOT_BE_LOOKED_INTO)):
            continue
        elif own:
            answer.perhaps.append(f"{named} with {role}; whether that role lets one {right.may} is not looked at.")
        elif condition:
            words = condition.get("title") or condition.get("expression")
            answer.perhaps.append(f"{named} under a condition only, which nobody can tell beforehand: {words}.")
        elif not _means(listed, member):
            answer.perhaps.append(f"{named} and may {right.may}; whether {member} is one of them is not told here.")
        elif listed.startswith("domain:"):
            answer.yes.append(f"{named}, which holds the accounts of that organization, and no private ones")
        else:
            answer.yes.append(named)


def _each(facts: Facts, members: Iterable[str]) -> Iterator[str]:
    """The members, and in the place of those that mean a basic role whoever has it."""
    for member in members:
        kind, _, project = member.partition(":")
        role = BASIC.get(kind)
        if role is None or project != facts.settings.project:
            yield member
            continue
        for binding in _project(facts)["the project"]().get("bindings", []):
            if binding["role"] == role and not binding.get("condition"):
                yield from binding.get("members", [])


def _means(listed: str, member: str) -> bool:
    """Whether an entry of a policy surely is a member, or holds them."""
    address = member.partition(":")[2].lower()
    if listed.startswith("domain:") and member.startswith("user:"):
        return listed.partition(":")[2].lower() == address.rpartition("@")[2]
    return listed in EVERYBODY or listed.lower() == member.lower()


def _before_its_end(listed: str) -> str:
    """The member that ``deleted:user:ADDRESS?uid=N`` has been; empty for one that is alive."""
    return listed.removeprefix("deleted:").partition("?uid=")[0] if listed.startswith("deleted:") else ""
