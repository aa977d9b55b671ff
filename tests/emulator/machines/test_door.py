"""The front door: who comes in, what they hear when they do not, and what the server behind it is told."""

import functools
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import requests
from google.auth import jwt

from provision.emulator import keys
from provision.emulator.machines.loop import free_port
from tests.conftest import NUMBER, PROJECT
from tests.emulator.machines.conftest import ECHO, Json, Running, asked, checks, heard
from tests.waiting import until

SERVICE = "mlflow"
PUSHER = f"mlflow-log-pusher@{PROJECT}.iam.gserviceaccount.com"
DOOR_POLICY = f"projects/{PROJECT}/iap_web/appengine-{PROJECT}/services/{SERVICE}"
ACCESSOR = "roles/iap.httpsResourceAccessor"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def door(real: Running, tmp_path_factory: pytest.TempPathFactory) -> Json:
    """A door with IAP on, and an echo behind it."""
    image = tmp_path_factory.mktemp("image")
    (image / "Dockerfile").write_text('FROM b\nWORKDIR /srv\nENTRYPOINT ["python", "/srv/echo.py"]\n')
    (image / "echo.py").write_text(ECHO)
    with real.world.transaction():
        account = {"email": PUSHER, "projectId": PROJECT, "uniqueId": "123456789012345678901"}
        real.world.table("iam.accounts")[PUSHER] = account
        split = {"split": {"allocations": {"v1": 1}}}
        real.world.table("appengine.services")[f"apps/{PROJECT}/services/{SERVICE}"] = split
    real.machines.version_start(PROJECT, SERVICE, "v1", checks(), image, PUSHER)
    until(lambda: real.machines.version_health(PROJECT, SERVICE, "v1") == "healthy")
    return real.machines.door(PROJECT, SERVICE)


@pytest.fixture(autouse=True)
def _fresh(real: Running, door: Json) -> None:
    iap(real, enabled=True)
    grant(real, f"serviceAccount:{PUSHER}", "user:ann@example.com")


def iap(real: Running, **settings: Any) -> None:
    with real.world.transaction():
        real.world.table("appengine.apps")[PROJECT] = {"locationId": "europe-west", "iap": settings}


def grant(real: Running, *members: str, resource: str = DOOR_POLICY, **more: Any) -> None:
    with real.world.transaction():
        table = real.world.table("iam.policies")
        for key in list(table):
            del table[key]
        if members:
            table[resource] = {"etag": "x", "bindings": [{"role": ACCESSOR, "members": list(members)} | more]}


def token(real: Running, door: Json, email: str = PUSHER, **more: Any) -> dict[str, str]:
    """The header that shows a service account to the door."""
    now = int(time.time())
    said = {"iss": email, "sub": email, "aud": f"{origin(door)}/*", "iat": now, "exp": now + 3600} | more
    with real.world.transaction():
        return {"Authorization": "Bearer " + keys.sign(keys.account_key(real.world, email), said)}


def origin(door: Json) -> str:
    return f"{door['scheme']}://{door['host']}:{door['port']}"


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["x-goog-iap-generated-response"] == "true"
    return answer.status_code, answer.text


def test_a_signed_jwt_comes_in_and_the_server_learns_who(real: Running, door: Json) -> None:
    """The assertion is signed by IAP's published key, for this application; the bearer token stays at the door."""
    answer = asked(door, "/api/x%2Fy?a=1&b=%20", headers=token(real, door))
    told = heard(answer)
    keys_url = f"{real.url}/www.gstatic.com/iap/verify/public_key"
    assertion = told["headers"]["x-goog-iap-jwt-assertion"]
    claims = jwt.decode(
        assertion, httpx.get(keys_url, trust_env=False).json(), audience=f"/projects/{NUMBER}/apps/{PROJECT}"
    )

    assert answer.status_code == 200
    assert told["path"] == "/api/x%2Fy?a=1&b=%20"
    assert claims["iss"] == "https://cloud.google.com/iap"
    assert (claims["email"], claims["sub"]) == (PUSHER, "accounts.google.com:123456789012345678901")
    assert claims["exp"] - claims["iat"] == 600
    assert told["headers"]["x-goog-authenticated-user-email"] == f"accounts.google.com:{PUSHER}"
    assert "authorization" not in told["headers"]


