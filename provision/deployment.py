"""A deployment: the user's config with what the ledger and the project say of it; all names are derived here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from provision.config import Config

APP_ENGINE_REGIONS = {"europe-west1": "europe-west", "us-central1": "us-central"}
"""The two regions that App Engine spells its own way (https://cloud.google.com/appengine/docs/flexible/locations)."""


def member_of(email: str) -> str:
    """The IAM member of an address: a person, or the account of a program.

    https://cloud.google.com/iam/docs/principal-identifiers; Google refuses an account that is called a user.
    """
    return f"serviceAccount:{email}" if email.endswith(".gserviceaccount.com") else f"user:{email}"


def is_of_people(member: str) -> bool:
    """Whether an IAM member is a person or holds some, and not a program."""
    return member.startswith(("user:", "group:", "domain:"))


@dataclass(frozen=True)
class Deployment:
    """What the steps declare from.

    Args:
        config: The user's settings.
        id: The nonce that marks everything we make, 8 hex digits.
        salt: A suffix for names that are global or stay reserved after deletion, 4 characters, the first a letter.
        project_number: Google's number of the project.
        counters: By step name, how often a new id was needed because Google does not let the old one be used again.
        runners: The IAM members that have run `up`, such as ``user:ada@example.com``.
    """

    config: Config
    id: str
    salt: str
    project_number: str
    counters: Mapping[str, int] = field(default_factory=dict)
    runners: tuple[str, ...] = ()

    @property
    def project(self) -> str:
        """The project's id."""
        return self.config.project

    @property
    def region(self) -> str:
        """The region as all services but App Engine spell it."""
        return self.config.region

    @property
    def app_region(self) -> str:
        """The region as App Engine spells it."""
        return APP_ENGINE_REGIONS.get(self.config.region, self.config.region)

    @property
    def name(self) -> str:
        """The stem of every name: ``mlflow``, or ``mlflow-ENV`` for an environment with a name of its own."""
        return "mlflow" if self.config.env == "default" else f"mlflow-{self.config.env}"

    @property
    def service(self) -> str:
        """The App Engine service that MLflow is; by itself one of each environment's own."""
        return self.config.server.service or self.name

    @property
    def signs(self) -> bool:
        """Whether the server signs links to files; else clients have rights on the bucket."""
        return self.config.artifacts.transfer == "signed"

    @property
    def labels(self) -> dict[str, str]:
        """Our mark, for resources that take labels."""
        return {"managed-by": "provision", "deployment": self.id}

    @property
    def mark(self) -> str:
        """Our mark, for resources that only have a description."""
        return f"managed-by=provision deployment={self.id}"

    @property
    def members(self) -> list[str]:
        """Who may sign in, as IAM members in the spelling that policies have, sorted.

        Google writes their addresses in lower case (https://cloud.google.com/iam/docs/principal-identifiers).
        """
        access = self.config.access
        return sorted(
            {member_of(user.lower()) for user in access.users}
            | {f"group:{group.lower()}" for group in access.groups}
            | {f"domain:{domain.lower()}" for domain in access.domains}
        )

    def numbered(self, name: str, step: str) -> str:
        """A name that cannot be used twice: itself, then with ``-2`` and so on as a step has needed new ids."""
        count = self.counters.get(step, 0)
        return f"{name}-{count + 1}" if count else name

    def account(self, purpose: str) -> str:
        """E-mail of one of our service accounts: purpose is ``server``, ``builder`` or ``log-pusher``."""
        return f"{self.name}-{purpose}@{self.project}.iam.gserviceaccount.com"
