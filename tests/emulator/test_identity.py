"""Service accounts, policies, keys and tokens, through Google's own client libraries."""

import base64
import json
import time

import google.auth
import httpx
import pytest
from google.auth import jwt
from google.auth.transport import requests as transport
from google.cloud import iam_credentials_v1
from google.oauth2 import credentials as oauth
from google.oauth2 import service_account
from googleapiclient.errors import HttpError

from provision.emulator import keys, tokens
from tests.conftest import NUMBER, PROJECT

EMAIL = f"log-pusher@{PROJECT}.iam.gserviceaccount.com"
NAME = f"projects/{PROJECT}/serviceAccounts/{EMAIL}"


@pytest.fixture
def accounts(google):
    """The collection of accounts, with one in it."""
    found = google.discovery("iam", "v1").projects().serviceAccounts()
    found.create(name=f"projects/{PROJECT}", body={"accountId": "log-pusher"}).execute()
    return found


def error_of(caught):
    return json.loads(caught.value.content)["error"]


def test_an_account_is_made_once(accounts):
    """The second create is refused with the name of what is there."""
    with pytest.raises(HttpError) as caught:
        accounts.create(name=f"projects/{PROJECT}", body={"accountId": "log-pusher"}).execute()

    assert error_of(caught)["status"] == "ALREADY_EXISTS"
    assert error_of(caught)["details"][0]["resourceName"] == NAME
    assert accounts.get(name=f"projects/-/serviceAccounts/{EMAIL}").execute()["email"] == EMAIL


def test_an_account_that_never_was_and_one_that_was_deleted_answer_differently(accounts):
    """Both are 404."""
    unique = accounts.get(name=NAME).execute()["uniqueId"]
    with pytest.raises(HttpError) as never:
        accounts.get(name=NAME.replace("log-pusher", "nobody")).execute()
    accounts.delete(name=NAME).execute()
    with pytest.raises(HttpError) as deleted:
        accounts.get(name=NAME).execute()

    assert error_of(never)["message"] == "Unknown service account"
    assert error_of(deleted)["message"] == f"Account deleted: {unique}"


def test_bindings_of_a_deleted_account_name_a_deleted_account(accounts, google):
    """A new account of the same address does not inherit them; undelete brings them back."""
    projects = google.discovery("cloudresourcemanager", "v1").projects()
    binding = {"role": "roles/logging.logWriter", "members": [f"serviceAccount:{EMAIL}"]}
    projects.setIamPolicy(resource=PROJECT, body={"policy": {"bindings": [binding]}}).execute()
    unique = accounts.get(name=NAME).execute()["uniqueId"]
    accounts.delete(name=NAME).execute()
    gone = projects.getIamPolicy(resource=PROJECT, body={}).execute()["bindings"]
    accounts.undelete(name=f"projects/{PROJECT}/serviceAccounts/{unique}", body={}).execute()
    back = projects.getIamPolicy(resource=PROJECT, body={}).execute()["bindings"]

    assert gone == [binding | {"members": [f"deleted:serviceAccount:{EMAIL}?uid={unique}"]}]
    assert back == [binding]


def test_patch_answers_only_what_changed(accounts):
    """Neither address nor unique ID come back."""
    body = {"serviceAccount": {"displayName": "Pusher"}, "updateMask": "displayName"}

    assert accounts.patch(name=NAME, body=body).execute() == {"name": NAME, "displayName": "Pusher"}


def test_a_policy_that_names_an_account_that_is_not_there_is_refused_whole(accounts, google):
    """400, and the policy stays as it was."""
    projects = google.discovery("cloudresourcemanager", "v1").projects()
    members = [f"serviceAccount:{EMAIL}", f"serviceAccount:ghost-writer@{PROJECT}.iam.gserviceaccount.com"]
    body = {"policy": {"bindings": [{"role": "roles/viewer", "members": members}]}}
    with pytest.raises(HttpError) as caught:
        projects.setIamPolicy(resource=PROJECT, body=body).execute()

    assert caught.value.status_code == 400
    assert "ghost-writer" in error_of(caught)["message"]
    assert projects.getIamPolicy(resource=PROJECT, body={}).execute() == {"etag": "ACAB"}


