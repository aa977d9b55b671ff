"""Projects that are not there, are somebody else's, or are about to go."""

from typing import Any

from provision.emulator import errors
from provision.emulator.api import Call
from provision.emulator.scenarios import Answer, GoOn, Playing, habit, scenario
from provision.emulator.world import World

Json = dict[str, Any]


@scenario("no-such-project", 18, "https://github.com/hashicorp/terraform-provider-google/issues/10267")
def no_such_project(world: World, options: Json) -> None:
    """The project does not exist: Google answers 403, never 404."""
    del world, options


@scenario("foreign-project", 18, "https://github.com/hashicorp/terraform-provider-google/issues/10267")
def foreign_project(world: World, options: Json) -> None:
    """The project is somebody else's, and Google answers as if it did not exist."""
    del world, options


@habit("*", of="no-such-project")
@habit("*", of="foreign-project")
def not_to_be_seen(call: Call, playing: Playing, go_on: GoOn) -> Answer:
    """Whatever names it."""
    del playing
    if call.names_project():
        raise errors.permission_denied()
    return go_on()


@scenario(
    "project-pending-deletion",
    18,
    "https://cloud.google.com/resource-manager/docs/creating-managing-projects#shutting_down_projects",
)
def project_pending_deletion(world: World, options: Json) -> None:
    """Somebody has shut the project down; it is there for thirty days more, and can be brought back."""
    del options
    for name, row in world.projects.items():
        world.projects[name] = row | {"lifecycleState": "DELETE_REQUESTED", "services": {"*": True}}
