"""Whether the caller may do all that this very plan asks for, and which roles would add what is missing.

What the steps need stands beside their verbs, as RIGHTS. It is asked at the project, for what is granted there or above
holds for everything in it; and of buckets at the one that holds the ledger, since an owner of the project may do less
with buckets than with anything else, but for the roles that each new bucket gives to the project's owners
(https://cloud.google.com/storage/docs/access-control/iam-roles#basic-roles-modifiable).
"""

import shlex
from collections.abc import Collection, Iterable, Iterator

from provision import bootstrap
from provision.doctor import roles
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unasked, unchecked
from provision.errors import PermissionDenied
from provision.refusals import refusal_of

AT_ONCE = 50
"""Permissions that are asked in one call; a hundred is said to be the most that Google takes."""

OF_THE_RUN = ("resourcemanager.projects.get",)
"""What every command needs, whatever is in the table."""

OF_THE_LEDGER = (
    "storage.buckets.get", "storage.objects.create", "storage.objects.delete", "storage.objects.get",
    "storage.objects.list",
)  # fmt: skip
"""What it takes to keep the ledger and its lease in a bucket."""

OF_OWN_BUCKETS = (
    "storage.buckets.get", "storage.buckets.getIamPolicy", "storage.buckets.setIamPolicy", "storage.buckets.update",
    "storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list",
)  # fmt: skip
"""What each new bucket lets the owners and editors of its project do."""

OWNERS = {"roles/owner", "roles/editor"}


def held(facts: Facts) -> Iterator[Finding]:
    """Whether you hold every permission that this very plan needs; if not, which roles would give them."""
    wanted = needed(facts)
    missing, odd = _not_held(facts, wanted)
    by_bucket = missing & set(OF_OWN_BUCKETS)
    if by_bucket:
        try:
            missing -= by_bucket & _held_on_buckets(facts)
        except Exception as error:  # noqa: BLE001 - the others are known
            missing -= by_bucket
            yield unasked(error, about=f"Whether you may use buckets ({', '.join(sorted(by_bucket))})")
    if odd:
        yield unchecked(f"Google does not tell at the project: {', '.join(sorted(odd))}.")
    if missing:
        yield blocked(_lack(facts, missing))
    elif len(odd) < len(wanted):
        yield ok(f"You hold all {len(wanted) - len(odd)} permissions that this plan needs.")


def at_the_ledger(facts: Facts) -> Iterator[Finding]:
    """Whether you may read and write the bucket that holds the ledger, if it is there by now."""
    bucket = facts.ledger_bucket
    if not bucket:
        yield ok("The ledger is a file of this machine.")
        return
    try:
        missing = set(OF_THE_LEDGER) - _held_on(facts, bucket)
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None or refusal.status != 404:
            raise
        yield ok(f"gs://{bucket} is not there yet; up makes it.")
        return
    if missing:
        who = shlex.quote(facts.runner or "YOU")
        line = f"gcloud storage buckets add-iam-policy-binding gs://{bucket} --member={who} --role=roles/storage.admin"
        yield blocked(
            _denied(
                f"The ledger is kept in gs://{bucket}, where you may not: {', '.join(sorted(missing))}",
                "Let somebody who may type this.",
                [line],
            )
        )
    else:
        yield ok(f"You may read and write gs://{bucket}.")


def needed(facts: Facts) -> dict[str, list[str]]:
    """By permission, what needs it: the rows that declare something or have made something, and the run itself."""
    made = {record.step for record in facts.planned_in.records.values()}
    wanted: dict[str, list[str]] = {permission: [] for permission in OF_THE_RUN}
    if facts.gcp.quota_project:
        wanted["serviceusage.services.use"] = []
    if facts.ledger_bucket == bootstrap.state_bucket(facts.project):
        wanted |= {permission: [] for permission in (*OF_THE_LEDGER, "storage.buckets.create")}
    for row in facts.plan:
        if row.name in made or facts.declares(row):
            for permission in row.step.RIGHTS:
                wanted.setdefault(permission, []).append(row.name)
    return wanted


def _not_held(facts: Facts, wanted: Iterable[str]) -> tuple[set[str], set[str]]:
    """Of some permissions, those that the caller lacks at the project, and those that cannot be asked there."""
    asked, lacking, odd = sorted(wanted), set[str](), set[str]()
    parts = [asked[start : start + AT_ONCE] for start in range(0, len(asked), AT_ONCE)]
    while parts:
        part = parts.pop()
        try:
            lacking |= set(part) - _held_at_the_project(facts, part)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None or refusal.status != 400:
                raise
            half = len(part) // 2
            odd |= set(part) if not half else set()
            parts += [part[:half], part[half:]] if half else []
    return lacking, odd


def _held_at_the_project(facts: Facts, permissions: list[str]) -> set[str]:
    calls = facts.gcp.resources.projects()
    answer = calls.testIamPermissions(resource=facts.settings.project, body={"permissions": permissions}).execute()
    return set(answer.get("permissions", []))


def _held_on(facts: Facts, bucket: str) -> set[str]:
    calls = facts.gcp.buckets.buckets()
    return set(
        calls.testIamPermissions(bucket=bucket, permissions=list(OF_THE_LEDGER)).execute().get("permissions", [])
    )


def _held_on_buckets(facts: Facts) -> set[str]:
    """What the caller may do with buckets of the project by the roles that each new one gives to its owners."""
    calls = facts.gcp.resources.projects()
    asked = {"options": {"requestedPolicyVersion": 3}}
    policy = calls.getIamPolicy(resource=facts.settings.project, body=asked).execute()
    members = {
        member.lower()
        for binding in policy.get("bindings", [])
        if binding["role"] in OWNERS
        for member in binding.get("members", [])
    }
    if facts.runner.lower() in members:
        return set(OF_OWN_BUCKETS)
    if groups := sorted(member for member in members if member.startswith(("group:", "domain:"))):
        raise PermissionDenied(f"you may be an owner or editor as one of {', '.join(groups)}")
    return set()


def _lack(facts: Facts, missing: Collection[str]) -> PermissionDenied:
    """What is missing and for what, and the lines that an owner of the project may paste to mend it."""
    wanted = needed(facts)
    named = [f"{one} ({', '.join(wanted[one])})" if wanted[one] else one for one in sorted(missing)]
    chosen, others = roles.fewest(missing)
    member = shlex.quote(facts.runner or "YOU")
    project = facts.settings.project
    lines = [f"gcloud projects add-iam-policy-binding {project} --member={member} --role={role}" for role in chosen]
    hints = ["Let an owner of the project type this."] if lines else []
    hints += [f"No predefined role that is known here gives {', '.join(others)}."] if others else []
    return _denied(f"In project {project} you may not: {'; '.join(named)}", " ".join(hints), lines)


def _denied(message: str, hint: str, commands: Iterable[str]) -> PermissionDenied:
    error = PermissionDenied(message, hint=hint)
    error.commands = tuple(commands)
    return error
