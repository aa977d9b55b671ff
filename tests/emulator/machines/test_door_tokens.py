"""Which tokens Identity-Aware Proxy takes, and what it says to the others."""

import base64
import math
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from google.auth import crypt, jwt

from provision.emulator import keys
from provision.emulator.machines.door_tokens import Identity, Keys, Refused, Trust, covers, identify
from provision.emulator.world import World

PUSHER = "mlflow-log-pusher@p.iam.gserviceaccount.com"
HOST = "http://127.0.0.1:8080"
URL = f"{HOST}/api/2.0/mlflow/runs/create"


@pytest.fixture(scope="module")
def world() -> Any:
    made = World.memory()
    yield made
    made.close()


@pytest.fixture(scope="module")
def trust(world: World) -> Trust:
    key = keys.account_key(world, PUSHER)

    def account_keys(email: str) -> Keys | None:
        return {key["kid"]: key["public"]} if email == PUSHER else None

    google = keys.google_key(world)
    return Trust(account_keys, lambda: {google["kid"]: google["public"]}, {"desktop.apps.googleusercontent.com"})


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"iss": PUSHER, "sub": PUSHER, "aud": f"{HOST}/*", "iat": now, "exp": now + 3600} | more
    return {name: value for name, value in made.items() if value is not None}


def by_account(world: World, **more: Any) -> str:
    return keys.sign(keys.account_key(world, PUSHER), claims(**more))


def by_google(world: World, **more: Any) -> str:
    said = {
        "iss": "https://accounts.google.com",
        "aud": "desktop.apps.googleusercontent.com",
        "email": "ann@example.com",
    }
    return keys.sign(keys.google_key(world), claims(**(said | more)))


def test_a_service_accounts_own_jwt_is_taken(world: World, trust: Trust) -> None:
    """Signed with the key that Google holds, as signJwt does."""
    identity = identify(by_account(world), URL, trust)

    assert identity == Identity(PUSHER)
    assert identity.member == f"serviceAccount:{PUSHER}"


def test_a_jwt_that_googles_library_made_is_taken(world: World, trust: Trust) -> None:
    """google.auth.jwt with a key file's private key, kid and all."""
    key = keys.account_key(world, PUSHER)
    signer = crypt.RSASigner.from_string(key["pem"], key["kid"])
    credentials = jwt.Credentials(signer, PUSHER, PUSHER, f"{HOST}/*", token_lifetime=3600)
    headers: dict[str, str] = {}
    credentials.before_request(None, "GET", URL, headers)

    assert identify(headers["authorization"].removeprefix("Bearer "), URL, trust) == Identity(PUSHER)


def test_an_id_token_for_an_accepted_client_is_taken(world: World, trust: Trust) -> None:
    """A person's token, for a client that is on the list."""
    assert identify(by_google(world), URL, trust).member == "user:ann@example.com"


NOW = int(time.time())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param({"aud": "http://127.0.0.1:9999/*"}, "Invalid JWT audience", id="another host"),
        pytest.param({"aud": HOST}, "Invalid JWT audience", id="another page of this host"),
        pytest.param({"aud": ["http://127.0.0.1:8080/*"]}, "Invalid JWT audience", id="a list of audiences"),
        pytest.param({"iat": NOW - 7200, "exp": NOW - 3601}, "JWT has expired", id="expired"),
        pytest.param({"iat": NOW + 1800, "exp": NOW + 2400}, "issued in the future", id="not yet issued"),
        pytest.param({"exp": NOW + 7300}, "longer than one hour", id="a life of two hours"),
        pytest.param({"exp": None}, "lacks 'iat' or 'exp'", id="no end"),
        pytest.param({"exp": math.nan}, "lacks 'iat' or 'exp'", id="an end that is no number"),
        pytest.param({"iat": math.nan, "exp": math.inf}, "lacks 'iat' or 'exp'", id="no beginning, and for ever"),
        pytest.param({"exp": 10**400}, "lacks 'iat' or 'exp'", id="an end beyond all fractions"),
        pytest.param({"iat": True}, "lacks 'iat' or 'exp'", id="a truth value for a time"),
        pytest.param({"exp": str(NOW + 60)}, "lacks 'iat' or 'exp'", id="a text for a time"),
        pytest.param({"aud": "http://*"}, "Invalid JWT audience", id="every host"),
        pytest.param({"sub": "someone@else.example"}, "'sub' claim", id="for somebody else"),
        pytest.param({"iss": "other@p.iam.gserviceaccount.com"}, "signature is invalid", id="an unknown account"),
    ],
)
def test_a_jwt_of_an_account_is_refused(world: World, trust: Trust, more: dict[str, Any], message: str) -> None:
    """Signed with the right key, and still no way in."""
    with pytest.raises(Refused, match=message):
        identify(by_account(world, **more), URL, trust)


