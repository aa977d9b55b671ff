"""Where a Cloud SQL instance listens, and what the machine behind it has to know.

With machines a private address is a loopback address of this emulator's own; without, one of the allocated range.
"""

import hashlib
import ipaddress
import sys

from provision.emulator.api import Json
from provision.emulator.apis import servicenetworking
from provision.emulator.machines import Machines, NoMachines
from provision.emulator.world import World

_INSTANCES = "sql.instances"


def behind(world: World, row: Json) -> Machines:
    """Who runs an instance; MySQL and SQL Server are control plane only, whatever machines the emulator has."""
    return world.machines if row["databaseVersion"].startswith("POSTGRES") else NoMachines()


def spec(row: Json, address: str) -> Json:
    """What the machine behind an instance has to know."""
    digest = hashlib.sha256(f"{address} {row['selfLink']}".encode()).digest()
    own_port = {"port": 20000 + int.from_bytes(digest[:2]) % 20000} if address == "127.0.0.1" else {}
    return {
        **own_port,
        "address": address,
        "version": row["databaseVersion"],
        "tier": row["settings"]["tier"],
        "databaseFlags": row["settings"].get("databaseFlags", []),
        "sslMode": row["settings"]["ipConfiguration"]["sslMode"],
    }


def addresses(world: World, path: str, row: Json) -> list[Json]:
    """Private or public, or both; PostgreSQL with a public one has an outgoing one too."""
    ip = row["settings"]["ipConfiguration"]
    address = private_address(world, path)
    shown = []
    if ip["ipv4Enabled"]:
        public = address if not ip.get("privateNetwork") else _public_address(path)
        shown.append({"type": "PRIMARY", "ipAddress": public})
        if row["databaseVersion"].startswith("POSTGRES"):
            shown.append({"type": "OUTGOING", "ipAddress": _public_address(f"{path} outgoing")})
    if ip.get("privateNetwork"):
        shown.insert(0, {"type": "PRIVATE", "ipAddress": address})
    return shown


def private_service(path: str, row: Json) -> Json:
    """What clients that come by Private Service Connect need: a name, and the attachment that they connect to.

    https://docs.cloud.google.com/sql/docs/postgres/configure-private-service-connect
    """
    if not (row["settings"]["ipConfiguration"].get("pscConfig") or {}).get("pscEnabled"):
        return {}
    digits = hashlib.sha256(path.encode()).hexdigest()
    region, attachment = row["region"], f"a-{digits[:12]}-psc-service-attachment-{digits[12:28]}"
    return {
        "dnsName": f"{digits[:12]}.{digits[12:24]}.{region}.sql.goog.",
        "pscServiceAttachmentLink": f"projects/{digits[:17]}p-tp/regions/{region}/serviceAttachments/{attachment}",
    }


def private_address(world: World, path: str) -> str:
    """The address that the instance of that path has for clients in its network."""
    if isinstance(world.machines, NoMachines):
        return _from_range(world, path)
    if sys.platform == "darwin":  # only 127.0.0.1 is configured there
        return "127.0.0.1"
    digest = hashlib.sha256(f"{world.data.resolve()} {path}".encode()).digest()
    return f"127.{1 + digest[0] % 254}.{digest[1]}.{1 + digest[2] % 254}"


def _from_range(world: World, path: str) -> str:
    row = world.table(_INSTANCES).get(path)
    network = row["settings"]["ipConfiguration"].get("privateNetwork") if row else None
    if row is None or network is None:
        return _public_address(path)
    names = servicenetworking.ranges_of(world, network)
    wanted = row["settings"]["ipConfiguration"].get("allocatedIpRange") or (names[0] if names else "")
    project = network.split("/")[1]
    held = world.table("compute.addresses").get(f"projects/{project}/global/addresses/{wanted}")
    if held is None:
        return _public_address(path)
    free = ipaddress.IPv4Network(f"{held['address']}/{held['prefixLength']}", strict=False)
    digest = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4])
    return str(free.network_address + 3 + digest % max(free.num_addresses - 4, 1))


def _public_address(seed: str) -> str:
    digest = hashlib.sha256(seed.encode()).digest()
    return f"34.{digest[0]}.{digest[1]}.{1 + digest[2] % 254}"
