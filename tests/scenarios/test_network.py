"""Compute Engine and Service Networking: what is not ready, still in use, remembered, or made by Google itself."""

import uuid

import pytest

from provision.errors import OperationFailed
from tests.journey.deploy import PROJECT

NETWORK = f"projects/{PROJECT}/global/networks/mlflow"
CONNECT, DISCONNECT = (
    "servicenetworking.services.connections.patch",
    "servicenetworking.services.connections.deleteConnection",
)
REMOVE_PEERING, DELETE_NETWORK = "compute.networks.removePeering", "compute.networks.delete"
FIREWALLS = "compute.firewalls"
DAYS = 4 * 24 * 3600


def test_09_google_remembers_an_older_connection(rehearsal, calm):
    """The connection is patched by force, never created, so what the other side remembers does not matter."""
    rehearsal.plays("connection-remembered")
    waited = rehearsal.up()

    assert waited < calm + 5
    assert rehearsal.called("servicenetworking.services.connections.create") == []
    assert rehearsal.called(CONNECT) == [200]
    assert rehearsal.deployment.drift() == []


def test_09_googles_agent_has_its_role_only_later(rehearsal, calm):
    """It is woken before it is granted its role, and then the connection is tried again until that has spread."""
    rehearsal.plays("network-agent-new", seconds=240)
    waited = rehearsal.up()

    assert 200 <= waited < calm + 1.6 * 240 + 3
    assert rehearsal.called("serviceusage.services.generateServiceIdentity") == [200]
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_09_googles_agent_never_gets_its_right(rehearsal, calm):
    """Patience ends as long after our grant as grants take, and the error is Google's."""
    rehearsal.plays("network-agent-new", seconds=DAYS)
    since = rehearsal.place.clock.monotonic()
    with pytest.raises(OperationFailed, match=r"Required 'compute\.globalAddresses\.list' permission"):
        rehearsal.up()

    assert 420 <= rehearsal.place.clock.monotonic() - since < calm + 660


def test_09_producers_still_use_the_connection_for_a_minute(rehearsal):
    """The polite way is tried for a while."""
    rehearsal.up()
    rehearsal.plays("connection-lingers", seconds=60)
    waited = rehearsal.down()

    assert waited < 1.6 * 60 + 30
    assert rehearsal.called(REMOVE_PEERING) == []
    assert rehearsal.bare_retries() == []
    assert rehearsal.table("compute.networks") == {}


def test_09_producers_still_use_the_connection_for_days(rehearsal):
    """No database is there any more, for certain: our side of the peering is removed, then range and network."""
    rehearsal.up()
    rehearsal.plays("connection-lingers", seconds=DAYS)
    waited = rehearsal.down()
    order = [call["id"] for call in rehearsal.calls.all() if call["write"]]

    assert 120 <= waited < 120 + 40
    assert rehearsal.called(REMOVE_PEERING) == [200]
    assert order.index("sql.instances.delete") < order.index(DISCONNECT) < order.index(REMOVE_PEERING)
    assert order.index(REMOVE_PEERING) < order.index("compute.globalAddresses.delete") < order.index(DELETE_NETWORK)
    assert rehearsal.bare_retries() == []
    assert (rehearsal.table("compute.networks"), rehearsal.waits) == ({}, {})
    rehearsal.over()
    rehearsal.up()  # under the same name: the other side still knows the old connection
    assert rehearsal.deployment.drift() == []


def test_09_not_even_the_network_goes_before_google_lets_go(rehearsal):
    """All the rest is gone; the same command again finishes it, or this one with `--wait`."""
    rehearsal.up()
    rehearsal.plays("connection-lingers", seconds=3600, network=1)
    waited = rehearsal.down()
    waits, left = rehearsal.waits, rehearsal.table("compute.networks")
    rehearsal.down(wait=7200)

    assert waited < 120 + 40
    assert list(waits) == list(left) == [NETWORK]
    assert "already being used" in waits[NETWORK]
    assert rehearsal.table("compute.networks") == {}


def test_09_somebody_elses_database_uses_the_connection(rehearsal):
    """It is not cut off, and Google is not even asked to."""
    rehearsal.up()
    settings = {"tier": "db-f1-micro", "edition": "ENTERPRISE"}
    private = {"ipv4Enabled": False, "privateNetwork": NETWORK}
    body = {"name": "theirs", "databaseVersion": "POSTGRES_16", "settings": settings | {"ipConfiguration": private}}
    rehearsal.deployment.gcp.sql.instances().insert(project=PROJECT, body=body).execute()
    rehearsal.place.clock.sleep(1)
    rehearsal.down()
    waits = rehearsal.waits

    assert any("theirs in this project still uses the connection" in why for why in waits.values())
    assert rehearsal.called(DISCONNECT) == rehearsal.called(REMOVE_PEERING) == []
    assert list(rehearsal.table("sql.instances")) == [f"projects/{PROJECT}/instances/theirs"]


def test_10_a_network_that_is_not_ready(rehearsal, calm):
    """What lies in it is made once it is."""
    rehearsal.plays("network-not-ready", seconds=300)
    waited = rehearsal.up()

    assert 300 <= waited < calm + 300 + 20
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []


def test_10_a_peering_operation_is_in_progress(rehearsal, calm):
    """Of somebody else: when the network is connected, and when it is disconnected."""
    rehearsal.plays("peering-busy", seconds=200)
    waited = rehearsal.up()
    down = rehearsal.down()

    assert 200 <= waited < calm + 200 + 20
    assert 200 <= down < 200 + 30
    assert rehearsal.bare_retries() == []
    assert rehearsal.table("compute.networks") == {}