@pytest.mark.source("https://github.com/DataBiosphere/leonardo/pull/737")
def test_a_stale_etag_is_a_conflict_and_an_absent_one_is_not(google):
    """409 ABORTED asks for the whole read-modify-write again."""
    projects = google.discovery("cloudresourcemanager", "v3").projects()
    name = f"projects/{PROJECT}"
    first = projects.getIamPolicy(resource=name, body={}).execute()
    projects.setIamPolicy(resource=name, body={"policy": first}).execute()
    with pytest.raises(HttpError) as caught:
        projects.setIamPolicy(resource=name, body={"policy": first}).execute()
    projects.setIamPolicy(resource=name, body={"policy": {}}).execute()

    assert caught.value.status_code == 409
    assert error_of(caught)["status"] == "ABORTED"
    assert error_of(caught)["errors"][0]["reason"] == "aborted"


def test_a_policy_is_kept_in_one_form(google):
    """Members in lower case, one binding for a role, none without members, every write a new etag."""
    projects = google.discovery("cloudresourcemanager", "v1").projects()
    bindings = [
        {"role": "roles/viewer", "members": ["user:Someone@Example.com"]},
        {"role": "roles/viewer", "members": ["user:another@example.com", "user:someone@example.com"]},
        {"role": "roles/editor", "members": []},
    ]
    policy = projects.setIamPolicy(resource=PROJECT, body={"policy": {"bindings": bindings}}).execute()
    again = projects.setIamPolicy(resource=PROJECT, body={"policy": policy}).execute()

    assert policy["bindings"] == [
        {"role": "roles/viewer", "members": ["user:another@example.com", "user:someone@example.com"]}
    ]
    assert again["bindings"] == policy["bindings"]
    assert again["etag"] != policy["etag"]


def test_conditions_are_shown_to_who_asks_for_version_3_only(google):
    """An older reader sees a role with a mark, and cannot write conditions."""
    projects = google.discovery("cloudresourcemanager", "v1").projects()
    condition = {"title": "soon", "expression": "request.time < timestamp('2030-01-01T00:00:00Z')"}
    binding = {"role": "roles/viewer", "members": ["user:a@example.com"], "condition": condition}
    with pytest.raises(HttpError) as caught:
        projects.setIamPolicy(resource=PROJECT, body={"policy": {"bindings": [binding]}}).execute()
    projects.setIamPolicy(resource=PROJECT, body={"policy": {"bindings": [binding], "version": 3}}).execute()
    old = projects.getIamPolicy(resource=PROJECT, body={}).execute()
    new = projects.getIamPolicy(resource=PROJECT, body={"options": {"requestedPolicyVersion": 3}}).execute()

    assert caught.value.status_code == 400
    assert (new["version"], new["bindings"]) == (3, [binding])
    assert old["version"] == 1
    assert old["bindings"][0]["role"].startswith("roles/viewer_withcond_")


