"""The service connection of a network, with the producer's long memory."""

from typing import Any

import pytest
from googleapiclient.errors import HttpError

from tests.conftest import NUMBER, PROJECT
from tests.emulator.test_compute import done, make_network, make_range

SERVICE = "services/servicenetworking.googleapis.com"
NETWORK = f"projects/{NUMBER}/global/networks/vpc"
CONNECTION = f"{SERVICE}/connections/servicenetworking-googleapis-com"
STILL_USED = "Producer services (e.g. CloudSQL, Cloud Memstore, etc.) are still using this connection."


@pytest.fixture
def compute(google):
    made = google.discovery("compute", "v1")
    make_network(made)
    make_range(made)
    return made


@pytest.fixture
def networking(google, compute):
    return google.discovery("servicenetworking", "v1")


def ended(networking: Any, operation: dict[str, Any]) -> dict[str, Any]:
    return networking.operations().get(name=operation["name"]).execute()


def connect(networking: Any, *ranges: str) -> dict[str, Any]:
    body = {"network": NETWORK, "reservedPeeringRanges": list(ranges or ["range"])}
    return ended(networking, networking.services().connections().create(parent=SERVICE, body=body).execute())


def patch(networking: Any, *ranges: str, force: bool = False) -> dict[str, Any]:
    body = {"network": NETWORK, "reservedPeeringRanges": list(ranges)}
    call = (
        networking.services()
        .connections()
        .patch(name=f"{SERVICE}/connections/-", body=body, updateMask="reservedPeeringRanges", force=force)
    )
    return ended(networking, call.execute())


def connections(networking: Any) -> list[dict[str, Any]]:
    answer = networking.services().connections().list(parent=SERVICE, network=NETWORK).execute()
    return answer.get("connections", [])


def disconnect(networking: Any) -> dict[str, Any]:
    call = networking.services().connections().deleteConnection(name=CONNECTION, body={"consumerNetwork": NETWORK})
    return ended(networking, call.execute())


def test_connecting_peers_the_network(compute, networking):
    """The response is the connection without its service; the network shows the peering."""
    answer = connect(networking)
    network = compute.networks().get(project=PROJECT, network="vpc").execute()

    assert answer["response"]["reservedPeeringRanges"] == ["range"]
    assert "service" not in answer["response"]
    assert connections(networking)[0]["service"] == SERVICE
    assert network["peerings"][0]["name"] == "servicenetworking-googleapis-com"
    assert network["peerings"][0]["state"] == "ACTIVE"


def test_the_first_answer_is_a_name_and_nothing_else(networking):
    """There is no metadata, and the project's number is in the name."""
    body = {"network": NETWORK, "reservedPeeringRanges": ["range"]}
    first = networking.services().connections().create(parent=SERVICE, body=body).execute()

    assert set(first) == {"name"}
    assert first["name"].startswith(f"operations/pssn.p24-{NUMBER}-")


def test_other_ranges_are_not_taken_by_a_second_create(compute, networking):
    """It fails with code 9 and asks for an update, which takes both."""
    make_range(compute, "second")
    connect(networking)
    again = connect(networking, "second")

    assert again["error"]["code"] == 9
    assert again["error"]["message"].startswith("Cannot modify allocated ranges in CreateConnection.")
    assert patch(networking, "range", "second")["response"]["reservedPeeringRanges"] == ["range", "second"]


def test_ranges_are_only_dropped_by_force(compute, networking):
    """A patch without force that would drop one fails."""
    make_range(compute, "second")
    connect(networking, "range", "second")

    assert patch(networking, "range")["error"]["code"] == 9
    assert patch(networking, "range", force=True)["response"]["reservedPeeringRanges"] == ["range"]


def test_patching_connects_a_network_that_is_not(networking):
    """A patch by force is the upsert that other tools use."""
    patch(networking, "range", force=True)

    assert connections(networking)[0]["reservedPeeringRanges"] == ["range"]


