"""VPC networks, subnets, addresses and firewall rules, through the discovery client."""

import ipaddress
import json
import uuid
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from tests.conftest import PROJECT

LINK = "https://www.googleapis.com/compute/v1/"


@pytest.fixture
def compute(google):
    return google.discovery("compute", "v1")


def reason_of(caught: pytest.ExceptionInfo[HttpError]) -> str:
    return json.loads(caught.value.content)["error"]["errors"][0]["reason"]


def done(compute: Any, operation: dict[str, Any]) -> dict[str, Any]:
    """The operation when it has ended, which without machines is the next time one looks."""
    scope = {"project": PROJECT, "operation": operation["name"]}
    if "region" in operation:
        region = operation["region"].rpartition("/")[2]
        return compute.regionOperations().wait(region=region, **scope).execute()
    return compute.globalOperations().wait(**scope).execute()


def make_network(compute: Any, name: str = "vpc", **body: Any) -> dict[str, Any]:
    body = {"name": name, "autoCreateSubnetworks": False} | body
    return done(compute, compute.networks().insert(project=PROJECT, body=body).execute())


def make_subnet(compute: Any, name: str = "sub", cidr: str = "10.8.0.0/22", **body: Any) -> dict[str, Any]:
    body = {"name": name, "ipCidrRange": cidr, "network": "global/networks/vpc"} | body
    return done(compute, compute.subnetworks().insert(project=PROJECT, region="europe-west1", body=body).execute())


def make_range(compute: Any, name: str = "range", **body: Any) -> dict[str, Any]:
    kind = {"purpose": "VPC_PEERING", "addressType": "INTERNAL", "prefixLength": 16, "network": "global/networks/vpc"}
    return done(compute, compute.globalAddresses().insert(project=PROJECT, body={"name": name} | kind | body).execute())


def test_an_operation_runs_first_and_is_done_when_asked_again(compute):
    """The first answer of an insert is RUNNING; it names its target by link and by number."""
    body = {"name": "vpc", "autoCreateSubnetworks": False}
    first = compute.networks().insert(project=PROJECT, body=body).execute()

    assert (first["status"], first["progress"]) == ("RUNNING", 0)
    ended = compute.globalOperations().get(project=PROJECT, operation=first["name"]).execute()
    network = compute.networks().get(project=PROJECT, network="vpc").execute()
    assert (ended["status"], ended["progress"], ended["targetId"]) == ("DONE", 100, network["id"])
    assert ended["targetLink"] == network["selfLink"] == f"{LINK}projects/{PROJECT}/global/networks/vpc"


def test_a_custom_network_has_regional_routing_and_no_subnets(compute):
    """What is not sent is filled in as Google does, and an empty list of subnets is left out."""
    make_network(compute)
    network = compute.networks().get(project=PROJECT, network="vpc").execute()

    assert network["routingConfig"]["routingMode"] == "REGIONAL"
    assert "subnetworks" not in network
    assert "mtu" not in network


def test_an_auto_mode_network_has_a_subnet_in_every_region(compute):
    """Each is named like the network and has the documented range."""
    make_network(compute, autoCreateSubnetworks=True)
    subnet = compute.subnetworks().get(project=PROJECT, region="europe-west1", subnetwork="vpc").execute()

    assert subnet["ipCidrRange"] == "10.132.0.0/20"
    assert len(compute.networks().get(project=PROJECT, network="vpc").execute()["subnetworks"]) > 40


def test_leaving_out_auto_create_subnetworks_makes_a_legacy_network(compute):
    """Nothing can be put into it, which is why callers must say false."""
    body = {"name": "vpc"}
    done(compute, compute.networks().insert(project=PROJECT, body=body).execute())

    assert "IPv4Range" in compute.networks().get(project=PROJECT, network="vpc").execute()
    with pytest.raises(HttpError, match="legacy network"):
        make_subnet(compute)


@pytest.mark.source("https://compute.googleapis.com/$discovery/rest?version=v1")
def test_the_same_request_id_answers_the_same_operation(compute):
    """A caller who lost the answer may send the call again; without the id it is told that the network exists."""
    body, request_id = {"name": "vpc", "autoCreateSubnetworks": False}, str(uuid.uuid4())
    networks = compute.networks()
    first = networks.insert(project=PROJECT, body=body, requestId=request_id).execute()
    again = networks.insert(project=PROJECT, body=body, requestId=request_id).execute()

    assert again["name"] == first["name"]
    with pytest.raises(HttpError) as caught:
        networks.insert(project=PROJECT, body=body).execute()
    assert (caught.value.status_code, reason_of(caught)) == (409, "alreadyExists")


