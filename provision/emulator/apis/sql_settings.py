"""Settings of Cloud SQL instances: which are allowed together, and what Google fills in.

https://docs.cloud.google.com/sql/docs/postgres/admin-api/rest/v1/instances and, for tiers and editions,
https://docs.cloud.google.com/sql/docs/postgres/machine-series-overview.
"""

import copy
import re

from provision.emulator import errors
from provision.emulator.api import Call, Json
from provision.emulator.apis import compute_regions as regions
from provision.emulator.apis import compute_resources, servicenetworking

# Installed minor versions; of no weight beyond being shown.
_MINOR = {
    "POSTGRES_18": 1,
    "POSTGRES_17": 7,
    "POSTGRES_16": 11,
    "POSTGRES_15": 15,
    "POSTGRES_14": 20,
    "POSTGRES_13": 23,
    "MYSQL_5_7": 44,
    "MYSQL_8_0": 41,
    "MYSQL_8_4": 4,
}
_BUILD = "R20260808.01_02"
_LATEST_POSTGRES = 18
_SQLSERVER_YEARS = ("2017", "2019", "2022")
_SQLSERVER_EDITIONS = ("EXPRESS", "WEB", "STANDARD", "ENTERPRISE")
_SHARED = ("db-f1-micro", "db-g1-small")
_VERSION = re.compile(r"POSTGRES_(9_6|1\d)|MYSQL_\d+_\d+(_\d+)?|SQLSERVER_20\d\d_(EXPRESS|WEB|STANDARD|ENTERPRISE)")
_WITHOUT_NO = {"dataCacheConfig", "insightsConfig"}
"""In these a switch that is off is not told, https://protobuf.dev/programming-guides/json/."""
_GEMINI_POSTGRES = {"googleVacuumMgmtEnabled": False, "oomSessionCancelEnabled": True}
_GEMINI_MYSQL = {"flagRecommenderEnabled": True}


def refused(text: str) -> errors.GoogleError:
    """The 400 of Cloud SQL."""
    return errors.invalid(f"Invalid request: {text}.", reason="invalid")


def check_version(version: str) -> None:
    """Refuse a database version that Cloud SQL does not have."""
    if not _VERSION.fullmatch(version):
        raise refused(f"Invalid database version ({version})")


def installed(version: str) -> str:
    """The exact version that an instance of this database version has, such as POSTGRES_18_1."""
    return f"{version}_{_MINOR[version]}" if version in _MINOR else version


def maintenance(version: str) -> str:
    """The maintenance version, such as POSTGRES_18_1.R20260808.01_02."""
    return f"{installed(version)}.{_BUILD}"


def upgrades(version: str) -> list[Json]:
    """Versions, and of SQL Server editions, that an instance can be upgraded to in place."""
    if version.startswith("SQLSERVER"):
        return _sqlserver_upgrades(version)
    found = re.fullmatch(r"POSTGRES_(\d+)(_\d)?", version)
    if not found:
        names = {"MYSQL_5_7": ["MYSQL_8_0"], "MYSQL_8_0": ["MYSQL_8_4"]}.get(version, [])
        return [
            {"majorVersion": name, "name": name, "displayName": "MySQL " + name[6:].replace("_", ".")} for name in names
        ]
    newer = range(max(int(found[1]), 9) + 1, _LATEST_POSTGRES + 1)
    return [{"majorVersion": f"POSTGRES_{n}", "name": f"POSTGRES_{n}", "displayName": f"PostgreSQL {n}"} for n in newer]


def _sqlserver_upgrades(version: str) -> list[Json]:
    """No lower release and no lower edition: https://docs.cloud.google.com/sql/docs/sqlserver/upgrade-major-db-version-inplace."""
    _, year, edition = version.split("_")
    choices = [
        (y, e) for y in _SQLSERVER_YEARS if y >= year for e in _SQLSERVER_EDITIONS[_SQLSERVER_EDITIONS.index(edition) :]
    ]
    return [
        {
            "majorVersion": f"SQLSERVER_{y}_{e}",
            "name": f"SQLSERVER_{y}_{e}",
            "displayName": f"SQL Server {y} {e.capitalize()}",
        }
        for y, e in choices
        if (y, e) != (year, edition)
    ]


def gemini(version: str) -> Json | None:
    """The switches of Gemini, which depend on the database; SQL Server has none."""
    common = {"activeQueryEnabled": False, "entitled": False, "indexAdvisorEnabled": False}
    if version.startswith("POSTGRES"):
        return common | _GEMINI_POSTGRES
    return common | _GEMINI_MYSQL if version.startswith("MYSQL") else None


