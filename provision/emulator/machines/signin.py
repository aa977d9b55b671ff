"""Signing in to a door: the accounts to choose from, the code that carries the choice over, and the session cookie.

It stands for `accounts.google.com`. There are no passwords: whoever reaches this loopback port may be anybody, as the
point is to see what each of them may do.
"""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography.fernet import Fernet, InvalidToken
from jinja2 import Environment, PackageLoader, StrictUndefined

from provision.emulator.machines.door_tokens import Identity

PATH = "accounts.google.com/o/oauth2/v2/auth"
CALLBACK = "/_gcp_iap/authenticate"
SESSION_SECONDS = 8 * 3600
STATE_SECONDS = 600
CODE_SECONDS = 60
ADDRESS = re.compile(r"[a-z0-9._%+&'~-]+@([a-z0-9-]+\.)+[a-z0-9-]+")
NONCE = re.compile(r"[A-Za-z0-9_-]{22}")  # 16 bytes as secrets.token_urlsafe writes them
_SESSION, _STATE = "session", "state"


@dataclass(frozen=True)
class Known:
    """An account that the sign-in page offers, and why it knows it."""

    email: str
    why: str
    group: str = ""


class Sealed:
    """Encrypts and signs small JSON objects, so that a browser can carry them."""

    def __init__(self, key_file: Path) -> None:
        if not key_file.exists():
            key_file.parent.mkdir(parents=True, exist_ok=True)
            key_file.touch(mode=0o600)
            key_file.write_bytes(Fernet.generate_key())
        self._fernet = Fernet(key_file.read_bytes())

    def seal(self, value: Mapping[str, Any]) -> str:
        """`value` as text that nobody else can read, change or make."""
        return self._fernet.encrypt(json.dumps(value).encode()).decode()

    def open(self, text: str, seconds: int) -> dict[str, Any] | None:
        """What was sealed at most `seconds` ago; None for everything else."""
        try:
            opened: dict[str, Any] = json.loads(self._fernet.decrypt(text.encode(), ttl=seconds))
        except InvalidToken:
            return None
        return opened


class Codes:
    """One-time codes: each stands for an identity, for one door, for a minute."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Identity, str, float]] = {}

    def give(self, identity: Identity, redirect: str) -> str:
        """A code that `redirect` may turn into `identity`."""
        now = time.monotonic()
        self._waiting = {code: entry for code, entry in self._waiting.items() if entry[2] > now}
        code = secrets.token_urlsafe(24)
        self._waiting[code] = identity, redirect, now + CODE_SECONDS
        return code

    def take(self, code: str, redirect: str) -> Identity | None:
        """What the code stands for, the first time that its own door asks; else None."""
        identity, meant, until = self._waiting.pop(code, (None, "", 0.0))
        return identity if meant == redirect and until > time.monotonic() else None


class Cookies:
    """The cookies of one door. Their names hold the door's own mark: browsers mix up the ports of one host."""

    def __init__(self, sealed: Sealed, app: str, service: str) -> None:
        mark = hashlib.sha256(f"{app}/{service}".encode()).hexdigest()[:12]
        self.session_name = f"GCP_IAP_AUTH_TOKEN_{mark}"
        self.nonce_name = f"GCP_IAP_XSRF_NONCE_{mark}"
        self._door = f"{app}/{service}"
        self._sealed = sealed

    def session(self, identity: Identity) -> str:
        """The Set-Cookie that keeps somebody signed in."""
        value = self._seal(_SESSION, email=identity.email, groups=identity.groups)
        return _cookie(self.session_name, value, SESSION_SECONDS)

    def identity(self, cookies: Mapping[str, str]) -> Identity | None:
        """Whom the request's cookies show, if anybody."""
        opened = self._open(_SESSION, cookies.get(self.session_name, ""), SESSION_SECONDS)
        return None if opened is None else Identity(str(opened["email"]), tuple(opened["groups"]))

    def begin(self, url: str, cookies: Mapping[str, str]) -> tuple[str, str]:
        """The state to send to the sign-in page, and the Set-Cookie that proves who began (against login CSRF).

        A browser keeps the proof that it has: each page of it that is open may begin, and may be the one to come back.
        """
        given = cookies.get(self.nonce_name, "")
        nonce = given if NONCE.fullmatch(given) else secrets.token_urlsafe(16)
        state = self._seal(_STATE, url=url, nonce=nonce)
        return state, _cookie(self.nonce_name, nonce, STATE_SECONDS)

    def end(self, state: str, cookies: Mapping[str, str]) -> str | None:
        """The path that sign-in began at, when this browser began it; else None."""
        opened = self._open(_STATE, state, STATE_SECONDS)
        if opened is None:
            return None
        given = cookies.get(self.nonce_name, "")
        return str(opened["url"]) if secrets.compare_digest(str(opened["nonce"]).encode(), given.encode()) else None

    def _seal(self, kind: str, **fields: Any) -> str:
        return self._sealed.seal({"door": self._door, "kind": kind, **fields})

    def _open(self, kind: str, text: str, seconds: int) -> dict[str, Any] | None:
        """What this door sealed as this kind: a state is no session, though the same key has sealed both."""
        opened = self._sealed.open(text, seconds)
        return opened if opened is not None and (opened.get("door"), opened.get("kind")) == (self._door, kind) else None

    def cleared(self) -> list[str]:
        """The Set-Cookies that sign somebody out."""
        return [_cookie(name, "", 0) for name in (self.session_name, self.nonce_name)]


def _cookie(name: str, value: str, seconds: int) -> str:
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax"


@dataclass(frozen=True)
class Asked:
    """What a door's redirect to the sign-in page says."""

    client_id: str
    redirect_uri: str
    state: str

    @classmethod
    def of(cls, query: Mapping[str, Any]) -> "Asked":
        """From a query or a form."""
        return cls(*(str(query.get(key) or "") for key in ("client_id", "redirect_uri", "state")))

    def is_of(self, origin: str) -> bool:
        """Whether the door at an origin asks: letter by letter, since browsers read an address in ways of their own."""
        return self.redirect_uri == origin + CALLBACK

    def link(self, base: str) -> str:
        """The address of the sign-in page, for a browser to be sent to."""
        query = {"client_id": self.client_id, "response_type": "code", "scope": "openid email"}
        query |= {"redirect_uri": self.redirect_uri, "state": self.state}
        return f"{base}/{PATH}?{urlencode(query)}"

    def back(self, code: str) -> str:
        """Where the browser goes with its code."""
        return f"{self.redirect_uri}?{urlencode({'code': code, 'state': self.state})}"


def chosen(form: Mapping[str, Any]) -> Identity | None:
    """The account that the form names; None when it is no e-mail address."""
    email = str(form.get("email") or "").strip().lower()
    if not ADDRESS.fullmatch(email):
        return None
    group = str(form.get("group") or "")
    return replace(Identity(email), groups=(group,)) if group else Identity(email)


def page(asked: Asked, service: str, known: list[Known], problem: str = "") -> str:
    """The sign-in page as HTML."""
    template = _templates().get_template("signin.html")
    return template.render(asked=asked, service=service, known=known, problem=problem)


def _templates() -> Environment:
    return Environment(loader=PackageLoader("provision.emulator"), autoescape=True, undefined=StrictUndefined)
