"""What must be there before a ledger can be opened: the project, two APIs, and a bucket of our own."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from provision import errors, operations, retry
from provision.circumstances import Circumstances
from provision.clock import Clock
from provision.gcp import Gcp
from provision.patience import Patience
from provision.refusals import refusal_of
from state.files import FileStore
from state.gcs import GcsStore
from state.store import Store

T = TypeVar("T")

STORAGE, RESOURCE_MANAGER = "storage.googleapis.com", "cloudresourcemanager.googleapis.com"
BILLING = "cloudbilling.googleapis.com"


@dataclass(frozen=True)
class Project:
    """A project as Google knows it.

    Args:
        id: Its id.
        number: Its number.
        parent: What it lies in, such as ``organizations/N``; empty when it belongs to no organization, None where only
            its number is known.
    """

    id: str
    number: str
    parent: str | None = None


def find_project(gcp: Gcp, clock: Clock, *, may_change: bool) -> Project:
    """Look the project up by its id; the Resource Manager API is switched on when it is off and that is allowed.

    Where it is not allowed, Service Usage tells the number: it is on in every project
    (https://docs.cloud.google.com/service-usage/docs/enabled-service).

    Raises:
        ProjectNotUsable: It does not exist, may not be seen, or is about to be deleted.
    """
    try:
        return with_api(gcp, clock, RESOURCE_MANAGER, lambda: look_at(gcp), may_change=False)
    except errors.ApiDisabled:
        project = Patience(gcp, clock).with_(f"looking for project {gcp.project}", lambda: look_at_its_services(gcp))
    if not may_change:
        return project
    return with_api(gcp, clock, RESOURCE_MANAGER, lambda: look_at(gcp), may_change=True, number=project.number)


def look_at(gcp: Gcp) -> Project:
    """Ask Resource Manager for the project, once.

    Raises:
        ProjectNotUsable: It does not exist, may not be seen, or is about to be deleted.
    """
    with _unseen(gcp.project):
        found = gcp.projects.get_project(name=f"projects/{gcp.project}", retry=None)
    if found.state.name != "ACTIVE":
        raise errors.ProjectNotUsable(
            f"Project {gcp.project} is in state {found.state.name}: whatever is in it is gone in some weeks.",
            hint=f"Bring it back with gcloud projects undelete {gcp.project}, or use another project.",
        )
    return Project(gcp.project, found.name.removeprefix("projects/"), found.parent)


def look_at_its_services(gcp: Gcp) -> Project:
    """Ask Service Usage for the project's number, once.

    Raises:
        ProjectNotUsable: It does not exist, or may not be seen.
        QuotaProjectMissing: Another project was asked.
    """
    name = f"projects/{gcp.project}/services/{RESOURCE_MANAGER}"
    try:
        with _unseen(gcp.project):
            found = gcp.serviceusage.services().get(name=name).execute()["name"]
    except Exception as error:
        if retry.is_off(error):  # so it is another project that was asked
            raise errors.QuotaProjectMissing(f"Looking for project {gcp.project}: {refusal_of(error)}") from error
        raise
    return Project(gcp.project, found.split("/")[1])


@contextlib.contextmanager
def _unseen(project: str) -> Iterator[None]:
    """Google does not tell a missing project from one that the caller may not see."""
    try:
        yield
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None or refusal.status not in {403, 404} or retry.is_off(error):
            raise
        raise errors.ProjectNotUsable(f"Project {project} does not exist, or you may not see it: {refusal}") from error


def state_bucket(project: Project) -> str:
    """Name of the bucket that holds the ledgers of a project."""
    return f"{project.id}-provision-{hashlib.sha256(project.number.encode()).hexdigest()[:8]}"


def own_store(gcp: Gcp, clock: Clock, project: Project, *, env: str, make_in: str | None = None) -> Store:
    """Find where the ledger lies when the user does not say it: in a bucket of the project's own.

    Args:
        gcp: The clients.
        clock: Whose time passes while an API wakes up.
        project: The deployed project.
        env: The environment: ledgers of several lie side by side.
        make_in: The region to make the bucket in if it is not there; None never makes it.

    Raises:
        StateBucketTaken: The project's own bucket belongs to somebody else.
        NothingDeployed: It is not there and may not be made.
    """
    name = state_bucket(project)
    try:
        look = functools.partial(_own_bucket, gcp, project, name, make_in)
        with_api(gcp, clock, STORAGE, look, may_change=make_in is not None, number=project.number)
    except errors.ApiDisabled as error:
        if make_in is not None:
            raise
        raise errors.NothingDeployed(f"Project {project.id} holds no ledger: Cloud Storage is off there.") from error
    return GcsStore(gcp.storage.bucket(name), f"{env}/")


def remove_own_bucket(gcp: Gcp, clock: Clock, project: Project, env: str) -> bool:
    """Remove the bucket of the project's ledgers once nothing lies in it but older generations of what was removed.

    Args:
        gcp: The clients.
        clock: Whose time passes while Google is busy.
        project: The project.
        env: The environment whose ledger was removed; those of others stay, with their older generations.

    Returns:
        Whether it is gone; a bucket in which anything else lies stays.
    """
    name = state_bucket(project)
    return Patience(gcp, clock).with_(f"removing gs://{name}", lambda: _remove_own_bucket(gcp, name, env))


def _remove_own_bucket(gcp: Gcp, name: str, env: str) -> bool:
    import google.api_core.exceptions

    bucket = gcp.storage.bucket(name)
    try:
        blobs = list(gcp.storage.list_blobs(bucket, versions=True, timeout=20))
        alone = all(blob.time_deleted for blob in blobs)
        for blob in blobs:
            if blob.time_deleted and (alone or blob.name.startswith(f"{env}/")):
                with contextlib.suppress(google.api_core.exceptions.NotFound):
                    bucket.delete_blob(blob.name, generation=blob.generation, retry=None, timeout=20)
        if alone:
            bucket.delete(retry=None, timeout=20)
    except google.api_core.exceptions.NotFound:
        return True
    except google.api_core.exceptions.Conflict:  # somebody has begun anew meanwhile
        return False
    return alone


def named_store(gcp: Gcp, clock: Clock, state: str, *, may_change: bool) -> Store:
    """Open the place where the user says that the ledger lies: ``gs://BUCKET/PREFIX``, or a path of a file.

    Raises:
        BadUsage: No bucket is named.
        NothingDeployed: The bucket does not exist, or Cloud Storage is off and may not be switched on.
    """
    if not state.startswith("gs://"):
        return FileStore(Path(state))
    import google.api_core.exceptions

    name, _, prefix = state.removeprefix("gs://").partition("/")
    if not name:
        raise errors.BadUsage(f"{state} names no bucket.", hint="Type gs://BUCKET/PREFIX.")

    def look() -> None:
        try:
            list(gcp.storage.list_blobs(name, prefix=prefix, max_results=1, retry=None, timeout=20))
        except google.api_core.exceptions.NotFound as error:
            hint = "Make the bucket, or leave --state out: up then makes one for the project."
            raise errors.NothingDeployed(f"gs://{name} does not exist.", hint=hint) from error

    try:
        with_api(gcp, clock, STORAGE, look, may_change=may_change)
    except errors.ApiDisabled as error:
        if may_change:
            raise
        raise errors.NothingDeployed(f"There is no ledger at {state}: Cloud Storage is off there.") from error
    return GcsStore(gcp.storage.bucket(name), prefix)


def _own_bucket(gcp: Gcp, project: Project, name: str, make_in: str | None) -> None:
    """Make sure that the project's own bucket is there and is ours; ``state destroy`` is what removes it."""
    import google.api_core.exceptions

    for _ in range(2):
        try:
            found = gcp.storage.get_bucket(name, timeout=20, retry=None)
        except google.api_core.exceptions.NotFound:
            if make_in is None:
                raise errors.NothingDeployed(
                    f"Project {project.id} holds no ledger (gs://{name} does not exist)."
                ) from None
        except google.api_core.exceptions.Forbidden as error:
            if retry.is_off(error):
                raise
            raise errors.StateBucketTaken(
                f"gs://{name} is there and you may not read it: {refusal_of(error)}"
            ) from error
        else:
            if str(found.project_number) == project.number and found.labels.get("managed-by") == "provision":
                return
            raise errors.StateBucketTaken(f"gs://{name} is there, and it is not labelled as ours in this project.")
        with contextlib.suppress(google.api_core.exceptions.Conflict):  # made since, by us or another: look again
            _make_bucket(gcp, name, make_in or "")
    raise errors.StateBucketTaken(f"gs://{name} can be neither made nor read.")


def _make_bucket(gcp: Gcp, name: str, region: str) -> None:
    bucket = gcp.storage.bucket(name)
    bucket.labels = {"managed-by": "provision"}
    bucket.versioning_enabled = True  # in the create call: overwriting soon after it is switched on may lose a version
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = "enforced"
    bucket.add_lifecycle_delete_rule(number_of_newer_versions=100, days_since_noncurrent_time=30)
    gcp.storage.create_bucket(bucket, location=region, retry=None, timeout=20)


def with_api(gcp: Gcp, clock: Clock, service: str, act: Callable[[], T], *, may_change: bool, number: str = "") -> T:
    """Do something with an API, switching it on once when it answers that it is off in the project of this number."""
    patience = Patience(gcp, clock, Circumstances(number, now=clock.now))

    def attempt() -> T:
        try:
            return act()
        except Exception as error:
            if may_change and not patience.circumstances.enabled and retry.is_off_here(error, number):
                structlog.get_logger().info("api.enabled", service=service)
                answer = gcp.serviceusage.services().enable(name=f"projects/{gcp.project}/services/{service}", body={})
                if operation := operations.started("serviceusage", answer.execute()):
                    patience.until_over(operation)
                patience.circumstances.note(f"projects/{gcp.project}/services", {}, clock.now())
            raise

    return patience.with_(f"asking {service}", attempt)
