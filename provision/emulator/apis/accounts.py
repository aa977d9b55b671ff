"""Google's sign-in page and IAP's public keys: what a door's visitors, and applications behind it, ask of Google."""

from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from provision.emulator import errors
from provision.emulator.api import Call, Json, Reply, endpoint
from provision.emulator.machines import NoMachines

if TYPE_CHECKING:
    from provision.emulator.machines.real import RealMachines

SIGN_IN = "accounts.google.com/o/oauth2/v2/auth"
# The page is ours and small: nothing else may run in it, frame it, or be told where it led.
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


@endpoint("accounts.signin.show", "GET", SIGN_IN)
def show(call: Call) -> Reply:
    """The page on which somebody says who they are."""
    return _page(call, _machines(call))


@endpoint("accounts.signin.choose", "POST", SIGN_IN)
def choose(call: Call) -> Reply:
    """An account was chosen: send the browser back to the door with a code."""
    from provision.emulator.machines import signin

    machines = _machines(call)
    origin = call.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != urlsplit(machines.url).netloc:
        raise errors.permission_denied("Accounts are chosen on the sign-in page only.")
    asked = signin.Asked.of(call.body)
    machines.service_at(asked)
    identity = signin.chosen(call.body)
    if identity is None:
        return _page(call, machines, "That is no e-mail address.")
    code = machines.codes.give(identity, asked.redirect_uri)
    return Reply(status=303, headers=HEADERS | {"location": asked.back(code)}, text="")


@endpoint("iap.publicKeys.pem", "GET", "www.gstatic.com/iap/verify/public_key")
def public_keys(call: Call) -> Json:
    """The keys that sign `X-Goog-IAP-JWT-Assertion`, as PEM by key ID."""
    from provision.emulator.machines import iap_key

    return iap_key.as_pem(call.world)


@endpoint("iap.publicKeys.jwk", "GET", "www.gstatic.com/iap/verify/public_key-jwk")
def public_jwks(call: Call) -> Json:
    """The same keys as a JSON Web Key Set."""
    from provision.emulator.machines import iap_key

    return iap_key.as_jwks(call.world)


def _machines(call: Call) -> "RealMachines":
    if isinstance(call.world.machines, NoMachines):
        raise errors.not_found("This emulator runs without machines, so there is no door to sign in to.")
    return cast("RealMachines", call.world.machines)


def _page(call: Call, machines: "RealMachines", problem: str = "") -> Reply:
    from provision.emulator.machines import signin

    asked = signin.Asked.of(call.params | call.body)
    app, service = machines.service_at(asked)
    known = machines.registry.known(app, service)
    text = signin.page(asked, f"{service} of {app}", known, problem)
    status = 400 if problem else 200
    return Reply(text=text, status=status, headers=dict(HEADERS), media_type="text/html; charset=UTF-8")