def test_a_network_is_not_ready_while_it_is_being_made(emulator, compute):
    """On Google's own time, what needs the network is refused until its operation is done."""
    emulator.world.profile = "google"
    try:
        compute.networks().insert(project=PROJECT, body={"name": "vpc", "autoCreateSubnetworks": False}).execute()
        with pytest.raises(HttpError) as caught:
            make_subnet(compute)

        assert reason_of(caught) == "resourceNotReady"
        emulator.world.clock.ahead += 60
        assert make_subnet(compute)["operationType"] == "insert"
    finally:
        emulator.world.profile = "instant"


@pytest.mark.parametrize(
    "blocker",
    [
        pytest.param("subnet", id="a subnet is in it"),
        pytest.param("firewall", id="a firewall rule is on it"),
        pytest.param("range", id="a range of it is reserved"),
    ],
)
def test_deleting_a_network_in_use_is_accepted_and_then_fails(compute, blocker):
    """The call answers 200; only its operation says what still uses the network."""
    make_network(compute)
    if blocker == "subnet":
        make_subnet(compute)
    elif blocker == "range":
        make_range(compute)
    else:
        rule = {"name": "rule", "network": "global/networks/vpc", "allowed": [{"IPProtocol": "tcp"}]}
        compute.firewalls().insert(project=PROJECT, body=rule).execute()
    ended = done(compute, compute.networks().delete(project=PROJECT, network="vpc").execute())

    assert ended["error"]["errors"][0]["code"] == "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"
    assert ended["httpErrorStatusCode"] == 400
    assert compute.networks().get(project=PROJECT, network="vpc").execute()["name"] == "vpc"


def test_everything_goes_in_the_documented_order(compute):
    """Address, subnet, then the network; afterwards nothing is found."""
    make_network(compute)
    make_subnet(compute)
    make_range(compute)
    done(compute, compute.globalAddresses().delete(project=PROJECT, address="range").execute())
    subnets = compute.subnetworks()
    done(compute, subnets.delete(project=PROJECT, region="europe-west1", subnetwork="sub").execute())
    ended = done(compute, compute.networks().delete(project=PROJECT, network="vpc").execute())

    assert "error" not in ended
    with pytest.raises(HttpError, match=f"The resource 'projects/{PROJECT}/global/networks/vpc' was not found"):
        compute.networks().get(project=PROJECT, network="vpc").execute()
    assert "items" not in compute.networks().list(project=PROJECT).execute()


def test_ranges_of_subnets_never_overlap(compute):
    """Nor do they overlap with ranges reserved for peering."""
    make_network(compute)
    make_subnet(compute)
    make_range(compute, address="10.20.0.0")

    with pytest.raises(HttpError, match="conflicts with existing subnetwork 'sub' in region 'europe-west1'"):
        make_subnet(compute, "other", "10.8.1.0/24")
    with pytest.raises(HttpError, match="conflicts with reserved IP range"):
        make_subnet(compute, "other", "10.20.1.0/24")


@pytest.mark.source(
    "https://github.com/hashicorp/terraform-provider-google/blob/main/google/transport/error_retry_predicates.go"
)
def test_a_subnet_is_changed_under_its_fingerprint(compute):
    """Without one the call is refused, with an old one too; the new one differs."""
    make_network(compute)
    make_subnet(compute)
    names = {"project": PROJECT, "region": "europe-west1", "subnetwork": "sub"}
    before = compute.subnetworks().get(**names).execute()
    change = {"privateIpGoogleAccess": True}

    with pytest.raises(HttpError) as caught:
        compute.subnetworks().patch(body=change, **names).execute()
    assert reason_of(caught) == "required"
    done(compute, compute.subnetworks().patch(body=change | {"fingerprint": before["fingerprint"]}, **names).execute())
    assert compute.subnetworks().get(**names).execute()["privateIpGoogleAccess"] is True
    with pytest.raises(HttpError) as caught:
        compute.subnetworks().patch(body=change | {"fingerprint": before["fingerprint"]}, **names).execute()
    assert caught.value.status_code == 412


