"""Google's token endpoints and public keys: what libraries ask that is no API with a discovery document.

https://developers.google.com/identity/protocols/oauth2/service-account, https://google.aip.dev/auth/4112 and
https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token.
"""

from provision.emulator import errors, keys, tokens
from provision.emulator.api import Call, Json, Reply, endpoint, method
from provision.emulator.apis.iamcredentials import id_token
from provision.emulator.clock import parse

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_SECONDS = 3600
_POOL = "//iam.googleapis.com/"


def _refused(error: str, description: str, status: int = 400) -> Reply:
    return Reply({"error": error, "error_description": description}, status)


@endpoint("oauth2.token", "POST", "oauth2.googleapis.com/token")
def token(call: Call) -> Json | Reply:
    """An access token for a JWT signed with an account's key, or for a refresh token."""
    grant = call.body.get("grant_type")
    if grant == _JWT_BEARER:
        return _from_jwt(call, str(call.body.get("assertion") or ""))
    return _renewed(call)


@endpoint("sts.oauthtoken", "POST", "sts.googleapis.com/v1/oauthtoken")
def renew(call: Call) -> Json | Reply:
    """An access token for the refresh token of who has signed in with an identity of another provider."""
    return _renewed(call)


def _renewed(call: Call) -> Json | Reply:
    """An access token for a refresh token; the token of the data folder is one of its owner."""
    grant, sent = call.body.get("grant_type"), str(call.body.get("refresh_token") or "")
    if grant != "refresh_token":
        return _refused("unsupported_grant_type", f"Invalid grant_type: {grant}")
    if sent == call.world.token:
        return _bearer(call, call.world.owner)
    row = call.world.table("refresh_tokens").get(sent)
    return _refused("invalid_grant", "Bad Request") if row is None else _bearer(call, str(row["member"]))


def _from_jwt(call: Call, assertion: str) -> Json | Reply:
    try:
        _, claims = keys.unverified(assertion)
        email = str(claims.get("iss"))
        account = call.world.table("iam.accounts").get(email, {"deleted": True})
        if account.get("deleted") or account.get("disabled"):
            return _refused("invalid_grant", "Invalid grant: account not found")
        claims = keys.verify(assertion, keys.account_keys(call.world, email), call.now)
    except keys.BadToken as problem:
        return _refused("invalid_grant", str(problem))
    if not str(claims.get("aud", "")).endswith(("oauth2.googleapis.com/token", "accounts.google.com/o/oauth2/token")):
        return _refused("invalid_grant", "Invalid JWT: Failed audience check.")
    if claims.get("target_audience"):
        return {"id_token": id_token(call, account, str(claims["target_audience"]), email=True)}
    if not claims.get("scope"):
        return _refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    return _bearer(call, f"serviceAccount:{email}", str(claims["scope"]))


def _bearer(call: Call, member: str, scope: str = "") -> Json:
    access = tokens.issue(call.world, member, _SECONDS, scope)
    return {"access_token": access, "expires_in": _SECONDS - 1, "token_type": "Bearer"}


@method("sts.token")
def exchange(call: Call) -> Json | Reply:
    """A federated token for a subject's token of an outside identity provider.

    The emulator does not know the provider's keys: it believes the token's `sub`. The principal that comes out has only
    what policies give to it.
    """
    body = call.body
    if body.get("grantType") != _EXCHANGE:
        return _refused("unsupported_grant_type", "The grant type is not supported.")
    subject, audience = str(body.get("subjectToken") or ""), str(body.get("audience") or "")
    if str(body.get("subjectTokenType", "")).endswith(":access_token"):  # the same identity with fewer rights
        try:
            member = tokens.member_of(call.world, f"Bearer {subject}")
        except errors.GoogleError:
            return _refused("invalid_grant", "The subject token is invalid.")
    elif audience.startswith(_POOL) and "/providers/" in audience:
        try:
            _, claims = keys.unverified(subject)
        except keys.BadToken as problem:
            return _refused("invalid_grant", f"Error connecting to the given credential's issuer: {problem}")
        pool = audience.removeprefix(_POOL).partition("/providers/")[0]
        member = f"principal://iam.googleapis.com/{pool}/subject/{claims.get('sub', '')}"
    else:
        return _refused("invalid_target", "The target service indicated by the audience is invalid.")
    access = tokens.issue(call.world, member, _SECONDS)
    kind = "urn:ietf:params:oauth:token-type:access_token"
    return {"access_token": access, "issued_token_type": kind, "token_type": "Bearer", "expires_in": _SECONDS}


def _keys_of(call: Call) -> list[Json]:
    email = str(call.params["email"])
    if call.world.table("iam.accounts").get(email, {"deleted": True}).get("deleted"):
        raise errors.not_found("Service account not found")
    keys.account_key(call.world, email)
    return keys.account_keys(call.world, email)


@endpoint("serviceAccounts.jwk", "GET", "www.googleapis.com/service_accounts/v1/jwk/{email}")
def account_jwks(call: Call) -> Json:
    """The public keys of a service account, as JSON Web Keys."""
    return {"keys": [keys.jwk(key) for key in _keys_of(call)]}


@endpoint("serviceAccounts.x509", "GET", "www.googleapis.com/robot/v1/metadata/x509/{email}")
def account_certificates(call: Call) -> Json:
    """The public keys of a service account, as certificates by key ID."""
    return {key["kid"]: key["cert"] for key in _keys_of(call)}


@endpoint("oauth2.certs.v3", "GET", "www.googleapis.com/oauth2/v3/certs")
def google_jwks(call: Call) -> Json:
    """The keys that sign ID tokens, as JSON Web Keys."""
    return {"keys": [keys.jwk(keys.google_key(call.world))]}


@endpoint("oauth2.certs.v1", "GET", "www.googleapis.com/oauth2/v1/certs")
def google_certificates(call: Call) -> Json:
    """The keys that sign ID tokens, as certificates by key ID."""
    key = keys.google_key(call.world)
    return {key["kid"]: key["cert"]}


@endpoint("oauth2.tokeninfo", "GET", "oauth2.googleapis.com/tokeninfo")
@endpoint("oauth2.tokeninfo", "POST", "oauth2.googleapis.com/tokeninfo")
def token_info(call: Call) -> Json | Reply:
    """Whose an access token is; asked by query, or by a form, which keeps the token out of logs of addresses.

    The address is told where the token was asked for with that scope; https://github.com/google/adk-python/issues/4721.
    """
    text = str(call.params.get("access_token") or call.body.get("access_token") or "")
    row = call.world.table("tokens").get(text)
    if text != call.world.token and (row is None or parse(row["expires"]) <= call.now):
        return _refused("invalid_token", "Invalid Value")
    member = str(row["member"] if row else call.world.owner)
    scope = str((row or {}).get("scope", f"{tokens.CLOUD} {tokens.ADDRESS}"))
    told = {"scope": scope, "access_type": "online"}
    if member.startswith("principal:") or tokens.ADDRESS not in scope.split():  # an outside identity has no address
        return told
    return {"email": member.partition(":")[2], "email_verified": "true"} | told


@endpoint("oauth2.userinfo", "GET", "www.googleapis.com/oauth2/v3/userinfo")
def user_info(call: Call) -> Json:
    """Who calls."""
    email = tokens.member_of(call.world, call.headers.get("authorization")).partition(":")[2]
    return {"email": email, "email_verified": True}
