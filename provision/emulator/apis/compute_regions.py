"""Where Compute Engine is: its regions, their zones, and the range of each region in an auto mode network.

Public facts: https://docs.cloud.google.com/compute/docs/regions-zones and
https://docs.cloud.google.com/vpc/docs/subnets#ip-ranges. The quotas are the defaults of a new project.
"""

from provision.emulator.api import Call, Json, method
from provision.emulator.apis import appengine_regions
from provision.emulator.apis import compute_resources as resources

AUTO_RANGES = {
    "africa-south1": "10.218.0.0/20",
    "asia-east1": "10.140.0.0/20",
    "asia-east2": "10.170.0.0/20",
    "asia-northeast1": "10.146.0.0/20",
    "asia-northeast2": "10.174.0.0/20",
    "asia-northeast3": "10.178.0.0/20",
    "asia-south1": "10.160.0.0/20",
    "asia-south2": "10.190.0.0/20",
    "asia-southeast1": "10.148.0.0/20",
    "asia-southeast2": "10.184.0.0/20",
    "australia-southeast1": "10.152.0.0/20",
    "australia-southeast2": "10.192.0.0/20",
    "europe-central2": "10.186.0.0/20",
    "europe-north1": "10.166.0.0/20",
    "europe-north2": "10.226.0.0/20",
    "europe-southwest1": "10.204.0.0/20",
    "europe-west1": "10.132.0.0/20",
    "europe-west10": "10.214.0.0/20",
    "europe-west12": "10.210.0.0/20",
    "europe-west2": "10.154.0.0/20",
    "europe-west3": "10.156.0.0/20",
    "europe-west4": "10.164.0.0/20",
    "europe-west6": "10.172.0.0/20",
    "europe-west8": "10.198.0.0/20",
    "europe-west9": "10.200.0.0/20",
    "me-central1": "10.212.0.0/20",
    "me-west1": "10.208.0.0/20",
    "northamerica-northeast1": "10.162.0.0/20",
    "northamerica-northeast2": "10.188.0.0/20",
    "northamerica-south1": "10.224.0.0/20",
    "southamerica-east1": "10.158.0.0/20",
    "southamerica-west1": "10.194.0.0/20",
    "us-central1": "10.128.0.0/20",
    "us-east1": "10.142.0.0/20",
    "us-east4": "10.150.0.0/20",
    "us-east5": "10.202.0.0/20",
    "us-south1": "10.206.0.0/20",
    "us-west1": "10.138.0.0/20",
    "us-west2": "10.168.0.0/20",
    "us-west3": "10.180.0.0/20",
    "us-west4": "10.182.0.0/20",
}

_OTHER_ZONES = {"europe-west1": "bcd", "us-east1": "bcd", "us-central1": "abcf"}

GLOBAL_QUOTAS = {
    "NETWORKS": 15.0,
    "SUBNETWORKS": 100.0,
    "FIREWALLS": 100.0,
    "ROUTES": 200.0,
    "STATIC_ADDRESSES": 8.0,
    "GLOBAL_INTERNAL_ADDRESSES": 5000.0,
    "IN_USE_ADDRESSES": 8.0,
    "CPUS_ALL_REGIONS": 32.0,
    "SNAPSHOTS": 1000.0,
    "IMAGES": 100.0,
    "INSTANCE_TEMPLATES": 100.0,
    "HEALTH_CHECKS": 75.0,
    "BACKEND_SERVICES": 9.0,
    "URL_MAPS": 10.0,
    "FORWARDING_RULES": 15.0,
    "SSL_CERTIFICATES": 10.0,
}

REGION_QUOTAS = {
    "CPUS": 24.0,
    "DISKS_TOTAL_GB": 4096.0,
    "SSD_TOTAL_GB": 500.0,
    "STATIC_ADDRESSES": 8.0,
    "IN_USE_ADDRESSES": 8.0,
    "INSTANCES": 24.0,
    "INSTANCE_GROUP_MANAGERS": 100.0,
}


def zones(region: str) -> list[str]:
    """Names of the region's zones."""
    return [f"{region}-{letter}" for letter in _OTHER_ZONES.get(region, "abc")]


@method("compute.projects.get", permission="compute.projects.get")
def get_project(call: Call) -> Json:
    """The project as Compute Engine sees it, with its global quotas."""
    return {
        "kind": "compute#project",
        "id": call.project["projectNumber"],
        "creationTimestamp": resources.timestamp(call.now),
        "name": call.project_id,
        "commonInstanceMetadata": {
            "kind": "compute#metadata",
            "fingerprint": resources.fingerprint(call.project_id),
        },
        "quotas": _quotas(call, GLOBAL_QUOTAS, _used(call)),
        "selfLink": f"{resources.LINK}projects/{call.project_id}",
        "defaultServiceAccount": f"{call.project['projectNumber']}-compute@developer.gserviceaccount.com",
        "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
        "defaultNetworkTier": "PREMIUM",
    }


