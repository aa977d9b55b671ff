"""Which predefined role of Google's gives which of the permissions that are needed, and the fewest that give some.

https://cloud.google.com/iam/docs/roles-permissions. Of each role only what this program needs is said; `*` stands for
one word. The narrower of two roles that would do stands above.
"""

import fnmatch
from collections.abc import Collection

ROLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("roles/browser", ("resourcemanager.projects.get",)),
    ("roles/resourcemanager.projectIamAdmin", ("resourcemanager.projects.*",)),
    ("roles/serviceusage.serviceUsageConsumer", ("serviceusage.services.get", "serviceusage.services.use")),
    ("roles/serviceusage.serviceUsageAdmin", ("serviceusage.services.*",)),
    ("roles/iam.serviceAccountUser", ("iam.serviceAccounts.actAs", "iam.serviceAccounts.get")),
    (
        "roles/iam.serviceAccountAdmin",
        (
            "iam.serviceAccounts.create", "iam.serviceAccounts.get", "iam.serviceAccounts.update",
            "iam.serviceAccounts.enable", "iam.serviceAccounts.delete", "iam.serviceAccounts.*etIamPolicy",
            "resourcemanager.projects.get",
        ),
    ),
    (
        "roles/compute.networkAdmin",
        (
            "compute.networks.*", "compute.subnetworks.*", "compute.globalAddresses.*", "compute.globalOperations.get",
            "compute.regionOperations.get", "compute.firewalls.get", "compute.firewalls.list",
            "servicenetworking.services.*", "servicenetworking.operations.get", "serviceusage.services.get",
        ),
    ),
    ("roles/compute.securityAdmin", ("compute.firewalls.*", "compute.globalOperations.get")),
    ("roles/cloudsql.admin", ("cloudsql.*.*",)),
    ("roles/secretmanager.secretAccessor", ("secretmanager.versions.access",)),
    ("roles/secretmanager.admin", ("secretmanager.*.*",)),
    ("roles/storage.objectUser", ("storage.objects.*",)),
    ("roles/storage.admin", ("storage.*.*",)),
    (
        "roles/artifactregistry.reader",
        ("artifactregistry.*.get", "artifactregistry.*.list", "artifactregistry.repositories.downloadArtifacts"),
    ),
    ("roles/artifactregistry.admin", ("artifactregistry.*.*",)),
    ("roles/cloudbuild.builds.editor", ("cloudbuild.builds.*", "cloudbuild.operations.*")),
    ("roles/logging.viewer", ("logging.logEntries.list",)),
    ("roles/appengine.appCreator", ("appengine.applications.create",)),
    ("roles/appengine.appViewer", ("appengine.*.get", "appengine.*.list")),
    (
        "roles/appengine.appAdmin",
        (
            "appengine.applications.get", "appengine.applications.update", "appengine.operations.*",
            "appengine.services.*", "appengine.versions.*",
        ),
    ),
    ("roles/iap.admin", ("iap.*.getIamPolicy", "iap.*.setIamPolicy")),
)  # fmt: skip


def fewest(missing: Collection[str]) -> tuple[list[str], list[str]]:
    """The fewest roles, and of those the narrowest, that give some permissions.

    Returns:
        The roles, and the permissions that none of those known here gives.
    """
    left, chosen = set(missing), list[str]()
    while left:
        given = {role: {one for one in left if _matches(one, patterns)} for role, patterns in ROLES}
        best = max(given, key=lambda role: len(given[role]))  # the first of equals
        if not given[best]:
            break
        chosen.append(best)
        left -= given[best]
    return sorted(chosen), sorted(left)


def _matches(permission: str, patterns: Collection[str]) -> bool:
    return any(fnmatch.fnmatchcase(permission, pattern) for pattern in patterns)