def default_edition(version: str) -> str:
    """The edition when none is named: ENTERPRISE_PLUS since PostgreSQL 16 and MySQL 8.4, ENTERPRISE before."""
    found = re.match(r"(POSTGRES|MYSQL)_(\d+)(?:_(\d+))?", version)
    if not found:
        return "ENTERPRISE"
    number = (int(found[2]), int(found[3] or 0))
    newer = number >= ((16, 0) if found[1] == "POSTGRES" else (8, 4))
    return "ENTERPRISE_PLUS" if newer else "ENTERPRISE"


def merged(old: Json, new: Json) -> Json:
    """A JSON merge patch: objects merge, null removes, everything else replaces."""
    result = copy.deepcopy(old)
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def completed(version: str, region: str, sent: Json, version_number: int) -> Json:
    """The settings as Google shows them: what was sent, and defaults for the rest.

    Args:
        version: the database version.
        region: where the instance is.
        sent: the settings of the request, or of the request merged into the current ones.
        version_number: the settingsVersion that they get.
    """
    sent = {key: value for key, value in sent.items() if value is not None}
    zone = regions.zones(region)[0]
    defaults: Json = {
        "activationPolicy": "ALWAYS",
        "authorizedGaeApplications": [],
        "availabilityType": "ZONAL",
        "connectorEnforcement": "NOT_REQUIRED",
        "dataDiskSizeGb": "10",
        "dataDiskType": "PD_SSD",
        "deletionProtectionEnabled": False,
        "edition": default_edition(version),
        "locationPreference": {"zone": zone, "kind": "sql#locationPreference"},
        "pricingPlan": "PER_USE",
        "replicationType": "SYNCHRONOUS",
        "replicationLagMaxSeconds": 31536000,
        "storageAutoResize": True,
        "storageAutoResizeLimit": "0",
    }
    result = defaults | sent
    result["locationPreference"] = defaults["locationPreference"] | result["locationPreference"]
    result |= {
        "kind": "sql#settings",
        "settingsVersion": str(version_number),
        "backupConfiguration": _backup(version, result["edition"], result.get("backupConfiguration") or {}),
        "ipConfiguration": _ip(result.get("ipConfiguration") or {}),
    }
    if "maintenanceWindow" in result:
        result["maintenanceWindow"] = {"kind": "sql#maintenanceWindow"} | result["maintenanceWindow"]
    if "sqlServerAuditConfig" in result:
        defaults = {"kind": "sql#sqlServerAuditConfig", "retentionInterval": "0s", "uploadInterval": "0s"}
        result["sqlServerAuditConfig"] = defaults | result["sqlServerAuditConfig"]
    for name in _WITHOUT_NO & result.keys():
        result[name] = {key: value for key, value in result[name].items() if value is not False}
    if not result.get("userLabels"):
        result.pop("userLabels", None)
    return result


def check(version: str, settings: Json) -> None:
    """Refuse completed settings that do not go together: tier and edition, disk, point-in-time recovery."""
    tier = settings.get("tier")
    if not tier:
        raise refused("Missing parameter: tier")
    _check_tier(version, str(tier), settings["edition"])
    if int(settings["dataDiskSizeGb"]) < 10:
        raise refused(f"Invalid disk size ({settings['dataDiskSizeGb']}): the smallest disk has 10 GB")
    backup = settings["backupConfiguration"]
    if (backup.get("pointInTimeRecoveryEnabled") or backup.get("binaryLogEnabled")) and not backup["enabled"]:
        raise refused("Point in time recovery or binary log can only be enabled when backups are enabled")
    ip = settings["ipConfiguration"]
    if not ip["ipv4Enabled"] and not ip.get("privateNetwork") and not (ip.get("pscConfig") or {}).get("pscEnabled"):
        raise refused("At least one of Public IP or Private IP or PSC connectivity must be enabled")


def check_change(old: Json, new: Json) -> None:
    """Refuse what completed settings can not become: a smaller disk, or no private network."""
    if int(new["dataDiskSizeGb"]) < int(old["dataDiskSizeGb"]):
        raise refused("The disk size cannot be decreased")
    if old["ipConfiguration"].get("privateNetwork") and not new["ipConfiguration"].get("privateNetwork"):
        raise refused("The private network of an instance cannot be removed")


def normalise_network(call: Call, settings: Json) -> None:
    """Write the private network as Google shows it: projects/p/global/networks/n."""
    ip = settings.get("ipConfiguration") or {}
    if ip.get("privateNetwork"):
        ip["privateNetwork"] = compute_resources.path_of(call, ip["privateNetwork"])