def test_what_only_iap_may_say_is_taken_from_visitors(real: Running, door: Json) -> None:
    """Forged x-goog-* and x-forwarded-for do not arrive, and nobody looks like a caller from this machine."""
    forged = {"X-Goog-Authenticated-User-Email": "accounts.google.com:boss@example.com", "X-Goog-Anything": "1",
              "X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1",
              "X_Goog_Authenticated_User_Email": "accounts.google.com:boss@example.com", "X-Forwarded_For": "127.0.0.1"}  # fmt: skip
    told = heard(asked(door, headers=token(real, door) | forged))["headers"]

    assert told["x-goog-authenticated-user-email"] == f"accounts.google.com:{PUSHER}"
    assert not told["x-forwarded-for"].startswith("127.")
    assert told["host"] == f"{door['host']}:{door['port']}"
    assert not {"x-goog-anything", "forwarded", "x_goog_authenticated_user_email", "x-forwarded_for"} & set(told)


def test_answers_pass_unchanged(real: Running, door: Json) -> None:
    """Status, headers that come twice, and the answer to HEAD."""
    answer = asked(door, headers=token(real, door))
    head = asked(door, method="HEAD", headers=token(real, door))

    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["x-from"] == "echo"
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0


def test_with_proxy_authorization_the_applications_own_authorization_arrives(real: Running, door: Json) -> None:
    """IAP's token in Proxy-Authorization; Authorization is left alone, and the proxy's own header goes."""
    both = {"Proxy-Authorization": token(real, door)["Authorization"], "Authorization": "Basic dTpw"}
    told = heard(asked(door, headers=both))["headers"]

    assert told["authorization"] == "Basic dTpw"
    assert "proxy-authorization" not in told