def test_10_a_subnet_is_still_in_use(rehearsal):
    """App Engine's machines go a little later than their version."""
    rehearsal.up()
    rehearsal.plays("subnet-in-use", seconds=200)
    waited = rehearsal.down()

    assert 200 <= waited < 200 + 30
    assert (rehearsal.table("compute.networks"), rehearsal.waits) == ({}, {})


def test_10_a_subnet_stays_in_use(rehearsal):
    """Patience ends, and the same command again finishes it."""
    rehearsal.up()
    rehearsal.plays("subnet-in-use", seconds=3600)
    waited = rehearsal.down()
    waits = rehearsal.waits
    rehearsal.over()
    rehearsal.down()

    assert waited < 300 + 60
    assert any("is already being used by" in why for why in waits.values())
    assert (rehearsal.table("compute.networks"), rehearsal.waits) == ({}, {})


def test_10_a_firewall_rule_that_app_engine_has_made(rehearsal, calm):
    """In our own network it is no drift, and goes with the network."""
    rehearsal.plays("firewall-made-by-google")
    waited = rehearsal.up()
    made, drift = rehearsal.table(FIREWALLS), rehearsal.deployment.drift()
    rehearsal.down()

    assert waited < calm + 5
    assert (len(made), drift) == (1, [])
    assert (rehearsal.table(FIREWALLS), rehearsal.table("compute.networks")) == ({}, {})


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"rule": "aef-of-eve", "tag": "her-machines"}, id="named like one of App Engine's"),
        pytest.param({"rule": "of-eve", "tag": "aef-mlflow-5c2d"}, id="about App Engine's machines"),
    ],
)
def test_10_a_firewall_rule_that_somebody_has_made(rehearsal, rule):
    """It is named, and stays; the network goes once it is gone."""
    rehearsal.plays("firewall-made-by-google", **rule)
    rehearsal.up()
    rehearsal.down()
    told, kept = rehearsal.waits[NETWORK], list(rehearsal.table(FIREWALLS))
    rehearsal.deployment.gcp.compute.firewalls().delete(project=PROJECT, firewall=rule["rule"]).execute()
    rehearsal.place.clock.sleep(1)
    rehearsal.down()

    assert f"Somebody has made firewall rules in the network {NETWORK}: {rule['rule']}." in told
    assert kept == [f"projects/{PROJECT}/global/firewalls/{rule['rule']}"]
    assert rehearsal.table("compute.networks") == {}


def test_10_every_change_of_compute_says_which_request_it_is(rehearsal):
    """An id of its own, which is not zero."""
    rehearsal.plays("firewall-made-by-google")
    rehearsal.up()
    compute = rehearsal.deployment.gcp.compute
    routing = {"routingConfig": {"routingMode": "GLOBAL"}}
    compute.networks().patch(project=PROJECT, network="mlflow", body=routing, requestId=str(uuid.uuid4())).execute()
    where = {"project": PROJECT, "region": "europe-west1", "subnetwork": "mlflow", "requestId": str(uuid.uuid4())}
    compute.subnetworks().setPrivateIpGoogleAccess(**where, body={"privateIpGoogleAccess": False}).execute()
    rehearsal.place.clock.sleep(1)
    rehearsal.up()
    rehearsal.plays("connection-lingers", seconds=DAYS)
    rehearsal.down()
    changes = [call["id"] for call in rehearsal.calls.all() if call["write"] and call["id"].startswith("compute.")]
    ids = [key.partition("/")[2] for key in rehearsal.table("compute.requests")]

    assert set(changes) == {
        "compute.firewalls.delete", "compute.globalAddresses.delete", "compute.globalAddresses.insert",
        "compute.networks.delete", "compute.networks.insert", "compute.networks.patch",
        "compute.networks.removePeering", "compute.subnetworks.delete", "compute.subnetworks.insert",
        "compute.subnetworks.setPrivateIpGoogleAccess",
    }  # fmt: skip
    assert len(ids) == len(changes)
    assert all(uuid.UUID(said).int for said in ids)


def test_10_a_request_is_written_down_before_it_is_made_and_repeated_as_the_same(rehearsal):
    """By the next run too: the one before died, and cannot know whether Google has heard it."""
    insert = {"method": "compute.networks.insert", "status": 503, "times": 1000}
    rehearsal.place.control.faults.order([insert])
    rehearsal.killed(after=20)
    rehearsal.place.control.faults.clear()
    pending = rehearsal.deployment.ledger().records[NETWORK].pending
    rehearsal.up()
    known = rehearsal.table("compute.requests")

    assert uuid.UUID(pending.request).int
    assert f"{PROJECT}/{pending.request}" in known
    assert rehearsal.deployment.drift() == []


def test_10_an_answer_is_lost_and_the_network_does_not_show_yet(rehearsal, calm):
    """Asked again by the same id, Google names the operation that it began, where else it would say 409."""
    rehearsal.plays("network-shows-late", times=1)
    rehearsal.place.control.faults.order([{"method": "compute.networks.insert", "when": "after", "drop": True}])
    waited = rehearsal.up()

    assert waited < calm + 5
    assert rehearsal.called("compute.networks.insert") == [0, 200]
    assert rehearsal.deployment.drift() == []
