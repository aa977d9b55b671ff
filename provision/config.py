"""The user's settings, in the user's words: provision.toml, checked before anything is touched."""

import difflib
import ipaddress
import re
import reprlib
import stat
import tomllib
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import pydantic

from provision import tiers
from provision.errors import BadConfig

REGIONS = (
    "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3", "asia-south1",
    "asia-southeast1", "asia-southeast2", "australia-southeast1", "europe-central2", "europe-west1", "europe-west2",
    "europe-west3", "europe-west6", "northamerica-northeast1", "southamerica-east1", "us-central1", "us-east1",
    "us-east4", "us-west1", "us-west2", "us-west3", "us-west4",
)  # fmt: skip
"""Regions that have App Engine flexible (https://cloud.google.com/appengine/docs/flexible/locations)."""

LONGEST_HOST = 63
"""Characters that a service with its project may have, or nothing on the internet takes the certificate
(https://docs.cloud.google.com/appengine/docs/flexible/reference/app-yaml)."""

CONNECTIONS_KEPT_FREE = 5
"""Connections that PostgreSQL keeps for superusers, and two for a person who looks in."""

PRIVATE_RANGES = tuple(
    map(
        ipaddress.IPv4Network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24",
         "198.51.100.0/24", "203.0.113.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"),
    )
)  # fmt: skip
"""Where a subnet may lie without taking public addresses (https://cloud.google.com/vpc/docs/subnets#ipv4-ranges)."""

LEAST_PREFIX, LONGEST_PREFIX = 8, 29
"""How large and how small a subnet may be (same page)."""

ProjectId = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
Email = Annotated[
    str,
    pydantic.StringConstraints(pattern=r"^[A-Za-z0-9._%+&'~-]+@([A-Za-z0-9-]+\.)+[A-Za-z0-9-]{2,}$", max_length=254),
]
Domain = Annotated[str, pydantic.StringConstraints(pattern=r"^([a-z0-9-]+\.)+[a-z]{2,}$")]
Label = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$")]
ResourceName = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]

S = TypeVar("S", bound="Section")

FROM_A_LIST = pydantic.Field(strict=False)  # TOML has no tuples