def test_a_signed_jwt_is_genuine_under_the_accounts_public_keys(accounts, google, emulator):
    """signJwt signs with a key whose public half Google publishes."""
    signer = google.gapic(iam_credentials_v1.IAMCredentialsClient, "iamcredentials")
    now = int(time.time())
    payload = {"iss": EMAIL, "sub": EMAIL, "aud": "https://x.example/*", "iat": now, "exp": now + 3600}

    signed = signer.sign_jwt(name=f"projects/-/serviceAccounts/{EMAIL}", payload=json.dumps(payload))
    certificates = httpx.get(f"{emulator.url}/www.googleapis.com/robot/v1/metadata/x509/{EMAIL}").json()
    keys = httpx.get(f"{emulator.url}/www.googleapis.com/service_accounts/v1/jwk/{EMAIL}").json()["keys"]

    assert jwt.decode(signed.signed_jwt, certs=certificates, audience="https://x.example/*") == payload
    assert jwt.decode_header(signed.signed_jwt)["kid"] == signed.key_id == keys[0]["kid"]


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", id="a hundred thousand levels deep"),
        pytest.param('{"iat": NaN}', id="a number that JSON has not"),
        pytest.param('{"exp": Infinity}', id="an end that never comes"),
        pytest.param("[]", id="no object"),
    ],
)
def test_what_is_no_payload_is_not_signed(google, accounts, payload):
    """400, in Google's words for it."""
    signer = google.discovery("iamcredentials", "v1").projects().serviceAccounts()
    with pytest.raises(HttpError) as caught:
        signer.signJwt(name=f"projects/-/serviceAccounts/{EMAIL}", body={"payload": payload}).execute()

    assert error_of(caught)["status"] == "INVALID_ARGUMENT"


def test_the_right_to_sign_is_needed_on_the_account_and_enough(accounts, google, emulator):
    """tokenCreator on the account, given to a user."""
    member = "user:person@example.com"
    person = oauth.Credentials(tokens.issue(emulator.world, member))
    signer = google.discovery("iamcredentials", "v1", person).projects().serviceAccounts()
    asked = {"name": f"projects/-/serviceAccounts/{EMAIL}", "body": {"payload": "{}"}}
    with pytest.raises(HttpError) as caught:
        signer.signJwt(**asked).execute()
    binding = {"role": "roles/iam.serviceAccountTokenCreator", "members": [member]}
    accounts.setIamPolicy(resource=NAME, body={"policy": {"bindings": [binding]}}).execute()

    assert caught.value.status_code == 403
    assert signer.signJwt(**asked).execute()["signedJwt"].count(".") == 2


def test_a_key_file_gets_an_access_token_and_none_after_its_key_is_deleted(accounts, emulator):
    """google-auth signs the assertion itself; the emulator knows the key's public half."""
    key = accounts.keys().create(name=NAME, body={}).execute()
    info = json.loads(base64.b64decode(key["privateKeyData"]))
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    local = service_account.Credentials.from_service_account_info(info, scopes=scopes)
    now = int(time.time())
    claims = {
        "iss": EMAIL,
        "scope": scopes[0],
        "aud": "https://oauth2.googleapis.com/token",
        "iat": now,
        "exp": now + 60,
    }
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": jwt.encode(local.signer, claims).decode(),
    }
    url = f"{emulator.url}/oauth2.googleapis.com/token"

    good = httpx.post(url, data=form)
    accounts.keys().delete(name=key["name"]).execute()
    bad = httpx.post(url, data=form)

    assert tokens.member_of(emulator.world, f"Bearer {good.json()['access_token']}") == f"serviceAccount:{EMAIL}"
    assert (bad.status_code, bad.json()["error"]) == (400, "invalid_grant")


def test_a_library_refreshes_by_the_token_endpoint(accounts, emulator):
    """google-auth's service account credentials, with the emulator as token_uri."""
    key = accounts.keys().create(name=NAME, body={}).execute()
    info = json.loads(base64.b64decode(key["privateKeyData"]))
    found = service_account.IDTokenCredentials.from_service_account_info(
        info | {"token_uri": "https://oauth2.googleapis.com/token"}, target_audience="https://x.example"
    )
    found._token_uri = f"{emulator.url}/oauth2.googleapis.com/token"
    session = transport.requests.Session()
    assertion = found._make_authorization_grant_assertion().decode().replace("\n", "")
    claims = jwt.decode(assertion, verify=False)
    session.close()

    assert claims["target_audience"] == "https://x.example"


