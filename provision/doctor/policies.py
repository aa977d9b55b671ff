"""Policies of the organization that decide whether something can be made: as they are in effect for the project.

A project that belongs to no organization has none
(https://docs.cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from provision import constraints, together
from provision.constraints import Rules, advice
from provision.deployment import is_of_people
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unasked, unchecked, warning
from provision.errors import PermissionDenied, PolicyForbids

NO_HARM = {
    "iam.disableServiceAccountKeyCreation": "no account ever gets a key",
    "iam.automaticIamGrantsForDefaultServiceAccounts": "nothing runs as a default account",
    "compute.vmExternalIpAccess": "the server's instances have no external address",
    "sql.restrictPublicIp": "the database has no public address",
}
"""What may be forbidden without any harm, and why."""

NOT_DOCUMENTED = ("compute.requireOsLogin", "compute.requireShieldedVm", "compute.trustedImageProjects")
"""What may keep App Engine flexible from starting instances; Google does not say whether it complies."""

TIMES_OUT = "compute.requireOsConfig"
"""Under which deployments "might time out and fail" (https://docs.cloud.google.com/appengine/docs/flexible/known-issues)."""

GOOGLE = "under:organizations/433637338589"
"""Google's own organization, where Cloud SQL has the network that ours is connected with
(https://github.com/GoogleCloudPlatform/rad-lab/blob/main/modules/genomics_cromwell/orgpolicy.tf)."""

WITHOUT_KEYS = {
    "sql_instance": "sqladmin", "artifact_bucket": "storage", "build_bucket": "storage",
    "repository": "artifactregistry", "secret": "secretmanager",
}  # fmt: skip
"""By row, the service that keeps what it makes under keys of Google's, and of nobody else's."""

CONTINENTS = ("africa", "asia", "australia", "europe", "me", "northamerica", "southamerica", "us")


def in_effect(facts: Facts) -> Iterator[Finding]:
    """Whether policies of the organization forbid what is to be made."""
    if facts.project.parent == "":
        yield ok("The project belongs to no organization, so no policies are set for it.")
        return
    asked = LOOKS if facts.ahead else OF_MEMBERS  # what is there already is not forbidden afterwards
    told = [answer.result() for answer in together.ask(lambda constraint: _said(facts, constraint), asked)]
    found = [finding for findings, _ in told for finding in findings]
    silent: dict[Finding, list[str]] = {}
    for constraint, (_, reason) in zip(asked, told, strict=True):
        if reason is not None:
            silent.setdefault(reason, []).append(constraint)
    found += [replace(reason, why=f"{', '.join(named)}: {reason.why}") for reason, named in silent.items()]
    yield from found or [ok("None is in the way.")]


def _said(facts: Facts, constraint: str) -> tuple[list[Finding], Finding | None]:
    """What one constraint means for us; or that it cannot be asked."""
    try:
        rules = constraints.in_effect(facts.gcp, facts.project.number, constraint)
        return list(LOOKS[constraint](facts, constraint, rules)), None
    except Exception as error:  # noqa: BLE001 - the others are told
        reason = unasked(error)
        if reason.cause is PermissionDenied:
            reason = unchecked(
                "you may not read them (orgpolicy.policy.get, which roles/orgpolicy.policyViewer gives)."
            )
        return [], reason


def _no_harm(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    if _restricts(rules):
        yield ok(f"{constraint} is in effect, and does no harm: {NO_HARM[constraint]}.")


def _not_documented(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    if _restricts(rules):
        yield warning(
            f"{constraint} is in effect, and Google does not say whether App Engine flexible complies with it.",
            "If the deployment of the server fails, let an administrator of the organization lift it for the project.",
        )


def _times_out(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    if _restricts(rules) and facts.makes("default_service", "server"):
        yield warning(
            f"{constraint} is in effect, and Google names it among those under which deployments may time out.",
            "If the deployment of the server fails, let an administrator of the organization lift it for the project.",
        )


def _peerings(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    if facts.makes("peering") and not _allows(rules, [GOOGLE]):
        why = f"{constraint} does not let the network be connected with Google's own, in which the database lies."
        ask = f"{advice(constraint)} It is enough to allow {GOOGLE}."
        yield blocked(PolicyForbids(why, hint=ask))


def _pools(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    if facts.makes("image") and _restricts(rules):
        why = f"{constraint} is in effect, so images are built in worker pools of the organization's own only."
        yield blocked(PolicyForbids(why, hint=advice(constraint)))


def _own_keys(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    names = {f"{service}.googleapis.com" for row, service in WITHOUT_KEYS.items() if facts.makes(row)}
    if lost := sorted(name for name in names if not _allows(rules, [name, f"is:{name}"])):
        why = f"{constraint} wants keys of the organization's own for what {', '.join(lost)} keep; there are none here."
        yield blocked(PolicyForbids(why, hint=advice(constraint)))


def _soft_delete(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    buckets = [body for _, _, body in facts.ahead if "softDeletePolicy" in body]
    wanted = {body["softDeletePolicy"]["retentionDurationSeconds"] for body in buckets}
    if lost := sorted((one for one in wanted if not _allows(rules, [one, f"is:{one}"])), key=int):
        why = f"{constraint} allows no bucket that keeps what was deleted for {' or '.join(lost)} seconds."
        yield blocked(PolicyForbids(why, hint=advice(constraint)))


def _accounts(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    if _restricts(rules) and facts.makes("service_accounts", "app"):
        yield blocked(
            PolicyForbids(
                f"{constraint} is in effect, so the accounts of server, builder and client cannot be made.",
                hint=advice(constraint),
            )
        )


def _services(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    names = {f"{service}.googleapis.com" for service in facts.services}
    if lost := sorted(name for name in names if not _allows(rules, [name])):
        why = f"{constraint} does not let the project use {', '.join(lost)}."
        yield blocked(PolicyForbids(why, hint=advice(constraint)))


def _locations(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    region = facts.settings.region
    continent = region.partition("-")[0]
    spelled = [region, f"in:{region}-locations", f"in:{continent}-locations", f"is:{region}"]
    if _allows(rules, spelled):
        return
    values = sorted({value for rule in rules for value in rule.get("values", {}).get("allowedValues", [])})
    if open_ones := [value for value in values if not _is_elsewhere(value, continent)]:
        yield unchecked(f"{constraint} allows {', '.join(open_ones)}; whether {region} is in there cannot be asked.")
        return
    allowed = f"only {', '.join(values)}" if values else "other places only"
    yield blocked(PolicyForbids(f"{constraint} allows {allowed}, and region = {region!r}.", hint=advice(constraint)))


def _is_elsewhere(value: str, continent: str) -> bool:
    """Whether a value surely means other places: another region or continent, and no group that may hold any."""
    place = value.rpartition(":")[2].removesuffix("-locations")
    begins = place.partition("-")[0]
    return begins in CONTINENTS and (begins != continent or place[-1:].isdigit())


def _domains(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    if not _restricts(rules):
        return
    values = {value for rule in rules for value in rule.get("values", {}).get("allowedValues", [])}
    found = facts.organization or {}
    customer = found.get("owner", {}).get("directoryCustomerId", "")
    own = {customer, f"is:{customer}", f"under:{found.get('name')}"}
    yield _who_may_be_named(facts, constraint, values, everybody=bool(own & values))


def _members(facts: Facts, constraint: str, rules: Rules) -> Iterator[Finding]:
    """Its successor, which takes persons too (https://docs.cloud.google.com/organization-policy/reference/org-policy-constraints)."""
    given = [rule.get("parameters") or {} for rule in rules if rule.get("enforce")]
    if not given:
        return
    values = {str(value) for one in given for named in one.values() for value in named}
    own = f"//cloudresourcemanager.googleapis.com/{(facts.organization or {}).get('name')}"
    yield _who_may_be_named(facts, constraint, values, everybody=own in values)


def _who_may_be_named(facts: Facts, constraint: str, values: set[str], *, everybody: bool) -> Finding:
    """What it means for those who shall sign in; everybody of the organization may be named in policies, or nobody."""
    domain, known = (facts.organization or {}).get("displayName", ""), {value.lower() for value in values}
    people = [member for member in facts.deployment.members if is_of_people(member) and member not in known]
    outside = [one for one in people if not everybody or one.partition(":")[2].rpartition("@")[2] != domain]
    if not outside:
        return ok(f"{constraint} is in effect, and all who may sign in belong to {domain}.")
    return warning(
        f"{constraint} lets only {', '.join(sorted(values))} into policies, and these may not belong to it:"
        f" {', '.join(outside)}.",
        f"Take them out of access in provision.toml, or let an administrator allow them; other domains of {domain}"
        " are fine.",
    )


def _restricts(rules: Rules) -> bool:
    """Whether a policy forbids anything at all."""
    return any(rule.get("enforce") or rule.get("denyAll") or "values" in rule for rule in rules)


def _allows(rules: Rules, spelled: list[str]) -> bool:
    """Whether a list policy allows something, by any of the ways in which it may be written."""
    if any(rule.get("denyAll") for rule in rules):
        return False
    values = [rule["values"] for rule in rules if "values" in rule]
    denied = {one for value in values for one in value.get("deniedValues", [])}
    allowed = {one for value in values for one in value.get("allowedValues", [])}
    return denied.isdisjoint(spelled) and (not allowed or not allowed.isdisjoint(spelled))


Look = Callable[[Facts, str, Rules], Iterator[Finding]]

OF_MEMBERS: dict[str, Look] = {
    "iam.allowedPolicyMemberDomains": _domains,
    "iam.managed.allowedPolicyMembers": _members,
}
"""What matters for every change of access."""

LOOKS: dict[str, Look] = {
    "iam.disableServiceAccountCreation": _accounts,
    "iam.managed.disableServiceAccountCreation": _accounts,
    **OF_MEMBERS,
    "gcp.resourceLocations": _locations,
    "gcp.restrictServiceUsage": _services,
    "gcp.restrictNonCmekServices": _own_keys,
    "storage.softDeletePolicySeconds": _soft_delete,
    "compute.restrictVpcPeering": _peerings,
    "cloudbuild.allowedWorkerPools": _pools,
    TIMES_OUT: _times_out,
    **dict.fromkeys(NO_HARM, _no_harm),
    **dict.fromkeys(NOT_DOCUMENTED, _not_documented),
}
"""By constraint, what it means for what is to be made."""