class Section(pydantic.BaseModel):
    """A table of the settings: nothing unknown is accepted, no type is guessed, nothing changes once it is read."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class Access(Section):
    """Who may sign in."""

    users: Annotated[tuple[Email, ...], FROM_A_LIST] = ()
    groups: Annotated[tuple[Email, ...], FROM_A_LIST] = ()
    domains: Annotated[tuple[Domain, ...], FROM_A_LIST] = ()


class Network(Section):
    """An existing network and subnet, or neither: then one of our own is made."""

    name: ResourceName | None = None
    subnet: ResourceName | None = None
    cidr: str = "10.8.0.0/22"

    @pydantic.field_validator("cidr")
    @classmethod
    def _a_range_that_a_subnet_may_have(cls, cidr: str) -> str:
        if not re.fullmatch(r"[0-9.]{7,15}/[0-9]{1,2}", cidr):
            raise ValueError("must be an IPv4 range, such as 10.8.0.0/22")
        try:
            wanted = ipaddress.IPv4Network(cidr)
        except ValueError as error:
            raise ValueError(f"must be an IPv4 range, such as 10.8.0.0/22: {error}") from error
        if not LEAST_PREFIX <= wanted.prefixlen <= LONGEST_PREFIX:
            raise ValueError(f"must be between a /{LEAST_PREFIX} and a /{LONGEST_PREFIX}")
        broadcast = ipaddress.IPv4Address(2**32 - 1)
        if broadcast in wanted or not any(wanted.subnet_of(held) for held in PRIVATE_RANGES):
            raise ValueError(f"must lie in one of the private ranges {', '.join(map(str, PRIVATE_RANGES))}")
        return cidr

    @pydantic.model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.name is None) != (self.subnet is None):
            raise ValueError("an existing network needs its subnet too: set both network.name and network.subnet")
        return self


class Database(Section):
    """Cloud SQL for PostgreSQL."""

    version: Annotated[str, pydantic.StringConstraints(pattern=r"^POSTGRES_1[4-8]$")] = "POSTGRES_18"
    tier: Annotated[
        str, pydantic.StringConstraints(pattern=r"^db-(f1-micro|g1-small|custom-[0-9]{1,3}-[0-9]{1,7})$")
    ] = "db-f1-micro"
    disk_gb: Annotated[int, pydantic.Field(ge=10, le=65536)] = 10
    high_availability: bool = False
    deletion_protection: bool = False

    @pydantic.field_validator("tier")
    @classmethod
    def _a_machine_that_exists(cls, tier: str) -> str:
        if why := tiers.why_not(tier):
            raise ValueError(why)
        return tier

    @property
    def max_connections(self) -> int:
        """How many connections the tier gives by default."""
        return tiers.connections(self.tier)


class Server(Section):
    """The tracking server on App Engine flexible."""

    service: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$")] | None = None
    cpu: Annotated[int, pydantic.Field(ge=1, le=80)] = 1
    memory_gb: float = 3.0
    disk_gb: Annotated[int, pydantic.Field(ge=10, le=10240)] = 13
    instances: Annotated[int, pydantic.Field(ge=1, le=20)] = 1
    workers: Annotated[int, pydantic.Field(ge=1, le=16)] = 1

    @pydantic.field_validator("cpu")
    @classmethod
    def _a_size_that_exists(cls, cpu: int) -> int:
        # https://docs.cloud.google.com/appengine/docs/flexible/reference/app-yaml#resource-settings
        if cpu != 1 and not (cpu <= 32 and cpu % 2 == 0) and cpu % 4:
            raise ValueError("must be 1, an even number up to 32, or a multiple of 4 up to 80")
        return cpu

    @pydantic.model_validator(mode="after")
    def _memory_that_fits_the_cpu(self) -> Self:
        least, most = self.cpu * 1.0 - 0.4, self.cpu * 6.5 - 0.4
        if not least <= self.memory_gb <= most:
            raise ValueError(
                f"memory_gb must lie between {least:.1f} and {most:.1f} for {self.cpu} cpu, and is {self.memory_gb:g}"
            )
        return self

    @property
    def connections(self) -> int:
        """Database connections at the worst moment: while a deployment overlaps the version that it replaces."""
        return 2 * self.instances * (self.workers * 8 + 2)


class Artifacts(Section):
    """The bucket that holds models and files, and how they come there."""

    transfer: Literal["direct", "signed"] = "direct"
    noncurrent_days: Annotated[int, pydantic.Field(ge=1, le=3650)] = 30
    soft_delete_days: Annotated[int, pydantic.Field(ge=7, le=90)] = 7


class Door(Section):
    """Identity-Aware Proxy: Google's own OAuth client, or a custom one for users outside the organization."""

    client_id: (
        Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9._-]+\.apps\.googleusercontent\.com$")] | None
    ) = None
    client_secret_file: Annotated[Path, pydantic.Field(strict=False)] | None = None

    @pydantic.model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.client_id is None) != (self.client_secret_file is None):
            raise ValueError("a custom client needs both door.client_id and door.client_secret_file")
        return self

    def client_secret(self) -> str | None:
        """What the file holds now; it is read whenever it is needed, and kept nowhere.

        Raises:
            BadConfig: There is no such file, or it holds no secret.
        """
        return None if self.client_secret_file is None else secret_in(self.client_secret_file)


class Whose(Section):
    """Which deployment is meant: all that a command needs to know that only looks at one, or takes it away."""

    project: ProjectId
    env: Label = "default"


