"""All services that can be switched on, with the titles that Google gives them."""

import functools
from importlib.resources import files

from provision.emulator import discovery

# services without a discovery document of their own
_OTHERS = {
    "appengineflex": "App Engine flexible environment",
    "cloudapis": "Google Cloud APIs",
    "cloudtrace": "Cloud Trace API",
    "containerscanning": "Container Scanning API",
    "sql-component": "Cloud SQL",
    "storage-api": "Google Cloud Storage JSON API",
    "storage-component": "Cloud Storage",
}

FREE = frozenset(
    f"{name}.googleapis.com"
    for name in [
        "cloudapis",
        "cloudbilling",
        "cloudresourcemanager",
        "iam",
        "iamcredentials",
        "iap",
        "logging",
        "monitoring",
        "orgpolicy",
        "serviceusage",
        "storage",
        "storage-api",
        "storage-component",
    ]
)
"""Services that a project without billing may use."""


@functools.cache
def services() -> frozenset[str]:
    """Every known service, as in `compute.googleapis.com`."""
    folder = files("googleapiclient").joinpath("discovery_cache/documents")
    names = {path.name.split(".")[0] for path in folder.iterdir()} | set(_OTHERS) | set(_DEFAULTS.split())
    return frozenset(f"{name}.googleapis.com" for name in names)


@functools.cache
def about(service: str) -> tuple[str, str]:
    """Title and one sentence of a service."""
    name = service.removesuffix(".googleapis.com")
    if name in _OTHERS:
        return _OTHERS[name], ""
    folder = files("googleapiclient").joinpath("discovery_cache/documents")
    versions = sorted(p.name for p in folder.iterdir() if p.name.startswith(f"{name}.v"))
    if not versions:
        return service, ""
    stable = [v for v in versions if v.split(".")[1][1:].isdigit()]
    document = discovery.load((stable or versions)[0].removesuffix(".json"))
    return str(document["title"]), str(document.get("description", ""))


# what new projects have, https://cloud.google.com/service-usage/docs/enabled-service, and what comes with the rest
_DEFAULTS = (
    "analyticshub autoscaling bigquery bigqueryconnection bigquerydatapolicy bigquerydatatransfer bigquerymigration "
    "bigqueryreservation bigquerystorage container containerregistry dataform dataplex datastore deploymentmanager dns "
    "clouderrorreporting cloudkms eventarc networkconnectivity oslogin pubsub servicecontrol servicemanagement "
    "sourcerepo stackdriver telemetry"
)

# what a project counts as having switched on when it was seeded with "every API"
COMMON = frozenset(
    {*discovery.DOCUMENTS, *(f"{name}.googleapis.com" for name in (*_OTHERS, *_DEFAULTS.split(), "monitoring"))}
    - {"containerscanning.googleapis.com", "sts.googleapis.com"}
)
