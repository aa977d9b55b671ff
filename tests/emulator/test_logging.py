"""Sinks and metrics of Cloud Logging, through the discovery client."""

import json
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from tests.conftest import NUMBER, PROJECT

PARENT = f"projects/{PROJECT}"
SHARED = "serviceAccount:cloud-logs@system.gserviceaccount.com"
OWN = f"serviceAccount:service-{NUMBER}@gcp-sa-logging.iam.gserviceaccount.com"


@pytest.fixture
def sinks(google):
    return google.discovery("logging", "v2").projects().sinks()


@pytest.fixture
def metrics(google):
    return google.discovery("logging", "v2").projects().metrics()


def make(sinks: Any, *, unique: bool = False, **body: Any) -> dict[str, Any]:
    sink = {"name": "sink", "destination": "storage.googleapis.com/logs"} | body
    return sinks.create(parent=PARENT, body=sink, uniqueWriterIdentity=unique).execute()


@pytest.mark.source("https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks/create")
def test_a_sink_writes_as_the_account_that_all_share_until_one_of_its_own_is_asked_for(sinks):
    """Then it keeps it; into a bucket of its own project it writes as nobody."""
    first = make(sinks)
    name = f"{PARENT}/sinks/sink"
    asked = sinks.update(sinkName=name, body=first, uniqueWriterIdentity=True).execute()
    after = sinks.update(sinkName=name, body=first).execute()
    inside = make(
        sinks, name="inside", destination=f"logging.googleapis.com/{PARENT}/locations/global/buckets/_Default"
    )

    assert [row.get("writerIdentity") for row in (first, asked, after, inside)] == [SHARED, OWN, OWN, None]


@pytest.mark.source("https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks/update")
def test_a_sink_without_a_mask_takes_destination_filter_and_children_only(sinks):
    """A filter that is left out is gone, a description stays; with a mask it is what the mask names."""
    make(sinks, filter="severity>=ERROR", description="errors", disabled=True)
    name = f"{PARENT}/sinks/sink"
    moved = {"name": "sink", "destination": "storage.googleapis.com/other"}

    bare = sinks.update(sinkName=name, body=moved).execute()
    masked = sinks.patch(sinkName=name, body={"filter": "x"}, updateMask="filter,disabled").execute()

    assert (bare["destination"], bare.get("filter"), bare["description"]) == (moved["destination"], None, "errors")
    assert (masked["filter"], masked.get("disabled"), masked["destination"]) == ("x", None, moved["destination"])


@pytest.mark.source("https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks")
def test_a_sink_into_bigquery_partitions_by_the_timestamp_and_says_nothing_that_is_off(sinks):
    """Every new sink with partitioned tables does."""
    row = make(
        sinks,
        destination="bigquery.googleapis.com/projects/p/datasets/d",
        bigqueryOptions={"usePartitionedTables": True},
        includeChildren=False,
        disabled=False,
    )

    assert row["bigqueryOptions"] == {"usePartitionedTables": True, "usesTimestampColumnPartitioning": True}
    assert row.keys().isdisjoint({"includeChildren", "disabled"})


@pytest.mark.source("https://cloud.google.com/logging/docs/routing/overview")
def test_a_project_has_two_sinks_of_its_own(sinks):
    """What must be kept goes to one, the rest to the other; they are read like any other, and stay."""
    required, default = (sinks.get(sinkName=f"{PARENT}/sinks/{name}").execute() for name in ("_Required", "_Default"))

    assert required["filter"].startswith('LOG_ID("cloudaudit.googleapis.com/activity") OR LOG_ID("externalaudit')
    assert default["filter"].startswith('NOT LOG_ID("cloudaudit.googleapis.com/activity") AND NOT LOG_ID(')
    with pytest.raises(HttpError) as caught:
        sinks.delete(sinkName=f"{PARENT}/sinks/_Required").execute()
    assert json.loads(caught.value.content)["error"]["status"] == "INVALID_ARGUMENT"
    assert [row["name"] for row in sinks.list(parent=PARENT).execute()["sinks"]] == ["_Required", "_Default"]


@pytest.mark.source("https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.metrics")
def test_a_metric_without_a_descriptor_counts_ones(metrics):
    """One that brings its descriptor has the unit of that, or none."""
    counted = metrics.create(parent=PARENT, body={"name": "count", "filter": "x"}).execute()
    descriptor = {"metricKind": "DELTA", "valueType": "DISTRIBUTION"}
    body = {"name": "spread", "filter": "x", "valueExtractor": "EXTRACT(y)", "metricDescriptor": descriptor}
    spread = metrics.create(parent=PARENT, body=body).execute()

    assert counted["metricDescriptor"]["unit"] == "1"
    assert "unit" not in spread["metricDescriptor"]
