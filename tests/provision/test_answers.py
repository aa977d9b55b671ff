"""What each of Google's answers means: real bodies, with the public page that quotes them."""

import json
from datetime import UTC, datetime, timedelta

import httplib2
import pytest
from googleapiclient.errors import HttpError

from provision import errors, retry
from provision.circumstances import Circumstances
from provision.refusals import Refusal, refusal_of

ABSENT, AGAIN, FINAL, OTHERWISE = retry.Meaning


def platform(code, status, message, *details):
    """The newer family of error bodies."""
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


def legacy(code, reason, message, **more):
    """The older family: Compute, Cloud SQL, Cloud Storage."""
    return {"error": {"code": code, "message": message, "errors": [{"reason": reason, "message": message}], **more}}


def info(reason, **metadata):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}


def violated(kind, subject, description):
    found = {"type": kind, "subject": subject, "description": description}
    return {"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": [found]}


def ended(service, code, message):
    return errors.OperationFailed(message, code=code, service=service)


DENIED = "Permission 'secretmanager.secrets.create' denied on resource '//secretmanager.googleapis.com/projects/p' (or it may not exist)."
ON_ACCOUNT = "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist)."
NOT_USED = "Compute Engine API has not been used in project 618104708054 before or it is disabled. Enable it"
BILLING = "Billing account for project '1' is not found. Billing must be enabled for activation of service(s) 'compute.googleapis.com' to proceed."
OUTSIDER = "User eve@other.example is not in permitted organization."
WEEK = "The Cloud SQL instance already exists. When you delete an instance, you cannot reuse the name of the deleted instance until one week from the deletion date."
BUSY_APP = "Cannot operate on apps/p because an operation is already in progress for apps/p by 5f2."
LOCATION = "Constraint constraints/gcp.resourceLocations violated for [orgpolicy:projects/1] attempting to create a secret in [global]."
FLEX_QUOTA = "The following quotas were exceeded: CPUS (quota: 24, used: 24 + needed: 4), IN_USE_ADDRESSES (quota: 8, used: 8 + needed: 1)."
STORAGE_RATE = "The object p-provision-1/default/ledger.json exceeded the rate limit for object mutation operations (create, update, and delete). Please reduce your request rate."

