"""How clients connect to Cloud SQL: addresses, certificates, and the tiers that there are.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/connect
"""

from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_regions as regions
from provision.emulator.apis import sql_instances as instances

_TIERS = (("db-f1-micro", 614), ("db-g1-small", 1740), ("db-n1-standard-1", 3840), ("db-perf-optimized-N-2", 16384))
_GIGABYTE = 1024**3


@method("sql.connect.get", permission="cloudsql.instances.connect")
def connect_settings(call: Call) -> Json:
    """What a connector needs to know."""
    row = instances.found(call)
    shown = {"serverCaCert", "ipAddresses", "region", "databaseVersion", "backendType"}
    return {
        "kind": "sql#connectSettings",
        "serverCaMode": "GOOGLE_MANAGED_INTERNAL_CA",
        **{key: value for key, value in row.items() if key in shown},
    }


@method("sql.sslCerts.list", permission="cloudsql.sslCerts.list")
def list_certificates(call: Call) -> Json:
    """Client certificates of the instance: none are ever made here."""
    instances.found(call)
    return {"kind": "sql#sslCertsList"}


@method("sql.instances.listServerCas", permission="cloudsql.instances.listServerCas")
def list_authorities(call: Call) -> Json:
    """The certificate authorities that may have signed the server's certificate."""
    authority = instances.found(call).get("serverCaCert")
    certificates = {"certs": [authority], "activeVersion": authority["sha1Fingerprint"]} if authority else {}
    return {"kind": "sql#instancesListServerCas", **certificates}


@method("sql.backupRuns.list", permission="cloudsql.backupRuns.list")
def list_backup_runs(call: Call) -> Json:
    """Automatic backups of the instance: none are ever taken here."""
    instances.found(call)
    return {"kind": "sql#backupRunsList"}


@method("sql.tiers.list", permission="cloudsql.tiers.list")
def list_tiers(call: Call) -> Json:
    """Some of the machine types."""
    items = [
        {
            "kind": "sql#tier",
            "tier": tier,
            "RAM": str(memory * 1024**2),
            "DiskQuota": str(3072 * _GIGABYTE),
            "region": sorted(regions.AUTO_RANGES),
        }
        for tier, memory in _TIERS
        if call.project_id
    ]
    return {"kind": "sql#tiersList", "items": items}
