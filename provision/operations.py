"""Long-running operations of every API: from an answer to a name, and from a name to its end, in any process.

Google purges the names of finished operations after a while; an operation that is not found any more has ended, and
reading the resource tells how.
"""

from collections.abc import Callable
from typing import Any

from provision.errors import OperationFailed, StillInUse
from provision.gcp import Gcp
from provision.step import Operation

Answer = dict[str, Any]

STEP_FAILED = {"USER_BUILD_STEP", "FAILURE"}
"""Ends of a build that are the fault of what is built, and not of Google or of a right that is missing
(https://cloud.google.com/build/docs/api/reference/rest/v1/projects.builds#failuretype)."""

OF_A_STEP = (
    "The same build would fail again. Mend what the last lines of its log name, in server/ or where that is downloaded"
    " from; the whole log is at the address above. Then run the same command again."
)


def started(service: str, answer: Answer) -> Operation | None:
    """Name the operation that an answer began.

    Args:
        service: The API's short name, such as ``sqladmin``.
        answer: The operation's first body.

    Returns:
        ``//SERVICE.googleapis.com/NAME``, or None when the operation is already over.

    Raises:
        OperationFailed: The operation is over and failed.
    """
    if _over(answer):
        _raise_if_failed(service, answer)
        return None
    name = answer["name"]
    if service == "compute":
        name = answer["selfLink"].partition("/compute/v1/")[2]
    elif service == "sqladmin":
        name = f"projects/{answer['targetProject']}/operations/{name}"
    return f"//{service}.googleapis.com/{name}"


def poll(gcp: Gcp, operation: Operation) -> bool:
    """Ask once.

    Returns:
        Whether the operation is over.

    Raises:
        OperationFailed: It is over and failed.
        Exception: What Google's library raises when the question itself fails.
    """
    host, _, name = operation.removeprefix("//").partition("/")
    service = host.removesuffix(".googleapis.com")
    answer = _GET[service](gcp, name)
    if not _over(answer):
        return False
    _raise_if_failed(service, answer)
    return True


def _compute(gcp: Gcp, name: str) -> Answer:
    parts = name.split("/")
    if parts[2] == "global":
        return dict(gcp.compute.globalOperations().get(project=parts[1], operation=parts[-1]).execute())
    asked = gcp.compute.regionOperations().get(project=parts[1], region=parts[3], operation=parts[-1])
    return dict(asked.execute())


def _sql(gcp: Gcp, name: str) -> Answer:
    _, project, _, operation = name.split("/")
    return dict(gcp.sql.operations().get(project=project, operation=operation).execute())


def _appengine(gcp: Gcp, name: str) -> Answer:
    _, app, _, operation = name.split("/")
    return dict(gcp.appengine.apps().operations().get(appsId=app, operationsId=operation).execute())


_GET: dict[str, Callable[[Gcp, str], Answer]] = {
    "compute": _compute,
    "sqladmin": _sql,
    "appengine": _appengine,
    "serviceusage": lambda gcp, name: dict(gcp.serviceusage.operations().get(name=name).execute()),
    "servicenetworking": lambda gcp, name: dict(gcp.servicenetworking.operations().get(name=name).execute()),
    "artifactregistry": lambda gcp, name: dict(
        gcp.artifactregistry.projects().locations().operations().get(name=name).execute()
    ),
    "cloudbuild": lambda gcp, name: dict(gcp.cloudbuild.projects().locations().operations().get(name=name).execute()),
}


def _over(answer: Answer) -> bool:
    return answer.get("done") is True or answer.get("status") == "DONE"


def _raise_if_failed(service: str, answer: Answer) -> None:
    """Raise for any of the shapes in which Google's APIs report that an operation failed."""
    build = answer.get("metadata", {}).get("build", {})
    error = answer.get("error")
    if build.get("status", "SUCCESS") != "SUCCESS":  # also where there is an error: it says less
        failure = build.get("failureInfo", {})
        why = failure.get("detail") or build.get("statusDetail") or ""
        words = f"the build ended with {build['status']}{': ' + why if why else ''}"
        told = f"{words}; its log: {build.get('logUrl', 'none')}"
        code = failure.get("type") or build["status"]
        raise OperationFailed(told, code=code, service=service, hint=OF_A_STEP if code in STEP_FAILED else "")
    if error and error.get("errors"):  # Compute and Cloud SQL: a list of words and sentences
        first = error["errors"][0]
        kind = StillInUse if first.get("code") == "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE" else OperationFailed
        raise kind(first.get("message") or first.get("code", "failed"), code=first.get("code", ""), service=service)
    if error:  # google.rpc.Status
        code = error.get("code", "")
        raise OperationFailed(error.get("message") or f"failed with code {code}", code=code, service=service)
