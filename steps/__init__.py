"""THE TABLE: everything that is deployed, in order. Read downwards for `up`, upwards for `down`."""

from provision.plan import Plan, row
from steps import (
    _appengine,
    apis,
    app,
    artifact_access,
    artifact_bucket,
    build_access,
    build_bucket,
    client_rights,
    default_service,
    door,
    door_access,
    image,
    network,
    peering,
    peering_range,
    project_roles,
    repository,
    repository_access,
    secret,
    secret_access,
    secret_version,
    server,
    service_accounts,
    signing_rights,
    sql_database,
    sql_instance,
    sql_user,
    subnet,
    traffic,
)

# Seconds until a read shows what was written: accounts https://cloud.google.com/iam/docs/service-accounts-create,
# secrets https://docs.cloud.google.com/secret-manager/docs/reference/consistency. APIs, App Engine and peerings: as
# long as their operations usually lag behind, for they promise nothing.
PLAN = Plan((
    #   step               needs
    row(apis,              settles=120),
    row(service_accounts,  apis, settles=90),
    row(project_roles,     service_accounts, at_least=("bindings",)),
    # Early: a grant takes minutes to spread, and these are used at the very end.
    row(client_rights,     service_accounts, dies_with=service_accounts),
    row(signing_rights,    service_accounts, dies_with=service_accounts),

    row(network,           apis),
    row(subnet,            network, foresees=subnet.must_be_usable),
    row(peering_range,     network),
    row(peering,           peering_range, project_roles, at_least=("reservedPeeringRanges",), settles=60,
        refused=peering.delete_refused),

    row(sql_instance,      peering, at_least=("settings.dataDiskSizeGb",), once=True, trouble=sql_instance.trouble,
        final="what it held is only in its final backup, and Google keeps its name for a week"),
    row(sql_database,      sql_instance, dies_with=sql_instance,
        final="what it held would be in no backup; the instance leaves one"),
    row(secret,            apis, write_only=("replication",), settles=60, once=True, final="its versions went with it"),
    row(secret_version,    secret, dies_with=secret, renews=True, final="Google has destroyed what it said"),
    row(sql_user,          sql_database, secret_version, write_only=("passwordVersion",), dies_with=sql_instance),
    row(secret_access,     secret, service_accounts, dies_with=secret),

    row(artifact_bucket,   apis, data=True),
    row(artifact_access,   artifact_bucket, service_accounts, lies_in=artifact_bucket),
    row(build_bucket,      apis),
    row(build_access,      build_bucket, service_accounts, dies_with=build_bucket),

    # One chain: App Engine takes one change at a time, and the door is shut before anything is behind it.
    row(app,               apis, settles=60),
    row(default_service,   app, subnet, project_roles, write_only=("network", "serviceAccount"), renews=True,
        settles=60, told=_appengine.told),
    row(door,              default_service, write_only=("oauth2ClientSecretFile",), settles=60),

    row(repository,        apis, kept=repository.kept),
    row(repository_access, repository, service_accounts, app, dies_with=repository),
    row(image,             repository_access, build_access, project_roles,
        write_only=("build",), keep_older=2, dies_with=repository, kept=repository.kept,
        elsewhere=image.create_elsewhere, told=image.told),

    # Not the database: the server waits for it by itself, so that both are made at the same time.
    row(server,            image, door, subnet, secret_version, secret_access, artifact_access, signing_rights,
        awaits=(sql_instance, sql_database, sql_user), renews=True, settles=60, told=_appengine.told),
    row(traffic,           server, settles=60),
    row(door_access,       server),
))  # fmt: skip
