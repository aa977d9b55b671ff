"""A network that was there before us: used, never changed beyond our range, and left as it was."""

import pytest

from provision import operations
from provision.errors import NetworkNotUsable, StillInUse
from steps import PLAN, _connections, subnet
from tests.conftest import NUMBER, PROJECT
from tests.steps.deployments import deployment

EXISTING = {"network": {"name": "corporate", "subnet": "data"}}
ROWS = ("service_accounts", "project_roles", "network", "subnet", "peering_range", "peering", "sql_instance")


def wait(bench, service, request):
    bench.wait(operations.started(service, request.execute()))


@pytest.fixture
def bench(bench_for):
    """A bench for a deployment into the network `corporate`, which is there already."""
    bench = bench_for(**EXISTING)
    network = {"name": "corporate", "autoCreateSubnetworks": False}
    wait(bench, "compute", bench.gcp.compute.networks().insert(project=PROJECT, body=network))
    subnet = {"name": "data", "ipCidrRange": "10.1.0.0/20", "network": f"projects/{PROJECT}/global/networks/corporate"}
    subnets = bench.gcp.compute.subnetworks()
    wait(bench, "compute", subnets.insert(project=PROJECT, region="europe-west1", body=subnet))
    return bench


def switch_on_access(bench):
    """Private Google Access, on the subnet that is there."""
    where = {"project": PROJECT, "region": "europe-west1", "subnetwork": "data"}
    asked = bench.gcp.compute.subnetworks().setPrivateIpGoogleAccess(**where, body={"privateIpGoogleAccess": True})
    wait(bench, "compute", asked)


def test_a_network_that_can_be_used(bench):
    """Nothing is said of it, nor where none is named."""
    switch_on_access(bench)
    subnet.must_be_usable(bench.gcp, bench.deployment.config)
    subnet.must_be_usable(bench.gcp, deployment().config)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"name": "corporat"}, "project test-project-1 has no network of this name", id="no such network"),
        pytest.param({"subnet": "date"}, "in europe-west1; it has: data in europe-west1$", id="no such subnet"),
        pytest.param({"region": "us-east1"}, "in us-east1; it has: data in europe-west1$", id="another region"),
        pytest.param({"name": "empty"}, "network empty has no subnet .* it has: none$", id="of another network"),
        pytest.param({}, "no Private Google Access", id="no way to Google's APIs"),
    ],
)
def test_a_network_that_cannot_be_used(bench, settings, says):
    """Told with what there is, so that a wrong letter is seen."""
    body = {"name": "empty", "autoCreateSubnetworks": False}
    wait(bench, "compute", bench.gcp.compute.networks().insert(project=PROJECT, body=body))
    region = {"region": settings["region"]} if "region" in settings else {}
    network = EXISTING["network"] | {key: value for key, value in settings.items() if key != "region"}
    with pytest.raises(NetworkNotUsable, match=says):
        subnet.must_be_usable(bench.gcp, deployment(network=network, **region).config)


def connect(bench, *ranges):
    """Somebody else's connection, with ranges of theirs."""
    network = f"projects/{NUMBER}/global/networks/corporate"
    for name in ranges:
        body = {
            "name": name,
            "purpose": "VPC_PEERING",
            "addressType": "INTERNAL",
            "prefixLength": 20,
            "network": f"projects/{PROJECT}/global/networks/corporate",
        }
        wait(bench, "compute", bench.gcp.compute.globalAddresses().insert(project=PROJECT, body=body))
    calls = bench.gcp.servicenetworking.services().connections()
    body = {"network": network, "reservedPeeringRanges": list(ranges)}
    wait(bench, "servicenetworking", calls.create(parent=_connections.SERVICE, body=body))


def connection(bench):
    """The ranges of the network's connection."""
    calls = bench.gcp.servicenetworking.services().connections()
    network = f"projects/{NUMBER}/global/networks/corporate"
    found = calls.list(parent=_connections.SERVICE, network=network).execute().get("connections", [])
    return [set(item["reservedPeeringRanges"]) for item in found]


def test_our_range_joins_a_connection_and_leaves_it(bench):
    """Others' ranges are there before, while and after we use the connection."""
    connect(bench, "theirs", "more")
    bench.up(PLAN, *ROWS)
    joined = connection(bench)
    drift = list(bench.drift())
    bench.deployment = None
    bench.down(PLAN)

    assert joined == [{"theirs", "more", "mlflow-services"}]
    assert drift == []
    assert connection(bench) == [{"theirs", "more"}]
    assert bench.gcp.compute.networks().get(project=PROJECT, network="corporate").execute()["peerings"]


def test_our_range_is_put_back_beside_the_others(bench):
    """Somebody takes it out: that is drift, and mending it touches no other range."""
    connect(bench, "theirs")
    bench.up(PLAN, *ROWS[:-1])
    calls = bench.gcp.servicenetworking.services().connections()
    body = {"network": f"projects/{NUMBER}/global/networks/corporate", "reservedPeeringRanges": ["theirs"]}
    wait(bench, "servicenetworking", calls.patch(name=f"{_connections.SERVICE}/connections/-", force=True, body=body))
    seen = [name for name, _ in bench.drift()]
    bench.up(PLAN, "peering")

    assert seen == ["peering"]
    assert connection(bench) == [{"theirs", "mlflow-services"}]


def test_a_network_without_a_connection_gets_one(bench):
    """Then ours is its only range."""
    bench.up(PLAN, *ROWS)

    assert connection(bench) == [{"mlflow-services"}]


def test_a_connection_of_our_network_that_google_holds_on_to(bench_for, emulator):
    """For hours after our database is gone Google refuses to delete it: then our side of the peering is removed."""
    bench = bench_for()
    bench.up(PLAN, *ROWS)
    (instance,), (peering,) = bench.refs("sql_instance"), bench.refs("peering")
    bench.remove(instance)
    network = f"projects/{NUMBER}/global/networks/mlflow"
    (known,) = (key for key in emulator.world.table("servicenetworking.connections") if key.endswith("/mlflow"))
    emulator.world.table("servicenetworking.released")[known] = {"until": "9999-12-31T23:59:59+00:00"}
    bench.remove(peering)
    found = bench.gcp.compute.networks().get(project=PROJECT, network="mlflow").execute()
    bench.up(PLAN, "peering")

    assert peering.startswith(network)
    assert "peerings" not in found
    assert list(bench.drift()) == [(row, change) for row, change in bench.drift() if row == "sql_instance"]


def test_a_database_of_somebody_else_in_our_network_is_not_cut_off(bench_for):
    """It is named, and the connection stays until it is gone."""
    bench = bench_for()
    bench.up(PLAN, *ROWS)
    body = {
        "name": "other",
        "region": "europe-west1",
        "databaseVersion": "POSTGRES_18",
        "settings": {
            "tier": "db-f1-micro",
            "edition": "ENTERPRISE",
            "ipConfiguration": {"ipv4Enabled": False, "privateNetwork": f"projects/{PROJECT}/global/networks/mlflow"},
        },
    }
    wait(bench, "sqladmin", bench.gcp.sql.instances().insert(project=PROJECT, body=body))
    (instance,), (peering,) = bench.refs("sql_instance"), bench.refs("peering")
    bench.remove(instance)
    with pytest.raises(StillInUse, match="other in this project still uses the connection"):
        bench.remove(peering)
    network = bench.gcp.compute.networks().get(project=PROJECT, network="mlflow").execute()

    assert [item["name"] for item in network["peerings"]] == [_connections.PEERING]
