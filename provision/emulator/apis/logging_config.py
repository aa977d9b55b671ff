"""Cloud Logging: sinks and log-based metrics. https://cloud.google.com/logging/docs/reference/v2/rest."""

from provision.emulator import errors
from provision.emulator.api import Call, Json, method

_AUDITED = [
    f'LOG_ID("{kind}.googleapis.com/{log}")'
    for log in ("activity", "system_event", "access_transparency")
    for kind in ("cloudaudit", "externalaudit")
]
# the sinks that every project has, https://cloud.google.com/logging/docs/routing/overview#predefined-sinks
_OWN = {"_Required": " OR ".join(_AUDITED), "_Default": " AND ".join(f"NOT {log}" for log in _AUDITED)}
_SHARED = "serviceAccount:cloud-logs@system.gserviceaccount.com"
_UNMASKED = ["destination", "filter", "includeChildren"]


def _writer(call: Call, sink: Json, before: str = "") -> str:
    """Who writes for a sink: nobody special into a bucket of its own project, and one's own account once asked for.

    https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks/create (uniqueWriterIdentity)
    """
    if call.world.by_id(sink["destination"].partition("/")[2]).startswith(f"projects/{call.project_id}/locations/"):
        return ""
    if call.params.get("uniqueWriterIdentity") or before not in ("", _SHARED):
        return f"serviceAccount:service-{call.number}@gcp-sa-logging.iam.gserviceaccount.com"
    return _SHARED


def _own_sinks(call: Call) -> dict[str, Json]:
    bucket = f"logging.googleapis.com/projects/{call.project_id}/locations/global/buckets/"
    return {name: {"name": name, "destination": bucket + name, "filter": text} for name, text in _OWN.items()}


def _said(sink: Json) -> Json:
    """A sink without what is empty or off, https://protobuf.dev/programming-guides/json/."""
    row = {key: value for key, value in sink.items() if value not in (None, "", False, [], {})}
    options = dict(row.get("bigqueryOptions") or {})
    if options.get("usePartitionedTables"):
        row["bigqueryOptions"] = options | {"usesTimestampColumnPartitioning": True}
    return row


def _key(call: Call, param: str, kind: str) -> str:
    return f"projects/{call.project_id}/{kind}/{str(call.params[param]).rsplit('/', 1)[-1]}"


# -- sinks
def _sink(call: Call, param: str = "sinkName") -> tuple[str, Json]:
    key = _key(call, param, "sinks")
    row = call.world.table("logging.sinks").get(key) or _own_sinks(call).get(key.rsplit("/", 1)[-1])
    if row is None:
        raise errors.not_found(f"Sink {key.rsplit('/', 1)[-1]} does not exist")
    return key, row


@method("logging.projects.sinks.create", permission="logging.sinks.create")
def create_sink(call: Call) -> Json:
    """Send what fits a filter somewhere."""
    name = str(call.body.get("name") or "")
    key = f"projects/{call.project_id}/sinks/{name}"
    table = call.world.table("logging.sinks")
    if key in table or name in _OWN:
        raise errors.already_exists(f"Sink {name} already exists")
    if not call.body.get("destination"):
        raise errors.invalid("Sink destination is empty.")
    now = call.world.timestamp(9)
    row = call.body | {"writerIdentity": _writer(call, call.body), "createTime": now, "updateTime": now}
    table[key] = _said(row)
    return table[key]


@method("logging.projects.sinks.get", permission="logging.sinks.get")
def get_sink(call: Call) -> Json:
    """One sink."""
    return _sink(call)[1]


@method("logging.projects.sinks.list", permission="logging.sinks.list")
def list_sinks(call: Call) -> Json:
    """All sinks of a project, its own two among them."""
    rows = dict(call.world.table("logging.sinks").under(f"projects/{call.project_id}/sinks/"))
    own = [row for name, row in _own_sinks(call).items() if f"projects/{call.project_id}/sinks/{name}" not in rows]
    return call.page([*rows.values(), *own], "sinks", 100)