def test_a_bad_proxy_authorization_gives_way_to_authorization(real: Running, door: Json) -> None:
    """IAP falls back to the other header."""
    answer = asked(door, headers=token(real, door) | {"Proxy-Authorization": "Bearer garbage"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("header", "text"),
    [
        pytest.param("Bearer garbage", "Invalid IAP credentials: Unable to parse JWT", id="garbage"),
        pytest.param("", "Invalid IAP credentials: empty token", id="nothing"),
    ],
)
def test_a_client_without_a_good_token_hears_401(door: Json, header: str, text: str) -> None:
    """What does not take a page gets no redirect."""
    headers = {"Accept": "application/json"} | ({"Authorization": header} if header else {})

    assert refused(asked(door, headers=headers)) == (401, text)


def test_a_token_for_another_url_hears_401(real: Running, door: Json) -> None:
    """The audience must be this door."""
    answer = asked(door, headers=token(real, door, aud="https://elsewhere.example/*"))

    assert refused(answer) == (401, "Invalid IAP credentials: Invalid bearer token. Invalid JWT audience.")


def test_an_account_without_the_role_hears_403_with_its_name(real: Running, door: Json) -> None:
    """A good token of somebody who was not let in."""
    grant(real, "user:ann@example.com")
    status, text = refused(asked(door, headers=token(real, door)))

    assert status == 403
    assert PUSHER in text


@pytest.mark.parametrize(
    ("members", "resource", "status"),
    [
        pytest.param(
            [f"serviceAccount:{PUSHER}"],
            f"projects/{PROJECT}/iap_web/appengine-{PROJECT}",
            200,
            id="on the application",
        ),
        pytest.param([f"serviceAccount:{PUSHER}"], f"projects/{PROJECT}", 200, id="on the project"),
        pytest.param([f"serviceAccount:{PUSHER}"], f"{DOOR_POLICY}/versions/v1", 200, id="on the version"),
        pytest.param([f"serviceAccount:{PUSHER}"], f"{DOOR_POLICY}-other", 403, id="on another service"),
        pytest.param(["allAuthenticatedUsers"], DOOR_POLICY, 200, id="to everybody who signs in"),
        pytest.param(["group:data@example.com"], DOOR_POLICY, 403, id="to a group that it is not in"),
    ],
)
def test_a_grant_counts_where_it_lies(
    real: Running, door: Json, members: list[str], resource: str, status: int
) -> None:
    """The service's policy and those above it, and the version's."""
    grant(real, *members, resource=resource)

    assert asked(door, headers=token(real, door)).status_code == status


def test_owning_the_project_opens_no_door(real: Running, door: Json) -> None:
    """roles/owner is no way round IAP; neither is a binding with a condition."""
    with real.world.transaction():
        bindings = [{"role": "roles/owner", "members": [f"serviceAccount:{PUSHER}"]}]
        bindings += [{"role": ACCESSOR, "members": [f"serviceAccount:{PUSHER}"], "condition": {"expression": "true"}}]
        real.world.table("iam.policies")[DOOR_POLICY] = {"etag": "x", "bindings": bindings}

    assert asked(door, headers=token(real, door)).status_code == 403


def test_a_door_for_everybody_asks_nobody(real: Running, door: Json) -> None:
    """allUsers: no token, no assertion."""
    grant(real, "allUsers")
    answer = asked(door)

    assert answer.status_code == 200
    assert "x-goog-iap-jwt-assertion" not in heard(answer)["headers"]


def test_with_iap_off_everybody_comes_in(real: Running, door: Json) -> None:
    """That is what `drift` must find."""
    iap(real, enabled=False)
    answer = asked(door, headers={"Authorization": "Bearer of the application"})

    assert answer.status_code == 200
    assert heard(answer)["headers"]["authorization"] == "Bearer of the application"


def test_without_an_oauth_client_it_answers_502(real: Running, door: Json) -> None:
    """A project without an organization can not use the Google-managed client."""
    with real.world.transaction():
        before = real.world.projects[PROJECT]
        real.world.projects[PROJECT] = before | {"parent": {}}
    status, text = refused(asked(door, headers=BROWSER))
    with real.world.transaction():
        real.world.projects[PROJECT] = before

    assert (status, text) == (502, "Empty Google Account OAuth client ID(s)/secret(s).")


def test_a_deleted_account_does_not_come_in(real: Running, door: Json) -> None:
    """Its key is worth nothing any more."""
    headers = token(real, door)
    with real.world.transaction():
        account = real.world.table("iam.accounts")[PUSHER]
        real.world.table("iam.accounts")[PUSHER] = account | {"disabled": True}
    status, _ = refused(asked(door, headers=headers))
    with real.world.transaction():
        real.world.table("iam.accounts")[PUSHER] = account

    assert status == 401


def test_an_id_token_for_the_configured_client_comes_in(real: Running, door: Json) -> None:
    """A custom client, and one that is listed for programs."""
    iap(real, enabled=True, oauth2ClientId="custom.apps.googleusercontent.com")
    with real.world.transaction():
        settings = {
            "accessSettings": {"oauthSettings": {"programmaticClients": ["desktop.apps.googleusercontent.com"]}}
        }
        real.world.table("iap.settings")[DOOR_POLICY] = settings
    statuses = [
        asked(
            door, headers={"Authorization": f"Bearer {real.machines.registry.id_token(PUSHER, audience)}"}
        ).status_code
        for audience in ("custom.apps.googleusercontent.com", "desktop.apps.googleusercontent.com", "other")
    ]

    assert statuses == [200, 200, 401]


def test_a_large_body_passes_and_a_larger_one_does_not(real: Running, door: Json) -> None:
    """32 MB is App Engine's limit, with and without a length that is told beforehand."""
    whole, headers = b"x" * (32 * 1024 * 1024), token(real, door)

    def pieces(last: bytes) -> Iterator[bytes]:
        yield from (whole[:1048576] for _ in range(32))
        yield last

    assert heard(asked(door, method="POST", content=whole, headers=headers))["length"] == len(whole)
    assert asked(door, method="POST", content=whole + b"x", headers=headers).status_code == 413
    assert heard(asked(door, method="POST", content=pieces(b""), headers=headers))["length"] == len(whole)
    assert asked(door, method="POST", content=pieces(b"x"), headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("signed", "status"), [pytest.param(True, 413, id="too large"), pytest.param(False, 401, id="without a token")]
)
def test_who_sends_too_much_still_hears_why(real: Running, door: Json, *, signed: bool, status: int) -> None:
    """`requests` reads an answer only when it has sent everything: the door listens to the end before it hangs up."""
    headers = token(real, door) if signed else {}
    answer = requests.post(origin(door), data=b" " * (40 * 1024 * 1024), headers=headers, timeout=20)

    assert answer.status_code == status


def test_a_visitor_who_hangs_up_disturbs_nobody(real: Running, door: Json, capfd: pytest.CaptureFixture[str]) -> None:
    """Half a body and gone: the door says nothing on the terminal, and serves the next."""
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nAuthorization: {token(real, door)['Authorization']}\r\n\r\n"
    with socket.create_connection((door["host"], door["port"])) as visitor:
        visitor.sendall(head.encode() + b"half")
    answer = asked(door, headers=token(real, door))

    assert answer.status_code == 200
    assert "Traceback" not in capfd.readouterr().err


def sent(door: Json, *lines: str, body: bytes = b"") -> tuple[int, str]:
    """Status and text of the answer to a request that no library would send."""
    with socket.create_connection((door["host"], door["port"]), timeout=5) as visitor:
        visitor.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body)
        answer = b"".join(iter(lambda: visitor.recv(65536), b"")).decode("latin-1")
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["GET http://elsewhere.example/health HTTP/1.1", "Host: elsewhere.example"], id="to a proxy"),
        pytest.param(["CONNECT 127.0.0.1:22 HTTP/1.1", "Host: 127.0.0.1:22"], id="for a tunnel"),
        pytest.param(["OPTIONS * HTTP/1.1", "Host: x"], id="to no page"),
        pytest.param(["GET health HTTP/1.1", "Host: x"], id="with half a path"),
        pytest.param(
            ["POST / HTTP/1.1", "Host: x", "Content-Length: 4", "Transfer-Encoding: chunked"], id="with two lengths"
        ),
    ],
)
def test_a_request_that_no_server_passes_on(
    real: Running, door: Json, lines: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """400, whoever sends it, and nothing on the terminal."""
    body = b"0\r\n\r\n" if "Transfer-Encoding: chunked" in lines else b""
    anonymous = sent(door, *lines, body=body)[0]
    known = sent(door, *lines, f"Authorization: {token(real, door)['Authorization']}", body=body)[0]

    assert (anonymous, known) == (400, 400)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("host", ["[::1", "x/version?", "a@b", "\xe9"])
def test_a_strange_name_of_the_host_changes_nothing(real: Running, door: Json, host: str) -> None:
    """The path is that of the request line: a token for one page opens no other one."""
    limited = token(real, door, aud=f"{origin(door)}/version")["Authorization"]
    answers = [
        sent(door, f"GET {path} HTTP/1.1", f"Host: {host}", f"Authorization: {limited}")[0]
        for path in ("/version", "/api", "/version%3f/../api", "/version%23")
    ]

    assert answers == [200, 401, 401, 401]


def test_a_header_in_any_letters_arrives_as_it_was(real: Running, door: Json) -> None:
    """Latin-1, as HTTP has it."""
    status, text = sent(
        door, "GET / HTTP/1.1", "Host: x", "X-Name: Zo\xe9", f"Authorization: {token(real, door)['Authorization']}"
    )

    assert status == 200
    assert json.loads(text)["headers"]["x-name"] == "Zo\xe9"


def test_traffic_goes_where_the_split_says(real: Running, door: Json) -> None:
    """All of it to another version, which is not there: not available."""
    key = f"apps/{PROJECT}/services/{SERVICE}"
    with real.world.transaction():
        before = real.world.table("appengine.services")[key]
        real.world.table("appengine.services")[key] = {"split": {"allocations": {"v2": 1}}}
    answer = asked(door, headers=token(real, door))
    with real.world.transaction():
        real.world.table("appengine.services")[key] = before

    assert (answer.status_code, "not available yet" in answer.text) == (503, True)


def test_a_service_that_is_not_there_is_not_found(real: Running, door: Json) -> None:
    """A door may be asked for before its service exists, and keeps its port."""
    early = real.machines.door(PROJECT, "early")
    grant(real, "allUsers", resource=f"projects/{PROJECT}")

    assert asked(early).status_code == 404
    assert real.machines.door(PROJECT, "early") == early


class Browser:
    """Follows redirects by hand and keeps cookies, as a browser does."""

    def __init__(self, door: Json) -> None:
        self.door = door
        self.client = httpx.Client(trust_env=False, headers=BROWSER)

    def open(self, path: str) -> httpx.Response:
        return self.client.get(origin(self.door) + path)

    def choose(self, sign_in: str, email: str, **more: str) -> httpx.Response:
        form = {key: values[0] for key, values in parse_qs(urlsplit(sign_in).query).items()} | {"email": email} | more
        return self.client.post(sign_in.partition("?")[0], data=form)


@pytest.fixture
def browser(door: Json) -> Iterator[Browser]:
    made = Browser(door)
    yield made
    made.client.close()


@pytest.mark.parametrize("way_out", ["/_gcp_iap/clear_login_cookie", "/?gcp-iap-mode=CLEAR_LOGIN_COOKIE"])
def test_a_browser_signs_in_and_out(real: Running, browser: Browser, way_out: str) -> None:
    """Redirect, page with the known accounts, choice, back to where it began, in; and out again."""
    redirect = browser.open("/experiments?page=2")
    page = browser.client.get(redirect.headers["location"])
    back = browser.choose(redirect.headers["location"], "ann@example.com")
    signed_in = browser.client.get(back.headers["location"])
    inside = browser.open("/experiments?page=2")
    told = heard(inside)["headers"]
    out = browser.open(way_out)
    outside = browser.open("/")

    assert refused(redirect) == (302, "Invalid IAP credentials: empty token")
    assert redirect.headers["location"].startswith(f"{real.url}/accounts.google.com/o/oauth2/v2/auth?client_id=")
    assert page.status_code == 200
    assert "ann@example.com" in page.text
    assert "owner@example.com" in page.text
    assert signed_in.headers["location"] == f"{origin(browser.door)}/experiments?page=2"
    assert "HttpOnly; SameSite=Lax" in signed_in.headers["set-cookie"]
    assert told["x-goog-authenticated-user-email"] == "accounts.google.com:ann@example.com"
    assert "GCP_IAP" not in told.get("cookie", "")
    assert (out.status_code, outside.status_code) == (302, 302)


def test_somebody_without_access_signs_in_to_a_403(browser: Browser) -> None:
    """Any address may be typed; what it may do is up to the policy."""
    sign_in = browser.open("/").headers["location"]
    browser.client.get(browser.choose(sign_in, "eve@example.com").headers["location"])
    answer = browser.open("/")

    assert refused(answer)[0] == 403
    assert "eve@example.com" in answer.text


def test_a_member_of_a_group_comes_in_by_the_group(real: Running, browser: Browser) -> None:
    """The page offers somebody of each group, since only Google knows who is in it; and of each domain."""
    grant(real, "group:data@example.com", "domain:example.org")
    sign_in = browser.open("/").headers["location"]
    page = browser.client.get(sign_in).text
    chosen = browser.choose(sign_in, "member-of-data@example.com", group="data@example.com")
    browser.client.get(chosen.headers["location"])

    assert "member-of-data@example.com" in page
    assert "someone@example.org" in page
    assert browser.open("/").status_code == 200


def test_a_code_works_once_and_only_in_the_browser_that_began(door: Json, browser: Browser) -> None:
    """Somebody else's link signs nobody in, and a code that was seen is worth nothing."""
    back = browser.choose(browser.open("/").headers["location"], "ann@example.com").headers["location"]
    other = Browser(door)
    elsewhere = other.client.get(back)
    other.client.close()
    first, second = browser.client.get(back), browser.client.get(back)

    assert [refused(answer)[0] for answer in (elsewhere, second)] == [401, 401]
    assert first.status_code == 302


def test_a_sign_in_goes_on_while_another_page_asks(browser: Browser) -> None:
    """A page that was left open is sent to sign in as well, each time that it asks for something."""
    sign_in = browser.open("/").headers["location"]
    also = browser.open("/api/2.0/of-the-other-page").headers["location"]
    back, late = (browser.choose(link, "ann@example.com").headers["location"] for link in (sign_in, also))

    assert browser.client.get(back).status_code == 302
    assert browser.open("/").status_code == 200
    assert browser.client.get(late).status_code == 302


def test_what_was_sealed_for_one_purpose_serves_no_other(door: Json, browser: Browser) -> None:
    """The state of a sign-in is no session, and a session no state; both are nobody's, and no defect."""
    sign_in = browser.open("/").headers["location"]
    (state,) = parse_qs(urlsplit(sign_in).query)["state"]
    browser.client.get(browser.choose(sign_in, "ann@example.com").headers["location"])
    session = {cookie.name: cookie.value for cookie in browser.client.cookies.jar if "AUTH_TOKEN" in cookie.name}
    (name, value), back = session.popitem(), "/_gcp_iap/authenticate"

    assert asked(door, headers=BROWSER | {"Cookie": f"{name}={value}"}).status_code == 200
    assert asked(door, headers=BROWSER | {"Cookie": f"{name}={state}"}).status_code == 302
    assert asked(door, f"{back}?state={value}&code=x", headers=BROWSER).status_code == 401


@pytest.mark.parametrize("cookie", [b"\xe9", b"\xc3\xa9", b""])
def test_a_nonce_in_strange_letters_is_none(browser: Browser, cookie: bytes) -> None:
    """It is not what this browser was given."""
    sign_in = browser.open("/").headers["location"]
    (name,) = (cookie.name for cookie in browser.client.cookies.jar if "XSRF_NONCE" in cookie.name)
    back = browser.choose(sign_in, "ann@example.com").headers["location"]
    answer = httpx.get(back, headers={"Cookie": name.encode() + b"=" + cookie}, trust_env=False)

    assert refused(answer)[0] == 401


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        pytest.param({"redirect_uri": "http://evil.example/_gcp_iap/authenticate"}, 400, id="another host"),
        pytest.param({"redirect_uri": "http://127.0.0.1:PORT/_gcp_iap/authenticate"}, 400, id="a port that is no door"),
        pytest.param({"redirect_uri": "ORIGIN/elsewhere"}, 400, id="another page of the door"),
        pytest.param(
            {"redirect_uri": "http://evil.example\\@HOST/_gcp_iap/authenticate"},
            400,
            id="a host that browsers read in another way",
        ),
        pytest.param(
            {"redirect_uri": "http://evil.example@HOST/_gcp_iap/authenticate"}, 400, id="a user before the host"
        ),
        pytest.param({"redirect_uri": "HTTP://HOST/_gcp_iap/authenticate"}, 400, id="another spelling of the scheme"),
        pytest.param({"redirect_uri": "ORIGIN\t/_gcp_iap/authenticate"}, 400, id="a tab that browsers leave out"),
        pytest.param({"redirect_uri": "ORIGIN/_gcp_iap/authenticate?"}, 400, id="an empty query"),
        pytest.param({"redirect_uri": "http://[::1/_gcp_iap/authenticate"}, 400, id="half an address"),
        pytest.param(
            {"redirect_uri": "http://127.0.0.1:99999999/_gcp_iap/authenticate"}, 400, id="a port that cannot be"
        ),
        pytest.param({"email": "no address"}, 400, id="no address"),
    ],
)
def test_the_sign_in_page_sends_nobody_elsewhere(browser: Browser, changed: dict[str, str], status: int) -> None:
    """Only doors of this emulator get a code."""
    sign_in = browser.open("/").headers["location"]
    here = origin(browser.door)
    names = {"ORIGIN": here, "HOST": here.removeprefix("http://"), "PORT": str(free_port())}
    more = {k: functools.reduce(lambda text, name: text.replace(*name), names.items(), v) for k, v in changed.items()}
    answer = browser.choose(sign_in, more.pop("email", "ann@example.com"), **more)

    assert answer.status_code == status
    assert "location" not in answer.headers


def test_a_strange_page_can_not_choose_for_somebody(browser: Browser) -> None:
    """A form of another site, which the browser marks with its origin, is refused."""
    browser.client.headers["Origin"] = "http://evil.example"
    answer = browser.choose(browser.open("/").headers["location"], "ann@example.com")

    assert answer.status_code == 403


def test_what_somebody_typed_is_shown_as_text(browser: Browser) -> None:
    """No markup comes out of a query, and the page runs nothing."""
    sign_in = browser.open("/").headers["location"]
    page = browser.client.get(sign_in + "&client_id=%22%3E%3Cscript%3E1")

    assert "<script>" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
