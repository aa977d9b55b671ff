"""THE TABLE of what is looked at before anything is changed; read downwards, which is also how it is told."""

from provision import errors
from provision.doctor import (
    Check,
    application,
    door,
    money,
    names,
    network,
    policies,
    project,
    ranges,
    region,
    rights,
    room,
    services,
    states,
    who,
)

# Overrulable is what may be wrong here while `up` could go on; of interest is what hangs on a row only with that row.
CHECKS = (
    #     name              asks
    Check("credentials",    who.known,              overrulable=False, tells=errors.NotSignedIn),
    Check("quota-project",  who.pays,               tells=errors.QuotaProjectMissing),
    Check("project",        project.usable,         overrulable=False, tells=errors.ProjectNotUsable),
    Check("organization",   project.organization,   overrulable=False),
    Check("ledger",         project.ledger,         overrulable=False),
    Check("billing",        money.paid,             tells=errors.NoBilling),
    Check("apis",           services.switched_on,   overrulable=False),
    Check("permissions",    rights.held),
    Check("ledger-bucket",  rights.at_the_ledger),
    Check("policies",       policies.in_effect),
    Check("quotas",         room.enough),
    Check("region",         region.has_it_all,      row="server"),
    Check("network",        network.usable,         overrulable=False),
    Check("ranges",         ranges.free),
    Check("names",          names.free,             overrulable=False),
    Check("states",         states.sound),
    Check("application",    application.fits,       overrulable=False, row="app"),
    Check("door",           door.opens,             row="door"),
)  # fmt: skip