# What it is: the body, what it means, seconds of patience, what must have been done, the error, the source.
ANSWERS = {
    "nothing under a name": (
        legacy(404, "notFound", "Unknown service account", status="NOT_FOUND"), ABSENT, 120, "made", errors.GoogleRefused,
        "https://github.com/GoogleCloudPlatform/magic-modules/pull/14447"),
    "App Engine's agent is new": (
        platform(404, "NOT_FOUND", "Unable to retrieve P4SA: [service-1@gcp-gae-service.iam.gserviceaccount.com] from GAIA."),
        AGAIN, 300, "", errors.GoogleRefused,
        "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go"),
    "an application is busy": (
        platform(409, "ABORTED", BUSY_APP), AGAIN, 1800, "", errors.GoogleRefused,
        "https://github.com/google-github-actions/setup-gcloud/issues/122"),
    "somebody edited the policy": (
        platform(409, "ABORTED", "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."),
        AGAIN, 120, "", errors.GoogleRefused, "https://github.com/DataBiosphere/leonardo/pull/737"),
    "a database is busy, by 409": (
        legacy(409, "operationInProgress", "Operation failed because another operation was already in progress."),
        AGAIN, 1800, "", errors.GoogleRefused, "https://github.com/hashicorp/terraform-provider-google/issues/3279"),
    "a database is busy, by 403": (
        legacy(403, "operationInProgress", "Operation failed because another operation was already in progress."),
        AGAIN, 1800, "", errors.GoogleRefused, "https://github.com/forseti-security/forseti-security/issues/1493"),
    "a database's name is kept": (
        legacy(409, "instanceAlreadyExists", WEEK), FINAL, 0, "", errors.NameReserved,
        "https://github.com/terraform-google-modules/terraform-google-gke-gitlab/issues/81"),
    "a right is missing": (
        platform(403, "PERMISSION_DENIED", DENIED, info("IAM_PERMISSION_DENIED", permission="secretmanager.secrets.create")),
        AGAIN, 420, "grant", errors.PermissionDenied, "https://cloud.google.com/iam/docs/permission-error-messages"),
    "a right on an account is missing": (
        platform(403, "PERMISSION_DENIED", ON_ACCOUNT, info("IAM_PERMISSION_DENIED", permission="iam.serviceAccounts.signJwt")),
        AGAIN, 420, "grant", errors.PermissionDenied, "https://cloud.google.com/iam/docs/access-change-propagation"),
    "an account that was just made may not be read yet": (
        platform(403, "PERMISSION_DENIED", ON_ACCOUNT.replace("signJwt", "getIamPolicy"), info("IAM_PERMISSION_DENIED")),
        AGAIN, 120, "made", errors.PermissionDenied, "https://cloud.google.com/iam/docs/service-account-overview#consistency"),
    "a right is missing, of Compute": (
        legacy(403, "forbidden", "Required 'compute.networks.create' permission for 'projects/p/global/networks/n'"),
        AGAIN, 420, "grant", errors.PermissionDenied, "https://cloud.google.com/iam/docs/access-change-propagation"),
    "an account may not be acted as": (
        platform(403, "PERMISSION_DENIED", "You do not have permission to act as 'mlflow-server@p.iam.gserviceaccount.com'"),
        AGAIN, 420, "grant", errors.PermissionDenied, "https://github.com/google-github-actions/setup-gcloud/issues/191"),
    "an API is off": (
        legacy(403, "accessNotConfigured", NOT_USED), AGAIN, 300, "enable", errors.ApiDisabled,
        "https://github.com/GoogleCloudPlatform/dlp-pdf-redaction/issues/31"),
    "a project may not be used to pay": (
        platform(403, "PERMISSION_DENIED", "Caller does not have required permission to use project p.", info("USER_PROJECT_DENIED")),
        FINAL, 0, "", errors.QuotaProjectMissing, "https://github.com/skyplane-project/skyplane/issues/784"),
    "credentials are not accepted": (
        platform(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."), FINAL, 0, "", errors.NotSignedIn,
        "https://cloud.google.com/docs/authentication/troubleshoot-adc"),
    "no billing account": (
        platform(400, "FAILED_PRECONDITION", BILLING, violated("googleapis.com/billing-enabled", "390001", BILLING),
                 info("UREQ_PROJECT_BILLING_NOT_FOUND")),
        FINAL, 0, "", errors.NoBilling, "https://github.com/kyegomez/zeta/issues/71"),
    "no billing account, of Storage": (
        legacy(403, "accountDisabled", "The project to be billed has not configured billing."), FINAL, 0, "", errors.NoBilling,
        "https://github.com/forseti-security/forseti-security/issues/1465"),
    "billing is disabled": (
        legacy(403, "forbidden", "Project p (#1) has billing disabled. Please enable it."), FINAL, 0, "", errors.NoBilling,
        "https://github.com/GoogleCloudPlatform/java-docs-samples/issues/276"),
    "a member from outside": (
        platform(400, "FAILED_PRECONDITION", "One or more users named in the policy do not belong to a permitted customer.",
                 violated("constraints/iam.allowedPolicyMemberDomains", "orgpolicy:projects/p?configvalue=eve@other.example", OUTSIDER)),
        FINAL, 0, "", errors.PolicyForbids, "https://github.com/terraform-google-modules/terraform-example-foundation/issues/1454"),
    "a location that is not allowed": (
        platform(400, "FAILED_PRECONDITION", LOCATION), FINAL, 0, "", errors.PolicyForbids,
        "https://github.com/firebase/firebase-tools/issues/6454"),
    "an external address that is not allowed": (
        legacy(412, "conditionNotMet", "Constraint constraints/compute.vmExternalIpAccess violated for project 1."),
        FINAL, 0, "", errors.PolicyForbids, "https://github.com/fortinet/fortigate-terraform-deploy/issues/34"),
    "quotas of a deployment": (
        platform(400, "INVALID_ARGUMENT", FLEX_QUOTA), FINAL, 0, "", errors.QuotaExceeded,
        "https://github.com/PolicyEngine/policyengine-api/issues/177"),
    "a quota of billing": (
        platform(400, "FAILED_PRECONDITION", "Precondition check failed.",
                 {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"description": "Cloud billing quota exceeded"}]}),
        FINAL, 0, "", errors.QuotaExceeded, "https://github.com/terraform-google-modules/terraform-google-project-factory/issues/28"),
    "billing is disabled, of an API": (
        platform(403, "PERMISSION_DENIED", "This API method requires billing to be enabled.", info("BILLING_DISABLED")),
        FINAL, 0, "", errors.NoBilling, "https://cloud.google.com/billing/docs/how-to/verify-billing-enabled"),
    "too many requests of an API in a minute": (
        platform(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'", info("RATE_LIMIT_EXCEEDED")),
        AGAIN, 300, "", errors.GoogleRefused, "https://cloud.google.com/apis/design/errors"),
    "a quota of Compute": (
        legacy(403, "quotaExceeded", "Quota 'NETWORKS' exceeded.  Limit: 15 globally."), FINAL, 0, "", errors.QuotaExceeded,
        "https://github.com/google/caliban/issues/66"),
    "too many operations at a time": (
        platform(403, "PERMISSION_DENIED", "Too many.", info("CONCURRENT_OPERATIONS_QUOTA_EXCEEDED")), AGAIN, 300, "",
        errors.GoogleRefused,
        "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go"),
    "too many writes of an object": (
        legacy(429, "rateLimitExceeded", STORAGE_RATE), AGAIN, 300, "", errors.GoogleRefused,
        "https://docs.cloud.google.com/storage/quotas.md.txt"),
    "a day's quota": (
        platform(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Requests' and limit 'Requests per day'"),
        FINAL, 0, "", errors.QuotaExceeded, "https://cloud.google.com/apis/design/errors"),
    "a bucket of somebody else": (
        legacy(409, "conflict", "The requested bucket name is not available. The bucket namespace is shared by all users of the system."),
        FINAL, 0, "", errors.NameTaken, "https://github.com/GoogleCloudPlatform/gsutil/pull/1166"),
    "an account that is new": (
        legacy(400, "badRequest", "Service account a@p.iam.gserviceaccount.com does not exist.", status="INVALID_ARGUMENT"),
        AGAIN, 150, "", errors.GoogleRefused, "https://github.com/googleapis/google-cloud-go/issues/11482"),
    "somebody else switches APIs on": (
        platform(400, "FAILED_PRECONDITION", "Another activation or deactivation is in progress for project 1"), AGAIN, 600, "",
        errors.GoogleRefused, "https://github.com/terraform-google-modules/terraform-google-project-factory/issues/461"),
    "a resource that is not ready": (
        legacy(400, "resourceNotReady", "The resource 'projects/p/global/networks/n' is not ready"), AGAIN, 600, "",
        errors.GoogleRefused, "https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-api-errors"),
    "a peering that is changing": (
        legacy(400, "invalid", "There is a peering operation in progress on the local or peer network. Try again later."),
        AGAIN, 600, "", errors.GoogleRefused,
        "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go"),
    "a fingerprint that was overtaken": (
        legacy(412, "conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint."), AGAIN, 60, "",
        errors.GoogleRefused,
        "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go"),
    "a region without builds": (
        platform(400, "FAILED_PRECONDITION", "failed precondition: due to quota restrictions, cannot run builds in this region."),
        OTHERWISE, 0, "", errors.GoogleRefused, "https://github.com/google-github-actions/deploy-cloudrun/issues/480"),
    "a tier that the edition does not have": (
        legacy(400, "badRequest", "Invalid request: Invalid Tier (db-f1-micro) for (ENTERPRISE_PLUS) Edition. Use a predefined Tier."),
        FINAL, 0, "", errors.SettingRefused,
        "https://github.com/hashicorp/terraform-provider-google/blob/main/website/docs/r/sql_database_instance.html.markdown"),
    "whatever else": (
        platform(400, "INVALID_ARGUMENT", "Request contains an invalid argument."), FINAL, 0, "", errors.GoogleRefused,
        "https://cloud.google.com/apis/design/errors"),
}  # fmt: skip

ENDS = {
    "APIs that failed to be switched on": (
        ended("serviceusage", 13, "160009 with failed services [compute.googleapis.com]"), AGAIN,
        "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go"),
    "an image that may not be pulled yet": (
        ended("appengine", 7, "The App Engine appspot and App Engine flexible environment service accounts must have permissions on the image [x]"),
        AGAIN, "https://docs.cloud.google.com/artifact-registry/docs/integrate-app-engine"),
    "ranges that may not be read yet": (
        ended("servicenetworking", 7, "Required 'compute.globalAddresses.list' permission for 'projects/1'"), AGAIN,
        "https://github.com/GoogleCloudPlatform/cloud-foundation-fabric/issues/1399"),
    "a connection that producers hold on to": (
        ended("servicenetworking", 9, "Failed to delete connection; Producer services (e.g. CloudSQL, Cloud Memstore, etc.) are still using this connection."),
        OTHERWISE, "https://github.com/hashicorp/terraform-provider-google/issues/16275"),
    "a build that failed inside of Google": (
        ended("cloudbuild", "INTERNAL_ERROR", "the build ended with INTERNAL_ERROR"), AGAIN, "https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds"),
    "a build that failed": (
        ended("cloudbuild", "USER_BUILD_STEP", "the build ended with FAILURE"), FINAL, "https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds"),
    "a database that failed": (
        ended("sqladmin", "INTERNAL_ERROR", "Failed to create instance"), FINAL, "https://cloud.google.com/sql/docs/troubleshooting"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "meaning", "patience", "after", "error", "source"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer(body, meaning, patience, after, error, source):
    """Whether it heals, by what, how long that may take, and what the user is told when it does not."""
    refused = HttpError(httplib2.Response({"status": body["error"]["code"]}), json.dumps(body).encode())
    rule = retry.meaning_of(refusal_of(refused))

    assert (rule.meaning, rule.patience, rule.after, rule.error) == (meaning, patience, after, error)
    assert source.startswith("https://")


@pytest.mark.parametrize(("failure", "meaning", "source"), ENDS.values(), ids=ENDS)
def test_an_operations_end(failure, meaning, source):
    """It is told as it is when it does not heal: the API's own words are in it already."""
    assert retry.meaning_of(refusal_of(failure)).meaning is meaning
    assert retry.explained(failure, "waiting") is failure
    assert source.startswith("https://")


@pytest.mark.parametrize(("service", "code"), [("compute", "QUOTA_EXCEEDED"), ("appengine", 8)])
def test_an_operation_ends_for_want_of_quota(service, code):
    """That is what the user is told, with Google's words, since waiting would not help."""
    told = retry.explained(
        ended(service, code, "Quota 'CPUS' exceeded.  Limit: 24.0 in region europe-west1."), "waiting"
    )

    assert isinstance(told, errors.QuotaExceeded)
    assert "Limit: 24.0" in str(told)


def test_an_operation_ends_for_a_policy():
    """Some policies are only met there, such as the one about peerings; who may make an exception is told."""
    words = "Constraint constraints/compute.restrictVpcPeering violated for project p. Peering the network n is not allowed."
    told = retry.explained(ended("servicenetworking", 9, words), "connecting")

    assert isinstance(told, errors.PolicyForbids)
    assert "for an exception from compute.restrictVpcPeering for the project." in told.hint


PUSHER, SERVER = "log-pusher@p.iam.gserviceaccount.com", "server@p.iam.gserviceaccount.com"
GRANTED = [
    pytest.param(
        f"{SERVER} does not have storage.objects.get access to the object.", True, id="an account that was given roles"
    ),
    pytest.param(
        f"Permission 'iam.serviceAccounts.signJwt' denied on '{PUSHER}'", True, id="who may sign for an account by now"
    ),
    pytest.param(
        f"You do not have permission to act as '{SERVER}'",
        False,
        id="who may not act as an account that was given roles",
    ),
    pytest.param(
        "Required 'compute.networks.create' permission for 'projects/p'",
        False,
        id="the caller, to whom nobody gave any",
    ),
]


@pytest.mark.parametrize(("message", "explained"), GRANTED)
def test_whose_right_may_be_on_its_way(message, explained):
    """Of those to whom something was granted a moment ago, and not of an account that is only spoken of; nor later."""
    begun = datetime(2026, 1, 1, tzinfo=UTC)

    def heals(seconds_later):
        known = Circumstances(now=lambda: begun + timedelta(seconds=seconds_later))
        known.note("projects/p/iamPolicy", {"bindings": {"r": [f"serviceAccount:{SERVER}"]}}, begun)
        known.note(f"projects/p/serviceAccounts/{PUSHER}/iamPolicy", {"bindings": {"r": ["user:ada@p"]}}, begun)
        return known.explain("grant", Refusal(403, message=message))

    assert heals(599) is explained
    assert not heals(601)


def test_a_door_that_is_not_switched_on_needs_a_client():
    """No word of such an answer is known: what was worked on tells (https://cloud.google.com/iap/docs/reference/app-engine-apis)."""
    body = platform(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
    refused = HttpError(httplib2.Response({"status": 400}), json.dumps(body).encode())
    told = {about: type(retry.explained(refused, "x", about=about)) for about in ("apps/p/iap", "apps/p", "")}

    assert told == {"apps/p/iap": errors.NeedsCustomClient, "apps/p": errors.GoogleRefused, "": errors.GoogleRefused}


def test_what_a_policy_names_is_told():
    """Google's first sentence names nobody."""
    body = ANSWERS["a member from outside"][0]
    refused = HttpError(httplib2.Response({"status": 400}), json.dumps(body).encode())

    assert "eve@other.example" in str(retry.explained(refused, "granting"))


def test_a_grant_on_an_account_explains_answers_about_that_account_only():
    """Whoever was let act as it has no other right on the way; and no answer is explained by a clock that was ahead."""
    account = "projects/p/serviceAccounts/pusher@p.iam.gserviceaccount.com/iamPolicy"
    now = datetime(2026, 9, 1, 8, tzinfo=UTC)
    lately, ahead = Circumstances(now=lambda: now), Circumstances(now=lambda: now)
    for circumstances, at in ((lately, now), (ahead, now + timedelta(hours=1))):
        circumstances.note(account, {"bindings": {"roles/r": ["user:ada@example.com"]}}, at)
    acting = Refusal(403, message="iam.serviceAccounts.signJwt denied on pusher@p.iam.gserviceaccount.com")
    writing = Refusal(403, message="ada@example.com does not have storage.buckets.create access")

    assert [lately.explain("grant", acting), lately.explain("grant", writing)] == [True, False]
    assert not ahead.explain("grant", acting)


@pytest.mark.parametrize(
    ("message", "constraint"),
    [
        pytest.param(LOCATION, "gcp.resourceLocations", id="in the sentence"),
        pytest.param("'us' violates constraint 'constraints/gcp.resourceLocations'.", "gcp.resourceLocations", id="quoted"),
        pytest.param("users do not belong to a permitted customer.", "iam.allowedPolicyMemberDomains", id="in other words"),
    ],
)  # fmt: skip
def test_a_constraint_is_told_with_what_to_do_about_it(message, constraint):
    """The setting that keeps clear of it, and what the administrator is to be asked for."""
    body = platform(400, "FAILED_PRECONDITION", message)
    told = retry.explained(HttpError(httplib2.Response({"status": 400}), json.dumps(body).encode()), "creating")

    assert isinstance(told, errors.PolicyForbids)
    assert " in provision.toml" in told.hint
    assert f"for an exception from {constraint} for the project." in told.hint
