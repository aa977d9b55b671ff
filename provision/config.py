"""The user's settings, in the user's words: provision.toml, checked before anything is touched."""

import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic

from provision.errors import BadConfig

REGIONS = (
    "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3", "asia-south1",
    "asia-southeast1", "asia-southeast2", "australia-southeast1", "europe-central2", "europe-west1", "europe-west2",
    "europe-west3", "europe-west6", "northamerica-northeast1", "southamerica-east1", "us-central1", "us-east1",
    "us-east4", "us-west1", "us-west2", "us-west3", "us-west4",
)  # fmt: skip
"""Regions that have App Engine flexible (https://cloud.google.com/appengine/docs/flexible/locations)."""

MAX_CONNECTIONS = {"db-f1-micro": 25, "db-g1-small": 50}
"""By shared-core tier, the default of max_connections (https://cloud.google.com/sql/docs/postgres/flags)."""

MEMORY_CONNECTIONS = ((3.75, 100), (6, 200), (7.5, 400), (15, 500), (30, 600), (60, 800), (120, 1000))
"""The same for the other tiers: below so many GiB of memory the next lower figure holds (same page)."""

CONNECTIONS_KEPT_FREE = 5
"""Connections that PostgreSQL keeps for superusers, and two for a person who looks in."""

ProjectId = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
Email = Annotated[str, pydantic.StringConstraints(pattern=r"^[^@\s:]+@[^@\s:]+\.[^@\s:]+$")]
Domain = Annotated[str, pydantic.StringConstraints(pattern=r"^([a-z0-9-]+\.)+[a-z]{2,}$")]
Label = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$")]
ResourceName = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]


class Section(pydantic.BaseModel):
    """A table of the settings: nothing unknown is accepted, nothing changes once it is read."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Access(Section):
    """Who may sign in."""

    users: tuple[Email, ...] = ()
    groups: tuple[Email, ...] = ()
    domains: tuple[Domain, ...] = ()


class Network(Section):
    """An existing network and subnet, or neither: then one of our own is made."""

    name: ResourceName | None = None
    subnet: ResourceName | None = None
    cidr: Annotated[str, pydantic.StringConstraints(pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$")] = "10.8.0.0/22"

    @pydantic.model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.name is None) != (self.subnet is None):
            raise ValueError("an existing network needs its subnet too: set both network.name and network.subnet")
        return self


class Database(Section):
    """Cloud SQL for PostgreSQL."""

    version: Annotated[str, pydantic.StringConstraints(pattern=r"^POSTGRES_1[4-8]$")] = "POSTGRES_18"
    tier: Annotated[str, pydantic.StringConstraints(pattern=r"^db-(f1-micro|g1-small|custom-\d+-\d+)$")] = "db-f1-micro"
    disk_gb: Annotated[int, pydantic.Field(ge=10, le=65536)] = 10
    high_availability: bool = False
    deletion_protection: bool = False

    @property
    def max_connections(self) -> int:
        """How many connections the tier gives by default."""
        if self.tier in MAX_CONNECTIONS:
            return MAX_CONNECTIONS[self.tier]
        gib = int(self.tier.rsplit("-", 1)[1]) / 1024
        return max((count for least, count in MEMORY_CONNECTIONS if gib >= least), default=50)


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
            raise ValueError(f"memory_gb must lie between {least:.1f} and {most:.1f} for {self.cpu} cpu")
        return self

    @property
    def connections(self) -> int:
        """Database connections at the worst moment: while a deployment overlaps the version that it replaces."""
        return 2 * self.instances * (self.workers * 8 + 2)


class Artifacts(Section):
    """The bucket that holds models and files."""

    noncurrent_days: Annotated[int, pydantic.Field(ge=1, le=3650)] = 30
    soft_delete_days: Annotated[int, pydantic.Field(ge=7, le=90)] = 7


class Door(Section):
    """Identity-Aware Proxy: Google's own OAuth client, or a custom one for users outside the organization."""

    client_id: Annotated[str, pydantic.StringConstraints(pattern=r"^[^\s]+\.apps\.googleusercontent\.com$")] | None = (
        None
    )
    client_secret_file: Path | None = None

    @pydantic.model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.client_id is None) != (self.client_secret_file is None):
            raise ValueError("a custom client needs both door.client_id and door.client_secret_file")
        return self


class Config(Section):
    """Everything that can be set; only the project has no default."""

    project: ProjectId
    region: str = "europe-west1"
    env: Label = "default"
    support_email: Email | None = None
    access: Access = Access()
    network: Network = Network()
    database: Database = Database()
    server: Server = Server()
    artifacts: Artifacts = Artifacts()
    door: Door = Door()
    protect: tuple[str, ...] = ()

    @pydantic.field_validator("region")
    @classmethod
    def _has_app_engine_flexible(cls, region: str) -> str:
        if region not in REGIONS:
            raise ValueError(f"{region} has no App Engine flexible; it must be one of {', '.join(REGIONS)}")
        return region

    @pydantic.model_validator(mode="after")
    def _connections_that_the_tier_has(self) -> Self:
        room = self.database.max_connections - CONNECTIONS_KEPT_FREE
        need = self.server.connections
        if need > room:
            raise ValueError(
                f"{self.server.instances} instances with {self.server.workers} workers may open {need} connections "
                f"while a deployment overlaps the old version, and database.tier {self.database.tier} leaves {room}; "
                f"the smallest tier that fits is {_smallest_tier(need)}"
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
    try:
        return check(tomllib.loads(text), source)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{source} is not valid TOML: {error}") from error


def load(path: Path) -> Config:
    """Read settings from a file; see parse.

    Raises:
        BadConfig: The file cannot be read, or what parse raises.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} cannot be read: {error}") from error
    return parse(text, str(path))


def check(values: dict[str, Any], source: str) -> Config:
    """Make settings from plain values; see parse for the errors."""
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as error:
        raise BadConfig("\n".join(f"{source}: {_explain(dict(item))}" for item in error.errors())) from error


def _explain(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    match item["type"]:
        case "extra_forbidden":
            return f"{key} is not a setting"
        case "missing":
            return f"{key} is missing"
        case "string_pattern_mismatch":
            return f"{key} = {item['input']!r} is not allowed; it must match {item['ctx']['pattern']}"
        case "value_error":
            return f"{key}: {item['ctx']['error']}" if key else str(item["ctx"]["error"])
        case _:
            return f"{key} = {item['input']!r} is not allowed: {item['msg'].removeprefix('Input ')}"


def _smallest_tier(connections: int) -> str:
    need = connections + CONNECTIONS_KEPT_FREE
    for tier, count in sorted(MAX_CONNECTIONS.items(), key=lambda item: item[1]):
        if count >= need:
            return tier
    for gib, count in MEMORY_CONNECTIONS:
        if count >= need:
            # A custom tier gives at most 6.5 GiB of memory to a core, and an even number of cores above one.
            cores = math.ceil(gib / 6.5)
            return f"db-custom-{cores if cores == 1 else cores + cores % 2}-{int(gib * 1024)}"
    return "none: lower server.instances or server.workers"