def test_a_reserved_range_is_free_in_its_network_and_takes_labels_afterwards(compute):
    """Labels sent with the insert are dropped; setLabels is done at once and needs the fingerprint."""
    make_network(compute)
    make_range(compute, labels={"a": "b"})
    address = compute.globalAddresses().get(project=PROJECT, address="range").execute()

    assert (address["labelFingerprint"], address["status"]) == ("42WmSpB8rSM=", "RESERVED")
    assert "labels" not in address
    body = {"labels": {"managed-by": "provision"}, "labelFingerprint": address["labelFingerprint"]}
    set_labels = compute.globalAddresses().setLabels(project=PROJECT, resource="range", body=body)
    assert set_labels.execute()["status"] == "DONE"
    labelled = compute.globalAddresses().get(project=PROJECT, address="range").execute()
    assert labelled["labels"] == {"managed-by": "provision"}
    with pytest.raises(HttpError, match="Labels fingerprint either invalid"):
        set_labels.execute()


def test_a_range_for_which_there_is_no_room_is_refused(compute):
    """A subnet holds all addresses that ranges are chosen from."""
    make_network(compute)
    make_subnet(compute, cidr="10.0.0.0/8")
    with pytest.raises(HttpError, match="no free IP address space") as caught:
        make_range(compute)

    assert caught.value.status_code == 400


def test_an_address_in_a_full_subnet_is_refused(compute):
    """The smallest subnet, whose hosts are given away one by one."""
    make_network(compute)
    make_subnet(compute, cidr="10.8.0.0/29")
    where = {"addressType": "INTERNAL", "subnetwork": "regions/europe-west1/subnetworks/sub"}
    inserts = [
        compute.addresses().insert(project=PROJECT, region="europe-west1", body={"name": f"a{number}"} | where)
        for number in range(6)
    ]
    for insert in inserts[:5]:  # of eight addresses one is the gateway's, and two belong to nobody
        insert.execute()
    with pytest.raises(HttpError, match="no free IP address space") as caught:
        inserts[5].execute()

    assert caught.value.status_code == 400


def test_a_range_needs_its_network(compute):
    """The network is named as the one that was not found."""
    with pytest.raises(HttpError, match="global/networks/vpc' was not found"):
        make_range(compute)


def test_lists_are_filtered_and_paged(compute):
    """A filter on a name, and pages of one."""
    make_network(compute, "one")
    make_network(compute, "two")
    networks = compute.networks()

    assert [n["name"] for n in networks.list(project=PROJECT, filter="name=two").execute()["items"]] == ["two"]
    page = networks.list(project=PROJECT, maxResults=1).execute()
    assert [n["name"] for n in page["items"]] == ["one"]
    page = networks.list(project=PROJECT, maxResults=1, pageToken=page["nextPageToken"]).execute()
    assert [n["name"] for n in page["items"]] == ["two"]


