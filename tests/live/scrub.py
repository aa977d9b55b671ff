"""Takes out of a text what nobody else may know: secrets, people, and whose project it is.

The same thing gets the same name everywhere, so that one can still follow what happened.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|$)", re.DOTALL),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"),  # a JSON web token
    re.compile(r"\bya29\.[\w./-]+"),  # an access token of Google's
    re.compile(r"\b1//0[\w-]{10,}"),  # a refresh token
    re.compile(r"\b4/0[\w-]{10,}"),  # a code that is good for one
    re.compile(r"(?<=GCP_IAP_)[\w]+=[^\s;\"']+|(?<=GCP_IAAP_)[\w]+=[^\s;\"']+"),  # a cookie of the front door
    re.compile(r"\bGOCSPX-[\w-]+"),  # the secret of an OAuth client
    re.compile(r"\bAIza[\w-]{20,}"),  # an API key
    re.compile(r"\bGOOG1[A-Z0-9]{20,}"),  # an HMAC key of Cloud Storage
    re.compile(r"(?<=://)[^/\s:@\"']+:[^/\s@\"']+(?=@)"),  # user and password of an address
)
_NAMED = re.compile(
    r"""(?ix)
    (?P<before> \b (?: authorization | x-emulator-token | [\w-]*(?:password|passwd|secret|token|private_key|api_?key|signature)
        | sig | credential ) \\?["']? \s* [:=] \s* \\?["']? )
    (?: (?:bearer|basic) \s+ )?
    (?P<value> (?<="|') [^"'\\]{6,} | [^\s"'&,;)\]}\\]{6,} )
    """
)
"""A value whose name says that it is a secret."""
_HARMLESS = re.compile(r"SECRET$|projects/")
"""What stands there once it is scrubbed, and names of secrets, which are none."""

_FACTS = (
    ("PERSON", re.compile(r"(?i)(?:[\w.+-]|%(?!40))+(?:@|%40)(?![\w.-]*gserviceaccount\.com)[\w.-]+\.[a-z]{2,}\b")),
    ("PAYER", re.compile(r"\b[a-z][a-z0-9:.-]+(?= pays for your calls)")),
    ("DOMAIN", re.compile(r"(?<=domain:)[\w.-]+")),
    ("DOMAIN", re.compile(r"(?:(?<=domains of )|(?<=belong to )|(?<=: not of ))[\w-]+(?:\.[\w-]+)+")),  # as the check says it
    ("CUSTOMER", re.compile(r"\bC0[0-9a-z]{7}\b")),
    ("REPOSITORY", re.compile(r"(?<=attribute\.repository/)[^\s\"']+")),
    ("SUBJECT", re.compile(r"(?<=/subject/)[^\s\"']+")),
    ("CLIENT", re.compile(r"\b\d+-\w+(?=\.apps\.googleusercontent\.com)")),
    ("ORGANIZATION", re.compile(r"(?<=organizations/)\d+")),
    ("FOLDER", re.compile(r"(?<=folders/)\d+")),
    ("BILLING", re.compile(r"\b[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}\b")),
    ("ADDRESS", re.compile(r"(?<![\d.])(?!(?:10|127)\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")),
    ("ADDRESS", re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}\b|(?<![\w:])[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*::[0-9a-f:]*")),
)  # fmt: skip
"""What tells who or where somebody is, with the name that each kind gets; private addresses tell nothing."""

_EVERYBODYS = {"gmail.com", "googlemail.com", "example.com"}
"""Domains that tell nothing of who is in them."""

_NUMBER = re.compile(
    r"(?<=projects/)\d{6,}|(?<=service-)\d{6,}(?=@)|(?<=consumer 'project_number:)\d+|(?<=project )\d{6,}"
)


@dataclass
class Scrubber:
    """Scrubs what belongs to one run.

    Args:
        project: The project's id; it becomes PROJECT everywhere.
        hidden: Other words that tell who somebody is, such as the machine's name.
    """

    project: str = ""
    hidden: tuple[str, ...] = ()
    _names: dict[str, str] = field(default_factory=dict)

    def scrub(self, text: str) -> str:
        """The text without what is secret or personal; scrubbing it again changes nothing."""
        for pattern in _SECRETS:
            text = pattern.sub("SECRET", text)
        text = _NAMED.sub(_without_value, text)
        text = re.sub(rf"{re.escape(str(Path.home()))}(?![\w.-])", "~", text)
        for number in set(_NUMBER.findall(text)):
            self._names.setdefault(number, "NUMBER")
        for kind, pattern in _FACTS:
            text = pattern.sub(lambda found, kind=kind: self._named(kind, found[0]), text)
        for value, name in self._names.items():
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", name, text)
        for word in self.hidden:
            text = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", "MACHINE", text)
        return text.replace(self.project, "PROJECT") if self.project else text

    def _named(self, kind: str, value: str) -> str:
        """The name of a thing, the same each time; with a person goes the domain, wherever it is told."""
        if value == self.project or re.fullmatch(rf"{kind}-\d+(@example\.com)?", value):
            return value
        if kind == "PERSON":
            value = value.replace("%40", "@").lower()
            if (domain := value.partition("@")[2]) not in _EVERYBODYS:
                self._named("DOMAIN", domain)
        known = sum(name.startswith(kind) for name in self._names.values())
        return self._names.setdefault(value, f"{kind}-{known + 1}" + ("@example.com" if kind == "PERSON" else ""))


def _without_value(found: "re.Match[str]") -> str:
    return found[0] if _HARMLESS.match(found["value"]) else f"{found['before']}SECRET"