class Config(Whose):
    """Everything that can be set; only the project has no default."""

    region: str = "europe-west1"
    support_email: Email | None = None
    access: Access = Access()
    network: Network = Network()
    database: Database = Database()
    server: Server = Server()
    artifacts: Artifacts = Artifacts()
    door: Door = Door()
    protect: Annotated[tuple[str, ...], FROM_A_LIST] = ()

    @pydantic.field_validator("region")
    @classmethod
    def _has_app_engine_flexible(cls, region: str) -> str:
        if region not in REGIONS:
            raise ValueError(f"it has no App Engine flexible; it must be one of {', '.join(REGIONS)}")
        return region

    @pydantic.model_validator(mode="after")
    def _a_host_name_that_there_can_be(self) -> Self:
        host = f"{self.server.service}-dot-{self.project}"
        if self.server.service and self.server.service != "default" and len(host) > LONGEST_HOST:
            raise ValueError(
                f"server.service = {_value(self.server.service)} is {len(host) - LONGEST_HOST} characters too long for "
                f"this project: {host} is a part of the server's address and may have {LONGEST_HOST}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _connections_that_the_tier_has(self) -> Self:
        room = self.database.max_connections - CONNECTIONS_KEPT_FREE
        need = self.server.connections
        if need > room:
            raise ValueError(
                f"{self.server.instances} instances with {self.server.workers} workers may open {need} connections "
                f"while a deployment overlaps the old version, and database.tier {self.database.tier} leaves {room}; "
                f"the smallest tier that fits is {tiers.smallest(need + CONNECTIONS_KEPT_FREE)}"
            )
        return self


def parse(text: str, source: str = "provision.toml") -> Config:
    """Read settings from TOML.

    Args:
        text: The content of the file.
        source: What to call the file in an error.

    Raises:
        BadConfig: It is no TOML, or a setting is missing, unknown or has a value that is not allowed.
    """
    return check(_values(text, source), source)


def load(path: Path) -> Config:
    """Read settings from a file; see parse.

    Raises:
        BadConfig: The file cannot be read, or what parse raises.
    """
    return check(values_in(path), str(path))


def values_in(path: Path) -> dict[str, Any]:
    """What a file says, whether it is allowed or not.

    Raises:
        BadConfig: The file cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark of its encoding
    except OSError as error:
        raise BadConfig(
            f"{path} cannot be read: {error.strerror}", hint="Name a file that can be read with --config."
        ) from error
    except UnicodeDecodeError as error:
        raise BadConfig(f"{path} cannot be read: {error}") from error
    return _values(text, str(path))


def _values(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # also a number with more digits than Python reads
        raise BadConfig(f"{source} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise BadConfig(f"{source} is not valid TOML: it is nested too deeply") from error


def secret_in(file: Path) -> str:
    """The secret of a custom OAuth client; its file holds nothing else.

    Raises:
        BadConfig: There is no such file, or it holds no secret.
    """
    said = f"door.client_secret_file = {_value(str(file))}"
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise BadConfig(f"{said} is no file")
        secret = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise BadConfig(f"{said} cannot be read: {error.strerror}") from error
    except ValueError:  # not ASCII, and the error quotes it
        raise BadConfig(f"{said} holds no OAuth client's secret") from None
    if not secret:
        raise BadConfig(f"{said} is empty")
    return secret


def check(values: dict[str, Any], source: str) -> Config:
    """Make settings from plain values; see parse for the errors."""
    return _checked(Config, values, source)


def whose(values: dict[str, Any], source: str) -> Whose:
    """The deployment that plain values mean; what else they say is not looked at."""
    return _checked(Whose, {key: value for key, value in values.items() if key in Whose.model_fields}, source)


def _checked(kind: type[S], values: dict[str, Any], source: str) -> S:
    try:
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        raise BadConfig("\n".join(f"{source}: {_explain(dict(item))}" for item in error.errors())) from error


def _explain(item: dict[str, Any]) -> str:
    key, value = ".".join(map(_part, item["loc"])), _value(item["input"])
    match item["type"]:
        case "extra_forbidden":
            return f"{key} is not a setting{_meant(*item['loc'])}"
        case "missing":
            return f"{key} is missing"
        case "string_pattern_mismatch":
            return f"{key} = {value} is not allowed; it must match {item['ctx']['pattern']}"
        case "tuple_type":
            return f"{key} = {value} is not allowed: should be a list"
        case "model_type":
            return f"{key} = {value} is not allowed: should be a table"
        case "value_error" if isinstance(item["input"], str | int | float):
            return f"{key} = {value} is not allowed: {item['ctx']['error']}"
        case "value_error":
            return f"{key}: {item['ctx']['error']}" if key else str(item["ctx"]["error"])
        case _:
            return f"{key} = {value} is not allowed: {item['msg'].removeprefix('Input ')}"


def _meant(*loc: int | str) -> str:
    """Which setting may have been meant: one with nearly that name in the same table, or with that name in another."""
    *table, name = map(str, loc)
    here = Config if not table else next((kind for key, kind in _tables() if [key] == table), None)
    keys = difflib.get_close_matches(name[:40], here.model_fields if here else (), n=1, cutoff=0.7)
    near = [".".join([*table, key]) for key in keys]
    elsewhere = [f"{key}.{name}" for key, kind in _tables() if name in kind.model_fields]
    return f"; did you mean {' or '.join(near or elsewhere)}?" if near or elsewhere else ""


def _tables() -> list[tuple[str, type[Section]]]:
    kinds = ((key, field.annotation) for key, field in Config.model_fields.items())
    return [(key, kind) for key, kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 2, 100, 50, 100


def _part(name: object) -> str:
    """A part of a key as one may write it in TOML: bare, or else in quotes."""
    text = str(name)
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text) else _SHORT.repr(text)


def _value(value: object) -> str:
    """A value as it may be shown: not a letter that a terminal would obey, and not all of what is very long."""
    if isinstance(value, bool | date | time):
        return str(value).lower()
    try:
        return _SHORT.repr(value)
    except ValueError:
        return "a number of thousands of digits"