@pytest.mark.parametrize("skew", [pytest.param(20, id="a clock ahead"), pytest.param(-20, id="a clock behind")])
def test_clocks_may_differ_by_half_a_minute(world: World, trust: Trust, skew: int) -> None:
    """Twenty seconds do no harm, at either end."""
    token = by_account(world, iat=NOW, exp=NOW + 600)

    assert identify(token, URL, trust, now=NOW - 20 if skew > 0 else NOW + 620) == Identity(PUSHER)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param({"aud": "other.apps.googleusercontent.com"}, "Invalid JWT audience", id="another client"),
        pytest.param({"email": None}, "'email' claim isn't a string", id="without an address"),
    ],
)
def test_an_id_token_is_refused(world: World, trust: Trust, more: dict[str, Any], message: str) -> None:
    """Google signed it, for somebody else or without saying for whom."""
    with pytest.raises(Refused, match=message):
        identify(by_google(world, **more), URL, trust)


DEEP = base64.urlsafe_b64encode(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}").decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("garbage", id="one word"),
        pytest.param("ya29.a0AfH6SMBx", id="an access token"),
        pytest.param("a.b.c", id="three words"),
        pytest.param("eyJhbGciOiJub25lIn0.W10.", id="claims that are a list"),
        pytest.param(f"eyJhbGciOiJub25lIn0.{DEEP}.", id="claims a hundred thousand levels deep"),
    ],
)
def test_what_is_no_jwt_can_not_be_parsed(trust: Trust, token: str) -> None:
    """IAP's own words."""
    with pytest.raises(Refused, match=r"^Invalid IAP credentials: Unable to parse JWT$"):
        identify(token, URL, trust)


def test_a_forged_signature_is_refused(world: World, trust: Trust) -> None:
    """Right claims, right key ID, wrong key; and an unsigned one."""
    stranger = keys.new_account_key(world, "stranger@p.iam.gserviceaccount.com", user_managed=True)
    forged = keys.sign(stranger | {"kid": keys.account_key(world, PUSHER)["kid"]}, claims())
    head, _, _ = by_account(world).rpartition(".")

    for token in (forged, f"{head}."):
        with pytest.raises(Refused, match="JWT signature is invalid"):
            identify(token, URL, trust)


@pytest.mark.parametrize(
    ("audience", "url", "covered"),
    [
        pytest.param("https://h/*", "https://h/a/b", True, id="the whole host"),
        pytest.param("https://h/*", "https://h/", True, id="its root"),
        pytest.param("https://h/a/*", "https://h/b", False, id="another part"),
        pytest.param("https://h/a", "https://h/a", True, id="the very page"),
        pytest.param("https://h", "https://h/", True, id="the root without its slash"),
        pytest.param("https://h/a", "https://h/a/b", False, id="a page below it"),
        pytest.param("https://h*", "https://h.evil/", False, id="a star in the host"),
        pytest.param("*", "https://h/", False, id="everything"),
        pytest.param("/*", "https://h/", False, id="any origin"),
        pytest.param("http:/*", "http://h/", False, id="a scheme and half an origin"),
        pytest.param("http://*", "http://h/", False, id="a scheme alone"),
        pytest.param("http://h:80/*", "http://h:8080/", False, id="the beginning of a port"),
    ],
)
def test_an_audience_covers_urls(audience: str, url: str, *, covered: bool) -> None:
    """The very URL, or a prefix that ends in /*."""
    assert covers(audience, url) is covered


@pytest.mark.parametrize(
    "times",
    [
        pytest.param({"exp": math.nan}, id="no number"),
        pytest.param({"exp": math.inf}, id="for ever"),
        pytest.param({"exp": 10**400}, id="beyond all fractions"),
        pytest.param({"exp": True}, id="a truth value"),
        pytest.param({"iat": math.nan}, id="a beginning that is no number"),
        pytest.param({"exp": None}, id="no end"),
    ],
)
def test_an_assertion_without_real_times_is_refused(world: World, times: dict[str, Any]) -> None:
    """The token endpoint holds a JWT to the same rule."""
    key = keys.account_key(world, PUSHER)
    with pytest.raises(keys.BadToken, match="not a number"):
        keys.verify(keys.sign(key, claims(**times)), [key], datetime.now(UTC))
