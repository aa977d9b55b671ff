"""What each IAM role allows, as far as the emulated APIs ask.

https://cloud.google.com/iam/docs/roles-permissions. `*` stands for any text.
Permissions that no emulated method asks are left out.
"""

import fnmatch
import functools

_VIEW = ("*.get", "*.list", "*.search", "*.getIamPolicy", "*.testIamPermissions")

ROLES: dict[str, tuple[str, ...]] = {
    "roles/owner": ("*",),
    "roles/editor": ("*",),  # less what NOT_FOR says
    "roles/viewer": _VIEW,
    "roles/browser": ("resourcemanager.projects.get", "resourcemanager.projects.list"),
    "roles/appengine.appAdmin": (
        "appengine.applications.get",
        "appengine.applications.update",
        "appengine.instances.*",
        "appengine.operations.*",
        "appengine.services.*",
        "appengine.versions.create",
        "appengine.versions.delete",
        "appengine.versions.get",
        "appengine.versions.list",
        "appengine.versions.update",
        "resourcemanager.projects.get",
    ),
    "roles/appengine.appCreator": ("appengine.applications.create", "resourcemanager.projects.get"),
    "roles/appengine.appViewer": ("appengine.*.get", "appengine.*.list"),
    "roles/appengine.deployer": ("appengine.*.get", "appengine.*.list", "appengine.versions.*"),
    "roles/appengineflex.serviceAgent": ("appengine.*", "compute.*", "storage.*", "artifactregistry.*", "logging.*"),
    "roles/artifactregistry.admin": ("artifactregistry.*",),
    "roles/artifactregistry.reader": (
        "artifactregistry.*.get",
        "artifactregistry.*.list",
        "artifactregistry.repositories.downloadArtifacts",
    ),
    "roles/artifactregistry.writer": (
        "artifactregistry.*.get",
        "artifactregistry.*.list",
        "artifactregistry.repositories.downloadArtifacts",
        "artifactregistry.repositories.uploadArtifacts",
        "artifactregistry.tags.create",
        "artifactregistry.tags.update",
    ),
    # https://docs.cloud.google.com/iam/docs/roles-permissions/cloudbuild: a permission of its own for operations
    "roles/cloudbuild.builds.builder": (
        "cloudbuild.builds.*",
        "cloudbuild.operations.*",
        "logging.logEntries.create",
        "storage.objects.*",
        "storage.buckets.get",
        "artifactregistry.repositories.*Artifacts",
    ),
    "roles/billing.user": ("billing.accounts.get", "billing.accounts.list", "billing.resourceAssociations.create"),
    "roles/billing.viewer": ("billing.accounts.get", "billing.accounts.list", "billing.resourceAssociations.list"),
    "roles/cloudbuild.builds.editor": (
        "cloudbuild.builds.*",
        "cloudbuild.operations.*",
        "resourcemanager.projects.get",
    ),
    "roles/cloudsql.admin": ("cloudsql.*",),
    "roles/cloudsql.client": ("cloudsql.instances.connect", "cloudsql.instances.get"),
    "roles/cloudsql.editor": (
        "cloudsql.instances.get",
        "cloudsql.instances.list",
        "cloudsql.instances.update",
        "cloudsql.databases.*",
    ),
    "roles/cloudsql.viewer": ("cloudsql.*.get", "cloudsql.*.list"),
    "roles/compute.networkAdmin": (
        "compute.networks.*",
        "compute.subnetworks.*",
        "compute.*ddresses.*",
        "compute.routes.*",
        "compute.firewalls.get",
        "compute.firewalls.list",
        "compute.globalOperations.get",
        "compute.globalOperations.list",
        "compute.regionOperations.get",
        "compute.regionOperations.list",
        "compute.projects.get",
        "compute.regions.*",
        "compute.zones.*",
        "servicenetworking.*",
        "serviceusage.services.get",
        "serviceusage.services.list",
        "resourcemanager.projects.get",
    ),
    "roles/compute.securityAdmin": (
        "compute.firewalls.*",
        "compute.globalOperations.get",
        "compute.networks.get",
        "compute.networks.list",
        "compute.networks.updatePolicy",
        "compute.projects.get",
        "compute.regions.*",
    ),
    "roles/iam.serviceAccountAdmin": (
        "iam.serviceAccounts.create",
        "iam.serviceAccounts.delete",
        "iam.serviceAccounts.disable",
        "iam.serviceAccounts.enable",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.getIamPolicy",
        "iam.serviceAccounts.list",
        "iam.serviceAccounts.setIamPolicy",
        "iam.serviceAccounts.undelete",
        "iam.serviceAccounts.update",
        "resourcemanager.projects.get",
    ),
    "roles/iam.serviceAccountKeyAdmin": ("iam.serviceAccountKeys.*",),
    "roles/iam.serviceAccountTokenCreator": (
        "iam.serviceAccounts.getAccessToken",
        "iam.serviceAccounts.getOpenIdToken",
        "iam.serviceAccounts.implicitDelegation",
        "iam.serviceAccounts.signBlob",
        "iam.serviceAccounts.signJwt",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.list",
    ),
    "roles/iam.serviceAccountOpenIdTokenCreator": ("iam.serviceAccounts.getOpenIdToken",),
    "roles/iam.serviceAccountUser": (
        "iam.serviceAccounts.actAs",
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.list",
    ),
    "roles/iam.workloadIdentityUser": (
        "iam.serviceAccounts.get",
        "iam.serviceAccounts.getAccessToken",
        "iam.serviceAccounts.getOpenIdToken",
        "iam.serviceAccounts.list",
    ),
    "roles/iap.httpsResourceAccessor": ("iap.webServiceVersions.accessViaIAP",),
    "roles/iap.admin": ("iap.*.getIamPolicy", "iap.*.setIamPolicy"),
    "roles/iap.settingsAdmin": ("iap.*.getSettings", "iap.*.updateSettings"),
    "roles/logging.logWriter": ("logging.logEntries.create", "logging.logEntries.route"),
    "roles/logging.viewer": ("logging.*.get", "logging.*.list"),
    "roles/logging.admin": ("logging.*",),
    "roles/monitoring.metricWriter": ("monitoring.timeSeries.create", "monitoring.metricDescriptors.*"),
    "roles/orgpolicy.policyViewer": ("orgpolicy.policies.list", "orgpolicy.policy.get"),
    "roles/resourcemanager.organizationViewer": ("resourcemanager.organizations.get",),
    "roles/resourcemanager.projectIamAdmin": (
        "resourcemanager.projects.get",
        "resourcemanager.projects.getIamPolicy",
        "resourcemanager.projects.setIamPolicy",
    ),
    "roles/run.admin": ("run.*",),
    "roles/run.invoker": ("run.routes.invoke", "run.jobs.run"),
    "roles/secretmanager.admin": ("secretmanager.*",),
    "roles/secretmanager.secretAccessor": ("secretmanager.versions.access",),
    "roles/secretmanager.viewer": ("secretmanager.*.get", "secretmanager.*.list"),
    "roles/servicenetworking.serviceAgent": ("compute.*", "servicenetworking.*"),
    "roles/serviceusage.serviceUsageAdmin": ("serviceusage.*",),
    "roles/serviceusage.serviceUsageConsumer": (
        "serviceusage.services.use",
        "serviceusage.services.get",
        "serviceusage.services.list",
    ),
    "roles/storage.admin": ("storage.*",),
    "roles/storage.legacyBucketOwner": (
        "storage.buckets.get",
        "storage.buckets.update",
        "storage.buckets.getIamPolicy",
        "storage.buckets.setIamPolicy",
        "storage.objects.create",
        "storage.objects.delete",
        "storage.objects.list",
    ),
    "roles/storage.legacyBucketReader": ("storage.buckets.get", "storage.objects.list"),
    "roles/storage.legacyObjectReader": ("storage.objects.get",),
    "roles/storage.legacyObjectOwner": (
        "storage.objects.get",
        "storage.objects.update",
        "storage.objects.*etIamPolicy",
    ),
    "roles/storage.objectAdmin": ("storage.objects.*", "storage.folders.*", "storage.multipartUploads.*"),
    "roles/storage.objectCreator": ("storage.objects.create",),
    "roles/storage.objectUser": (
        "storage.objects.create",
        "storage.objects.delete",
        "storage.objects.get",
        "storage.objects.list",
        "storage.objects.update",
        "storage.objects.move",
        "storage.objects.restore",
        "storage.folders.*",
        "storage.multipartUploads.*",
    ),
    "roles/storage.objectViewer": (
        "storage.objects.get",
        "storage.objects.list",
        "storage.folders.get",
        "storage.folders.list",
    ),
}
NOT_FOR = {
    "roles/editor": (
        "*.setIamPolicy",
        "secretmanager.versions.access",
        "iam.serviceAccounts.get*Token",
        "iam.serviceAccounts.sign*",
        "iap.webServiceVersions.accessViaIAP",
        "storage.*",
    ),
    # projectOwner reaches buckets by their own legacy roles, and no basic role opens a door
    "roles/owner": (
        "storage.objects.*",
        "storage.buckets.get",
        "storage.buckets.update",
        "storage.buckets.*etIamPolicy",
        "iap.webServiceVersions.accessViaIAP",
        "iam.serviceAccounts.get*Token",
        "iam.serviceAccounts.sign*",
    ),
}


@functools.cache
def grants(role: str, permission: str) -> bool:
    """Whether a role holds a permission; an unknown role holds none."""
    if any(fnmatch.fnmatchcase(permission, pattern) for pattern in NOT_FOR.get(role, ())):
        return False
    return any(fnmatch.fnmatchcase(permission, pattern) for pattern in ROLES.get(role, ()))