def test_the_producer_remembers_a_peering_that_was_removed(compute, networking):
    """Also under a network made anew by the same name: create fails, the patch by force repairs it."""
    connect(networking)
    body = {"name": "servicenetworking-googleapis-com"}
    done(compute, compute.networks().removePeering(project=PROJECT, network="vpc", body=body).execute())

    assert connections(networking) == []
    done(compute, compute.globalAddresses().delete(project=PROJECT, address="range").execute())
    done(compute, compute.networks().delete(project=PROJECT, network="vpc").execute())
    make_network(compute)
    make_range(compute)
    assert connect(networking)["error"]["code"] == 9
    assert "error" not in patch(networking, "range", force=True)
    assert len(connections(networking)) == 1


def test_a_clean_disconnect_is_forgotten(compute, networking):
    """Then peering and memory are gone, and a new create succeeds."""
    connect(networking)

    assert disconnect(networking)["response"]["@type"].endswith("google.protobuf.Empty")
    assert "peerings" not in compute.networks().get(project=PROJECT, network="vpc").execute()
    assert "error" not in connect(networking)


def test_a_network_with_a_peering_cannot_be_deleted(compute, networking):
    """The peering counts as a user of the network."""
    connect(networking)
    done(compute, compute.globalAddresses().delete(project=PROJECT, address="range").execute())
    ended_delete = done(compute, compute.networks().delete(project=PROJECT, network="vpc").execute())

    assert ended_delete["error"]["errors"][0]["code"] == "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"


def test_a_connection_in_use_is_kept(google, networking):
    """As long as a database has an address in it, deleteConnection fails with code 9."""
    connect(networking)
    sql = google.discovery("sqladmin", "v1")
    settings = {
        "tier": "db-f1-micro",
        "edition": "ENTERPRISE",
        "ipConfiguration": {"ipv4Enabled": False, "privateNetwork": f"projects/{PROJECT}/global/networks/vpc"},
    }
    body = {"name": "db", "region": "europe-west1", "databaseVersion": "POSTGRES_18", "settings": settings}
    sql.instances().insert(project=PROJECT, body=body).execute()
    refused = disconnect(networking)

    assert refused["error"]["code"] == 9
    assert STILL_USED in refused["error"]["message"]
    sql.instances().delete(project=PROJECT, instance="db").execute()
    assert "error" not in disconnect(networking)


def test_on_googles_time_a_connection_stays_in_use_for_hours(emulator, google, networking):
    """The producer lets go of it long after its last database is gone."""
    connect(networking)
    sql = google.discovery("sqladmin", "v1")
    ip = {"ipv4Enabled": False, "privateNetwork": f"projects/{PROJECT}/global/networks/vpc"}
    settings = {"tier": "db-f1-micro", "edition": "ENTERPRISE", "ipConfiguration": ip}
    body = {"name": "db", "region": "europe-west1", "databaseVersion": "POSTGRES_18", "settings": settings}
    sql.instances().insert(project=PROJECT, body=body).execute()
    emulator.world.profile = "google"
    try:
        sql.instances().delete(project=PROJECT, instance="db").execute()
        emulator.world.clock.ahead += 600
        call = networking.services().connections().deleteConnection(name=CONNECTION, body={"consumerNetwork": NETWORK})
        first = call.execute()
        emulator.world.clock.ahead += 60

        assert STILL_USED in ended(networking, first)["error"]["message"]
        emulator.world.clock.ahead += 5 * 3600
        second = call.execute()
        emulator.world.clock.ahead += 60
        assert "error" not in ended(networking, second)
    finally:
        emulator.world.profile = "instant"


def test_one_peering_operation_of_a_network_at_a_time(emulator, networking):
    """A second one is refused until the first has ended."""
    emulator.world.profile = "google"
    body = {"network": NETWORK, "reservedPeeringRanges": ["range"]}
    try:
        networking.services().connections().create(parent=SERVICE, body=body).execute()
        with pytest.raises(HttpError, match="There is a peering operation in progress"):
            networking.services().connections().create(parent=SERVICE, body=body).execute()
    finally:
        emulator.world.profile = "instant"


def test_a_network_that_is_not_there_cannot_be_connected(networking):
    """The error names it."""
    body = {"network": f"projects/{NUMBER}/global/networks/nope", "reservedPeeringRanges": ["range"]}
    with pytest.raises(HttpError, match="networks/nope was not found"):
        networking.services().connections().create(parent=SERVICE, body=body).execute()