def check_network(call: Call, instance: str, ip: Json) -> None:
    """Refuse a private address in a network that no service connection reaches.

    https://docs.cloud.google.com/sql/docs/postgres/troubleshooting
    """
    network = ip.get("privateNetwork")
    if not network:
        return
    world = call.world
    owner = network.split("/")[1]
    if not world.enabled(owner, "servicenetworking.googleapis.com"):
        raise _misconfigured(call, instance, "SERVICE_NETWORKING_NOT_ENABLED")
    if network not in world.table("compute.networks"):
        raise _misconfigured(call, instance, "NETWORK_NOT_FOUND")
    if not servicenetworking.connected(world, network):
        known = servicenetworking.was_connected(world, network)
        raise _misconfigured(call, instance, "NETWORK_PEERING_DELETED" if known else "NETWORK_NOT_PEERED")
    ranges = servicenetworking.ranges_of(world, network)
    wanted = ip.get("allocatedIpRange")
    if wanted and wanted not in ranges:
        raise refused(f"Invalid allocated IP range name ({wanted}): the service connection has {', '.join(ranges)}")


def _misconfigured(call: Call, instance: str, why: str) -> errors.GoogleError:
    return refused(f"Incorrect Service Networking config for instance: {call.project_id}:{instance}:{why}")


def _check_tier(version: str, tier: str, edition: str) -> None:
    if edition == "ENTERPRISE_PLUS":
        predefined = re.fullmatch(r"db-(perf-optimized-N-\d+|c4a-highmem-\d+)", tier)
        # MySQL was seen to take custom tiers in this edition.
        if predefined or (version.startswith("MYSQL") and tier.startswith("db-custom-")):
            return
        advice = " Use a predefined Tier like db-perf-optimized-N-* instead"
        raise refused(f"Invalid Tier ({tier}) for (ENTERPRISE_PLUS) Edition.{advice}")
    custom = re.fullmatch(r"db-custom-(\d+)-(\d+)", tier)
    if custom:
        _check_custom(tier, int(custom[1]), int(custom[2]))
        return
    shared = tier in _SHARED and not version.startswith("SQLSERVER")
    if not (shared or re.fullmatch(r"db-n1-(standard|highmem)-\d+", tier)):
        raise refused(f"Invalid Tier ({tier}) for ({edition}) Edition")


def _check_custom(tier: str, cores: int, memory: int) -> None:
    """Of a custom tier: 1 or an even number of cores up to 96, 0.9 to 6.5 GB a core, 3.75 GB at least, in 256 MB."""
    good_cores = cores == 1 or (cores % 2 == 0 and cores <= 96)
    good_memory = memory % 256 == 0 and memory >= 3840 and 0.9 * 1024 * cores <= memory <= 6.5 * 1024 * cores
    if not (good_cores and good_memory):
        raise refused(f"Invalid custom Tier ({tier}): cores and memory do not go together")


def _backup(version: str, edition: str, sent: Json) -> Json:
    plus = edition == "ENTERPRISE_PLUS"
    logged_by_default = {"pointInTimeRecoveryEnabled": True, "binaryLogEnabled": True} if plus and not sent else {}
    kept = {"retainedBackups": 15 if plus else 7, "retentionUnit": "COUNT"}
    backup: Json = {
        "backupRetentionSettings": kept,
        "backupTier": "STANDARD",
        "enabled": plus,
        "startTime": "12:00",
        "transactionLogRetentionDays": 14 if plus else 7,
        **logged_by_default,
        **{key: value for key, value in sent.items() if value is not None},
        "kind": "sql#backupConfiguration",
    }
    backup["backupRetentionSettings"] = kept | backup["backupRetentionSettings"]
    for name in ("replicationLogArchivingEnabled", "transactionalLogStorageState"):
        backup.pop(name, None)
    if version.startswith("POSTGRES"):
        backup.pop("binaryLogEnabled", None)
        if "pointInTimeRecoveryEnabled" in backup:
            backup["replicationLogArchivingEnabled"] = backup["pointInTimeRecoveryEnabled"]
    elif version.startswith("MYSQL"):
        backup.pop("pointInTimeRecoveryEnabled", None)
    else:
        backup.pop("binaryLogEnabled", None)
    logged = backup.get("pointInTimeRecoveryEnabled") or backup.get("binaryLogEnabled")
    state = "CLOUD_STORAGE" if logged else "TRANSACTIONAL_LOG_STORAGE_STATE_UNSPECIFIED"
    return backup | {"transactionalLogStorageState": state}


def _ip(sent: Json) -> Json:
    ip: Json = {
        "authorizedNetworks": [],
        "ipv4Enabled": True,
        "serverCertificateRotationMode": "SERVER_CERTIFICATE_ROTATION_MODE_UNSPECIFIED",
    }
    ip |= {key: value for key, value in sent.items() if value is not None}
    mode = ip.get("sslMode")
    if not mode or mode == "SSL_MODE_UNSPECIFIED":
        mode = "TRUSTED_CLIENT_CERTIFICATE_REQUIRED" if ip.get("requireSsl") else "ALLOW_UNENCRYPTED_AND_ENCRYPTED"
    ip |= {"sslMode": mode, "requireSsl": mode == "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"}
    return ip