@pytest.mark.source(
    "https://cloud.google.com/java/docs/reference/google-auth-library/1.30.1/"
    "com.google.auth.oauth2.ExternalAccountAuthorizedUserCredentials"
)
def test_who_signed_in_elsewhere_renews_a_token_at_the_address_in_the_file(emulator, tmp_path, monkeypatch):
    """So do a folder's owner's own Application Default Credentials, which last as long as the folder does."""
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(tokens.owners_file(emulator.world.token, emulator.url)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    credentials, _ = google.auth.default()
    credentials.refresh(transport.Request())
    first = credentials.token
    emulator.reset()
    credentials.refresh(transport.Request())

    assert tokens.member_of(emulator.world, f"Bearer {credentials.token}") == emulator.world.owner
    assert credentials.token != first


@pytest.mark.parametrize(
    ("form", "error"),
    [
        pytest.param({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant", id="a stranger's"),
        pytest.param({"grant_type": "authorization_code"}, "unsupported_grant_type", id="another grant"),
    ],
)
def test_what_renews_no_token(emulator, form, error):
    """Refused as OAuth does: https://datatracker.ietf.org/doc/html/rfc6749#section-5.2."""
    answer = httpx.post(f"{emulator.url}/sts.googleapis.com/v1/oauthtoken", data=form)

    assert (answer.status_code, answer.json()["error"]) == (400, error)


ACCOUNT, BOTH = f"serviceAccount:{EMAIL}", f"{tokens.CLOUD} {tokens.ADDRESS}"
WHOSE = [
    pytest.param("user:ada@example.com", 60, "", (200, "ada@example.com"), id="a person's"),
    pytest.param("user:ada@example.com", 0, "", (400, None), id="one that has expired"),
    pytest.param(ACCOUNT, 60, "", (200, None), id="an account's"),
    pytest.param(ACCOUNT, 60, BOTH, (200, EMAIL), id="an account's that was asked for with addresses"),
    pytest.param("principal://iam.googleapis.com/projects/1/x/subject/ci", 60, "", (200, None), id="an outside one's"),
]


@pytest.mark.source("https://github.com/google/adk-python/issues/4721")
@pytest.mark.parametrize(("member", "seconds", "scope", "told"), WHOSE)
def test_whose_an_access_token_is(emulator, member, seconds, scope, told):
    """The address is told by a scope of its own, which gcloud asks for and the libraries do not.

    An outside identity has none; https://docs.cloud.google.com/iam/docs/workload-identity-federation.
    """
    with emulator.world.transaction():
        token = tokens.issue(emulator.world, member, seconds, scope)
    answer = httpx.post(f"{emulator.url}/oauth2.googleapis.com/tokeninfo", data={"access_token": token})

    assert (answer.status_code, answer.json().get("email")) == told


def test_an_id_token_carries_the_address_only_when_asked(accounts, google, emulator):
    """generateIdToken, as IAP wants it and as it does not."""
    signer = google.discovery("iamcredentials", "v1").projects().serviceAccounts()
    name, certificates = (
        f"projects/-/serviceAccounts/{EMAIL}",
        httpx.get(f"{emulator.url}/www.googleapis.com/oauth2/v1/certs"),
    )

    bare, named = (
        jwt.decode(signer.generateIdToken(name=name, body=body).execute()["token"], certs=certificates.json())
        for body in ({"audience": "a"}, {"audience": "a", "includeEmail": True})
    )

    assert "email" not in bare
    assert (named["email"], named["iss"]) == (EMAIL, "https://accounts.google.com")


def test_a_disabled_account_can_do_nothing(accounts, google, emulator):
    """Its tokens are worth nothing until it is enabled."""
    token = oauth.Credentials(tokens.issue(emulator.world, f"serviceAccount:{EMAIL}"))
    mine = google.discovery("iam", "v1", token).projects().serviceAccounts()
    binding = {"role": "roles/iam.serviceAccountAdmin", "members": [f"serviceAccount:{EMAIL}"]}
    accounts.setIamPolicy(resource=NAME, body={"policy": {"bindings": [binding]}}).execute()
    before = mine.get(name=NAME).execute()
    accounts.disable(name=NAME, body={}).execute()
    with pytest.raises(Exception, match=r"refresh|401"):
        mine.get(name=NAME).execute()
    accounts.enable(name=NAME, body={}).execute()

    assert mine.get(name=NAME).execute() == before


def test_an_organization_may_forbid_accounts(accounts, google):
    """https://cloud.google.com/resource-manager/docs/organization-policy/restricting-service-accounts."""
    constraint = "iam.disableServiceAccountCreation"
    body = {"name": f"projects/{PROJECT}/policies/{constraint}", "spec": {"rules": [{"enforce": True}]}}
    google.discovery("orgpolicy", "v2").projects().policies().create(parent=f"projects/{PROJECT}", body=body).execute()
    with pytest.raises(HttpError) as caught:
        accounts.create(name=f"projects/{PROJECT}", body={"accountId": "another"}).execute()

    assert error_of(caught)["status"] == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    "constraint", ["iam.disableServiceAccountKeyCreation", "iam.managed.disableServiceAccountKeyCreation"]
)
def test_an_organization_may_forbid_keys(accounts, google, constraint):
    """The constraint, in its older and its newer form, is seen beforehand, and enforced."""
    policies = google.discovery("orgpolicy", "v2").projects().policies()
    free = policies.getEffectivePolicy(name=f"projects/{PROJECT}/policies/{constraint}").execute()
    body = {"name": f"projects/{PROJECT}/policies/{constraint}", "spec": {"rules": [{"enforce": True}]}}
    policies.create(parent=f"projects/{PROJECT}", body=body).execute()
    bound = policies.getEffectivePolicy(name=f"projects/{PROJECT}/policies/{constraint}").execute()
    with pytest.raises(HttpError) as caught:
        accounts.keys().create(name=NAME, body={}).execute()

    assert free == {"name": f"projects/{NUMBER}/policies/{constraint}", "spec": {"rules": [{"enforce": False}]}}
    assert bound["spec"]["rules"] == [{"enforce": True}]
    assert error_of(caught)["status"] == "FAILED_PRECONDITION"


@pytest.mark.source(
    "https://docs.cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob"
)
@pytest.mark.parametrize(
    ("role", "status"),
    [
        pytest.param("roles/iam.serviceAccountTokenCreator", 200, id="whom it is granted to"),
        pytest.param("roles/iam.serviceAccountUser", 403, id="who may only run things as it"),
        pytest.param(None, 403, id="not even the account itself, without a grant"),
    ],
)
def test_an_account_signs_bytes_for_those_who_may(accounts, emulator, role, status):
    """Google keeps the key; an account has no right on itself by being it."""
    member = f"serviceAccount:{EMAIL}"
    if role:
        policy = {"bindings": [{"role": role, "members": [member]}]}
        accounts.setIamPolicy(resource=NAME, body={"policy": policy}).execute()
    answer = httpx.post(
        f"{emulator.url}/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:signBlob",
        json={"payload": base64.b64encode(b"message").decode()},
        headers={"Authorization": f"Bearer {tokens.issue(emulator.world, member)}"},
    )
    (key,) = keys.account_keys(emulator.world, EMAIL) if status == 200 else (None,)

    assert answer.status_code == status
    assert key is None or keys.signed(key, b"message", base64.b64decode(answer.json()["signedBlob"]))


@pytest.mark.source(
    "https://docs.cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/getAllowedLocations"
)
def test_an_account_counts_everywhere(accounts, emulator):
    """Google's libraries ask where its tokens count whenever they have a new one."""
    answer = httpx.get(
        f"{emulator.url}/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}/allowedLocations",
        headers={"Authorization": f"Bearer {tokens.issue(emulator.world, f'serviceAccount:{EMAIL}')}"},
    )

    assert (answer.status_code, answer.json()) == (200, {"encodedLocations": "0x0"})