@method("logging.projects.sinks.update", permission="logging.sinks.update")
@method("logging.projects.sinks.patch", permission="logging.sinks.update")
def update_sink(call: Call) -> Json:
    """Change a sink: the fields of the mask, or without one where it goes, what, and whether from below too."""
    key, row = _sink(call)
    mask = [field for field in str(call.params.get("updateMask") or "").split(",") if field]
    row |= {field: call.body.get(field) for field in mask or _UNMASKED}
    if not row["destination"]:
        raise errors.invalid("Sink destination is empty.")
    row |= {"writerIdentity": _writer(call, row, row.get("writerIdentity", "")), "updateTime": call.world.timestamp(9)}
    call.world.table("logging.sinks")[key] = _said(row)
    return _said(row)


@method("logging.projects.sinks.delete", permission="logging.sinks.delete")
def delete_sink(call: Call) -> Json:
    """Remove a sink."""
    key, row = _sink(call)
    if row["name"] in _OWN:
        raise errors.invalid(f"Sink {row['name']} cannot be deleted")
    del call.world.table("logging.sinks")[key]
    return {}


# -- metrics
def _metric(call: Call) -> tuple[str, Json]:
    key = _key(call, "metricName", "metrics")
    row = call.world.table("logging.metrics").get(key)
    if row is None:
        raise errors.not_found(f"Metric {key.rsplit('/', 1)[-1]} does not exist.")
    return key, row


def _described(call: Call, sent: Json, name: str) -> Json:
    """A metric with the descriptor that Logging derives from it: name and type are Logging's own."""
    given = sent.get("metricDescriptor") or {}
    kind = f"logging.googleapis.com/user/{name}"
    descriptor: Json = {key: given[key] for key in ("displayName", "unit") if given.get(key)}
    descriptor |= {
        "name": f"projects/{call.project_id}/metricDescriptors/{kind}",
        "type": kind,
        "metricKind": given.get("metricKind", "DELTA"),
        "valueType": given.get("valueType", "INT64"),
    }
    if sent.get("description"):
        descriptor["description"] = sent["description"]
    if not given:
        descriptor["unit"] = "1"
    labels = [{k: v for k, v in label.items() if v != "STRING"} for label in given.get("labels") or []]
    if labels:
        descriptor["labels"] = labels
    return {k: v for k, v in sent.items() if v} | {
        "name": name,
        "metricDescriptor": descriptor,
        "resourceName": f"projects/{call.project_id}/metrics/{name}",
    }


@method("logging.projects.metrics.create", permission="logging.logMetrics.create")
def create_metric(call: Call) -> Json:
    """Count what fits a filter."""
    name = str(call.body.get("name") or "")
    key = f"projects/{call.project_id}/metrics/{name}"
    if key in call.world.table("logging.metrics"):
        raise errors.already_exists(f"Metric {name} already exists.")
    now = call.world.timestamp(9)
    row = _described(call, call.body, name) | {"createTime": now, "updateTime": now}
    call.world.table("logging.metrics")[key] = row
    return row


@method("logging.projects.metrics.get", permission="logging.logMetrics.get")
def get_metric(call: Call) -> Json:
    """One metric."""
    return _metric(call)[1]


@method("logging.projects.metrics.list", permission="logging.logMetrics.list")
def list_metrics(call: Call) -> Json:
    """All metrics of a project."""
    rows = [row for _, row in call.world.table("logging.metrics").under(f"projects/{call.project_id}/metrics/")]
    return call.page(rows, "metrics", 100)


@method("logging.projects.metrics.update", permission="logging.logMetrics.update")
def update_metric(call: Call) -> Json:
    """Replace a metric, or make it when it is not there."""
    key = _key(call, "metricName", "metrics")
    old = call.world.table("logging.metrics").get(key)
    now = call.world.timestamp(9)
    row = _described(call, call.body, key.rsplit("/", 1)[-1])
    row |= {"createTime": old["createTime"] if old else now, "updateTime": now}
    call.world.table("logging.metrics")[key] = row
    return row


@method("logging.projects.metrics.delete", permission="logging.logMetrics.delete")
def delete_metric(call: Call) -> Json:
    """Remove a metric."""
    del call.world.table("logging.metrics")[_metric(call)[0]]
    return {}