def test_firewall_rules_have_defaults_and_change(compute):
    """INGRESS from anywhere at priority 1000, until patched."""
    make_network(compute)
    rule = {"name": "rule", "network": "global/networks/vpc", "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}]}
    done(compute, compute.firewalls().insert(project=PROJECT, body=rule).execute())
    firewalls = compute.firewalls()
    shown = firewalls.get(project=PROJECT, firewall="rule").execute()

    assert (shown["direction"], shown["priority"], shown["sourceRanges"]) == ("INGRESS", 1000, ["0.0.0.0/0"])
    done(compute, firewalls.patch(project=PROJECT, firewall="rule", body={"priority": 5}).execute())
    assert firewalls.get(project=PROJECT, firewall="rule").execute()["priority"] == 5
    done(compute, firewalls.delete(project=PROJECT, firewall="rule").execute())
    assert "items" not in firewalls.list(project=PROJECT).execute()


def test_every_network_has_its_way_to_the_internet(compute):
    """The default route comes with the network, one more with each subnet."""
    make_network(compute)
    make_subnet(compute)
    routes = compute.routes().list(project=PROJECT).execute()["items"]

    assert {(route["destRange"], route["priority"]) for route in routes} == {("0.0.0.0/0", 1000), ("10.8.0.0/22", 0)}
    assert compute.routes().get(project=PROJECT, route=routes[0]["name"]).execute() == routes[0]


def test_quotas_count_what_there_is_and_are_kept(compute):
    """The project tells limit and usage of networks, and refuses one too many."""
    make_network(compute)
    quotas = {q["metric"]: q for q in compute.projects().get(project=PROJECT).execute()["quotas"]}

    assert quotas["NETWORKS"]["usage"] == 1
    for number in range(int(quotas["NETWORKS"]["limit"]) - 1):
        make_network(compute, f"vpc-{number}")
    with pytest.raises(HttpError) as caught:
        make_network(compute, "one-too-many")
    assert (caught.value.status_code, reason_of(caught)) == (403, "quotaExceeded")


def test_regions_have_zones(compute):
    """europe-west1 has no zone a; what is not a region is not found."""
    region = compute.regions().get(project=PROJECT, region="europe-west1").execute()

    assert [zone.rpartition("/")[2] for zone in region["zones"]] == [
        "europe-west1-b",
        "europe-west1-c",
        "europe-west1-d",
    ]
    assert compute.zones().get(project=PROJECT, zone="europe-west1-b").execute()["region"] == region["selfLink"]
    with pytest.raises(HttpError, match="was not found"):
        compute.regions().get(project=PROJECT, region="atlantis").execute()


def test_regional_addresses_live_in_subnets(compute):
    """An internal one gets a free address of its subnet, and keeps the subnet from being deleted."""
    make_network(compute)
    make_subnet(compute)
    scope = {"project": PROJECT, "region": "europe-west1"}
    body = {"name": "ip", "addressType": "INTERNAL", "subnetwork": "regions/europe-west1/subnetworks/sub"}
    done(compute, compute.addresses().insert(body=body, **scope).execute())

    assert compute.addresses().get(address="ip", **scope).execute()["address"] == "10.8.0.2"
    with pytest.raises(HttpError) as caught:
        compute.subnetworks().delete(subnetwork="sub", **scope).execute()
    assert reason_of(caught) == "resourceInUseByAnotherResource"


@pytest.mark.source("https://docs.cloud.google.com/vpc/docs/about-accessing-google-apis-endpoints")
def test_an_address_for_private_service_connect_is_one_address_of_a_network(compute):
    """It has no length; ranges reserved later keep out of its way."""
    make_network(compute)
    make_range(compute, "endpoint", purpose="PRIVATE_SERVICE_CONNECT", address="10.0.0.5")
    make_range(compute, "range")

    endpoint, peering = (
        compute.globalAddresses().get(project=PROJECT, address=name).execute() for name in ("endpoint", "range")
    )

    assert (endpoint["address"], endpoint["purpose"]) == ("10.0.0.5", "PRIVATE_SERVICE_CONNECT")
    assert "prefixLength" not in endpoint
    assert peering["address"] == "10.1.0.0"
    assert [r["destRange"] for r in compute.routes().list(project=PROJECT).execute()["items"]] == ["0.0.0.0/0"]


@pytest.mark.source("https://docs.cloud.google.com/compute/docs/reference/rest/v1/globalAddresses")
def test_an_external_address_is_of_the_version_that_is_asked_for(compute):
    """And says which, when it was asked."""
    for name, body in {"six": {"ipVersion": "IPV6"}, "four": {"ipVersion": "IPV4"}, "any": {}}.items():
        done(compute, compute.globalAddresses().insert(project=PROJECT, body={"name": name} | body).execute())

    rows = compute.globalAddresses().list(project=PROJECT).execute()["items"]

    versions = {row["name"]: (row.get("ipVersion"), ipaddress.ip_address(row["address"]).version) for row in rows}
    assert versions == {"six": ("IPV6", 6), "four": ("IPV4", 4), "any": (None, 4)}


@pytest.mark.source("https://docs.cloud.google.com/compute/docs/reference/rest/v1/addresses")
def test_an_interconnect_has_a_range_in_a_region(compute):
    """With purpose IPSEC_INTERCONNECT, in a network and in no subnet."""
    make_network(compute)
    body = {"name": "vpn", "addressType": "INTERNAL", "purpose": "IPSEC_INTERCONNECT", "prefixLength": 29}
    body |= {"network": "global/networks/vpc"}
    done(compute, compute.addresses().insert(project=PROJECT, region="europe-west1", body=body).execute())

    row = compute.addresses().get(project=PROJECT, region="europe-west1", address="vpn").execute()

    assert (row["prefixLength"], row["network"]) == (29, f"{LINK}projects/{PROJECT}/global/networks/vpc")
    assert "subnetwork" not in row


@pytest.mark.source("https://docs.cloud.google.com/compute/docs/reference/rest/v1/subnetworks")
def test_a_subnet_that_logs_its_flows_says_how(compute):
    """What is left out is dense, half of the packets, without metadata; a patch changes what it names."""
    make_network(compute)
    make_subnet(compute, logConfig={"enable": True})
    where = {"project": PROJECT, "region": "europe-west1", "subnetwork": "sub"}
    first = compute.subnetworks().get(**where).execute()

    body = {"fingerprint": first["fingerprint"], "logConfig": {"enable": True, "flowSampling": 0.7}}
    done(compute, compute.subnetworks().patch(body=body, **where).execute())
    log = {"enable": True, "aggregationInterval": "INTERVAL_5_SEC", "metadata": "EXCLUDE_ALL_METADATA"}

    assert (first["logConfig"], first["enableFlowLogs"]) == (log | {"flowSampling": 0.5}, True)
    assert compute.subnetworks().get(**where).execute()["logConfig"] == log | {"flowSampling": 0.7}


@pytest.mark.source("https://docs.cloud.google.com/load-balancing/docs/proxy-only-subnets")
@pytest.mark.parametrize("purpose", ["REGIONAL_MANAGED_PROXY", "GLOBAL_MANAGED_PROXY"])
def test_a_subnet_for_proxies_has_a_role_and_a_state_and_no_logs(compute, purpose):
    """Neither has it a stack type: no machine of one's own is ever in it."""
    make_network(compute)
    make_subnet(compute, purpose=purpose, role="ACTIVE")

    row = compute.subnetworks().get(project=PROJECT, region="europe-west1", subnetwork="sub").execute()

    assert (row["purpose"], row["role"], row["state"]) == (purpose, "ACTIVE", "READY")
    assert row.keys().isdisjoint({"logConfig", "enableFlowLogs", "stackType"})


@pytest.mark.source("https://docs.cloud.google.com/vpc/docs/subnets#ipv6-ranges")
def test_a_subnet_with_both_stacks_has_a_range_of_ipv6(compute):
    """Of the network's own when it is internal, of Google's when it is external; without an own one it is refused."""
    make_network(compute, "plain")
    make_network(compute, enableUlaInternalIpv6=True)
    make_subnet(compute, "inside", "10.1.0.0/24", stackType="IPV4_IPV6", ipv6AccessType="INTERNAL")
    make_subnet(compute, "outside", "10.2.0.0/24", stackType="IPV4_IPV6", ipv6AccessType="EXTERNAL")
    with pytest.raises(HttpError) as caught:
        make_subnet(compute, "no", network="global/networks/plain", stackType="IPV4_IPV6", ipv6AccessType="INTERNAL")

    ula = compute.networks().get(project=PROJECT, network="vpc").execute()["internalIpv6Range"]
    rows = compute.subnetworks().list(project=PROJECT, region="europe-west1").execute()["items"]
    ranges = {row["name"]: row.get("internalIpv6Prefix") or row["externalIpv6Prefix"] for row in rows}

    assert reason_of(caught) == "invalid"
    assert ipaddress.IPv6Network(ranges["inside"]).subnet_of(ipaddress.IPv6Network(ula))
    assert ranges["outside"].startswith("2600:1900:4000:")
    assert ranges["outside"].endswith("/64")


@pytest.mark.source("https://docs.cloud.google.com/firewall/docs/using-firewall-rules-logging")
def test_a_rule_that_logs_includes_metadata_unless_told_otherwise(compute):
    """As the console and gcloud say too."""
    make_network(compute)
    body = {"name": "rule", "network": "global/networks/vpc", "allowed": [{"IPProtocol": "tcp"}]}
    body |= {"logConfig": {"enable": True}}
    done(compute, compute.firewalls().insert(project=PROJECT, body=body).execute())

    log = compute.firewalls().get(project=PROJECT, firewall="rule").execute()["logConfig"]

    assert log == {"enable": True, "metadata": "INCLUDE_ALL_METADATA"}


@pytest.mark.source("https://github.com/tektoncd/plumbing/issues/28")
def test_a_subnet_that_an_auto_mode_network_made_goes_with_the_network_only(compute):
    """It cannot be deleted by itself."""
    make_network(compute, "auto", autoCreateSubnetworks=True)
    where = {"project": PROJECT, "region": "europe-west1", "subnetwork": "auto"}
    with pytest.raises(HttpError) as caught:
        compute.subnetworks().delete(**where).execute()
    done(compute, compute.networks().delete(project=PROJECT, network="auto").execute())

    assert (caught.value.status_code, reason_of(caught)) == (400, "invalidResourceUsage")
    with pytest.raises(HttpError, match="was not found"):
        compute.subnetworks().get(**where).execute()
