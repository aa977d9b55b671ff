"""A transcript may be attached to an issue that everybody reads: nothing in it is secret, or tells who somebody is."""

import json

import pytest

from tests.live.life import Act, Ended
from tests.live.scrub import Scrubber
from tests.live.transcript import Transcript

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJhIiwiYXVkIjoiYiJ9.c2lnbmF0dXJlLW9mLWl0"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"

SECRETS = [
    pytest.param(f"Authorization: Bearer {JWT}", JWT, id="a signed token"),
    pytest.param(f"signed {JWT.rpartition('.')[0]}. for you", "eyJpc3Mi", id="a token without its signature"),
    pytest.param("got ya29.a0AfB_byC1-xyz.Zq_9", "ya29", id="an access token"),
    pytest.param("refresh 1//0gAbCdEfGhIjKlMnOp-Q", "1//0g", id="a refresh token"),
    pytest.param("code 4/0AbCdEfGhIjKlMn", "4/0A", id="a code that is good for a token"),
    pytest.param("GCP_IAP_UID=1234; GCP_IAAP_AUTH_TOKEN_5F=a.b-c; x", "a.b-c", id="a cookie of the front door"),
    pytest.param("GOCSPX-AbC_dEf-123456", "GOCSPX", id="the secret of an OAuth client"),
    pytest.param("key AIzaSyA1234567890abcdefghijklmnopqrstu", "AIza", id="an API key"),
    pytest.param("GOOG1EABCDEFGHIJKLMNOPQRSTUV", "GOOG1E", id="an HMAC key"),
    pytest.param(PEM, "MIIEv", id="a private key"),
    pytest.param(json.dumps({"private_key": PEM}), "MIIEv", id="a private key in JSON"),
    pytest.param("postgresql://mlflow:hunter2hunter2@10.8.0.3/mlflow", "hunter2", id="a password in an address"),
    pytest.param('{"password": "correct-horse"}', "correct-horse", id="a password in JSON"),
    pytest.param('{"password": "battery, staple; or so"}', "staple", id="a password of several words"),
    pytest.param('{\\"password\\": \\"correct-horse\\"}', "correct-horse", id="a password in JSON in JSON"),
    pytest.param("DATABASE_PASSWORD=correct-horse", "correct-horse", id="a password in a variable"),
    pytest.param("'client_secret': 'abcdef-123456'", "abcdef", id="a client's secret in Python"),
    pytest.param("?X-Goog-Signature=0a1b2c3d4e5f&x=1", "0a1b2c", id="a signed address"),
    pytest.param("X-Emulator-Token: abcdefgh12345678", "abcdefgh", id="the emulator's own token"),
    pytest.param("authorization: basic dXNlcjpwYXNz", "dXNlcjpw", id="a basic login"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    """Whatever form it has, and wherever it stands."""
    scrubbed = Scrubber().scrub(f"before {text} after")

    assert secret in text
    assert secret not in scrubbed
    assert "SECRET" in scrubbed
    assert scrubbed.startswith("before ")


FACTS = [
    pytest.param("user:ada@acme.example and bob@acme.example, ada@acme.example", "user:PERSON-1@example.com and PERSON-2@example.com, PERSON-1@example.com", id="people, each always the same"),
    pytest.param("the organization acme.example of ada@acme.example", "the organization DOMAIN-1 of PERSON-1@example.com", id="the domain of a person"),
    pytest.param("Ada@Acme.Example, ada%40acme.example", "PERSON-1@example.com, PERSON-1@example.com", id="people in other spellings"),
    pytest.param("acme-billing pays for your calls, see gs://acme-billing", "PAYER-1 pays for your calls, see gs://PAYER-1", id="the project that pays for the calls"),
    pytest.param("acme-ml pays for your calls", "PROJECT pays for your calls", id="the project, where it pays itself"),
    pytest.param("domain:acme.example", "domain:DOMAIN-1", id="a domain that may sign in"),
    pytest.param("lets only is:C03xgje4y into policies; other domains of acme.example are fine", "lets only is:CUSTOMER-1 into policies; other domains of DOMAIN-1 are fine", id="the organization's number among customers, and its domain"),
    pytest.param("principalSet://x/attribute.repository/acme/ml", "principalSet://x/attribute.repository/REPOSITORY-1", id="where a federated program comes from"),
    pytest.param("workloadIdentityPools/ci/subject/repo:acme/ml", "workloadIdentityPools/ci/subject/SUBJECT-1", id="who a federated program is"),
    pytest.param("from 2001:db8:0:1:2:3:4:5 or 2001:db8::7 at 17:24:45", "from ADDRESS-1 or ADDRESS-2 at 17:24:45", id="addresses of the sixth version"),
    pytest.param("mlflow-server@acme-ml.iam.gserviceaccount.com", "mlflow-server@PROJECT.iam.gserviceaccount.com", id="an account of the project"),
    pytest.param("gs://acme-ml-mlflow-artifacts-x1/a", "gs://PROJECT-mlflow-artifacts-x1/a", id="the project in a bucket's name"),
    pytest.param("projects/123456789012/secrets/s of 123456789012", "projects/NUMBER/secrets/s of NUMBER", id="the project's number"),
    pytest.param("service-123456789012@service-networking.iam.gserviceaccount.com", "service-NUMBER@service-networking.iam.gserviceaccount.com", id="the number in an agent's name"),
    pytest.param("organizations/987654321 folders/55", "organizations/ORGANIZATION-1 folders/FOLDER-1", id="the organization"),
    pytest.param("billingAccounts/01AB23-45CD67-89EF01", "billingAccounts/BILLING-1", id="who pays"),
    pytest.param("12345-abc.apps.googleusercontent.com", "CLIENT-1.apps.googleusercontent.com", id="an OAuth client"),
    pytest.param("from 203.0.113.9 to 10.8.0.3", "from ADDRESS-1 to 10.8.0.3", id="a public address, but no private one"),
    pytest.param("host thinkpad-of-ada, pid 7", "host MACHINE, pid 7", id="the machine's name"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "scrubbed"), FACTS)
def test_who_and_where_somebody_is_gets_another_name(text: str, scrubbed: str) -> None:
    """The same one everywhere, so that one can follow."""
    scrubber = Scrubber("acme-ml", hidden=("thinkpad-of-ada",))

    assert scrubber.scrub(text) == scrubbed
    assert Scrubber("acme-ml", hidden=("thinkpad-of-ada",)).scrub(scrubbed) == scrubbed


HARMLESS = [
    "projects/NUMBER/secrets/mlflow-database-password/versions/1",
    '{"event": "resource.created", "level": "info", "seconds": 0.4, "step": "secret", "timestamp": "2026-11-23T17:24:45.7Z"}',
    "roles/iam.serviceAccountTokenCreator: None -> ['user:PERSON-1@example.com']",
    "The resource is not ready (400 resourceNotReady)",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_tells_nothing_stays(text: str) -> None:
    """A transcript is there to be read."""
    assert Scrubber("acme-ml").scrub(text) == text


def test_a_transcript_is_scrubbed_whole(tmp_path) -> None:
    """What was typed, what was printed and what was logged."""
    page = Transcript(tmp_path / "transcript.md", Scrubber("acme-ml"))
    page.begin("Google Cloud", "today")
    log = f"acme-ml {JWT}\n{PEM}\n of 123456789012, as is only known later\n"
    page.tell(
        Act("token"), Ended(0, 1.0, {"token": JWT, "url": "https://mlflow-dot-acme-ml.ew.r.appspot.com"}, log), ""
    )
    page.tell(Act("drift"), Ended(0, 1.0, {}, "projects/123456789012/secrets/s"), "")
    page.end(["ada@acme.example"])
    text = page.path.read_text(encoding="utf-8")

    assert [word for word in ("acme", "eyJ", "PRIVATE", "MII", "123456789012") if word in text] == []
    assert "https://mlflow-dot-PROJECT.ew.r.appspot.com" in text
    assert Scrubber().scrub(text) == text