@method("compute.regions.get", permission="compute.regions.get")
def get_region(call: Call) -> Json:
    """One region, with its quotas."""
    name = call.params["region"]
    if name not in AUTO_RANGES:
        raise resources.not_found(f"projects/{call.project_id}/regions/{name}")
    return _region(call, name)


@method("compute.regions.list", permission="compute.regions.list")
def list_regions(call: Call) -> Json:
    """Every region."""
    return resources.listed(call, "region", "regions", [_region(call, name) for name in AUTO_RANGES])


@method("compute.zones.get", permission="compute.zones.get")
def get_zone(call: Call) -> Json:
    """One zone."""
    name = call.params["zone"]
    if name not in zones(name.rpartition("-")[0]):
        raise resources.not_found(f"projects/{call.project_id}/zones/{name}")
    return _zone(call, name)


@method("compute.zones.list", permission="compute.zones.list")
def list_zones(call: Call) -> Json:
    """Every zone of every region."""
    rows = [_zone(call, zone) for region in AUTO_RANGES for zone in zones(region)]
    return resources.listed(call, "zone", "zones", rows)


def limit(metric: str) -> float:
    """The global quota of one metric."""
    return GLOBAL_QUOTAS[metric]


def _region(call: Call, name: str) -> Json:
    prefix = f"{resources.LINK}projects/{call.project_id}"
    return {
        "kind": "compute#region",
        "id": resources.fixed_id(f"regions/{name}"),
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "name": name,
        "description": name,
        "status": "UP",
        "zones": [f"{prefix}/zones/{zone}" for zone in zones(name)],
        "quotas": _quotas(call, REGION_QUOTAS, _used_in(call, name)),
        "selfLink": f"{prefix}/regions/{name}",
        "supportsPzs": False,
    }


def _zone(call: Call, name: str) -> Json:
    prefix = f"{resources.LINK}projects/{call.project_id}"
    return {
        "kind": "compute#zone",
        "id": resources.fixed_id(f"zones/{name}"),
        "creationTimestamp": "1969-12-31T16:00:00.000-08:00",
        "name": name,
        "description": name,
        "status": "UP",
        "region": f"{prefix}/regions/{name.rpartition('-')[0]}",
        "selfLink": f"{prefix}/zones/{name}",
        "supportsPzs": False,
    }


def _quotas(call: Call, limits: dict[str, float], used: dict[str, float]) -> list[Json]:
    """Limits, but for those that the project has of its own, and what is used of them."""
    own = limits | {key: value for key, value in call.project.get("quotas", {}).items() if key in limits}
    return [{"metric": metric, "limit": value, "usage": used.get(metric, 0.0)} for metric, value in sorted(own.items())]


def _used(call: Call) -> dict[str, float]:
    tables = {"NETWORKS": "networks", "SUBNETWORKS": "subnetworks", "FIREWALLS": "firewalls"}
    prefix = f"projects/{call.project_id}/"
    used = {metric: call.world.table(f"compute.{table}").under(prefix) for metric, table in tables.items()}
    used["GLOBAL_INTERNAL_ADDRESSES"] = call.world.table("compute.addresses").under(f"{prefix}global/")
    cpus = sum(_used_in(call, region)["CPUS"] for region in AUTO_RANGES)
    return {metric: float(len(rows)) for metric, rows in used.items()} | {"CPUS_ALL_REGIONS": cpus}


def _used_in(call: Call, region: str) -> dict[str, float]:
    """What the instances of App Engine flexible take, which run in the region of the application."""
    app = call.world.table("appengine.apps").get(call.project_id)
    used = dict.fromkeys(REGION_QUOTAS, 0.0)
    if app is None or appengine_regions.region_of(app["locationId"]) != region:
        return used
    for _, version in call.world.table("appengine.versions").under(f"apps/{call.project_id}/"):
        if version.get("servingStatus") != "SERVING":
            continue
        count, size = float(version.get("manualScaling", {}).get("instances", 1)), version.get("resources", {})
        used["INSTANCES"] += count
        used["CPUS"] += count * float(size.get("cpu", 1))
        used["DISKS_TOTAL_GB"] += count * float(size.get("diskGb", 13))
        used["IN_USE_ADDRESSES"] += count * (version.get("network", {}).get("instanceIpMode") != "INTERNAL")
    return used
