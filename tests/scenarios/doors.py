"""Real front doors in a cloud whose time only passes when the tool waits, and behind them a tracking server of a few lines."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provision.emulator.clock import Clock
from provision.emulator.machines import NoMachines
from provision.emulator.machines.door import Upstream
from provision.emulator.machines.real import RealMachines
from provision.emulator.world import World
from tests.crash.cloud import Cloud, cloud
from tests.tracking import Tracking, served


class Doors(RealMachines):
    """The doors are real; what would run behind them is one server for all versions, and no database runs at all."""

    database_start = NoMachines.database_start
    database_ready = NoMachines.database_ready
    database_stop = NoMachines.database_stop
    database_delete = NoMachines.database_delete
    database_create = NoMachines.database_create
    database_drop = NoMachines.database_drop
    database_set_user = NoMachines.database_set_user
    database_drop_user = NoMachines.database_drop_user
    database_ca = NoMachines.database_ca
    version_health = NoMachines.version_health
    version_log = NoMachines.version_log
    version_stop = NoMachines.version_stop

    def __init__(self, world: World, url: str, tracking: Tracking) -> None:
        self.tracking = tracking
        super().__init__(world, url)

    def version_start(  # what names a version, and what it runs
        self, app: str, service: str, version: str, spec: dict[str, Any], image_dir: Path | None, account: str
    ) -> None:
        """Let the server know where files go; the placeholder knows nothing."""
        self.tracking.root = spec.get("envVariables", {}).get("ARTIFACT_ROOT", self.tracking.root)

    def reset(self) -> None:
        """Forget what was logged, too."""
        self.tracking.forget()
        super().reset()

    def _upstream(self, app: str, service: str, version: str) -> Upstream:
        return Upstream(self.tracking.port, ready=True)


@contextlib.contextmanager
def cloud_with_doors() -> Iterator[Cloud]:
    """Serve one until the block ends; its time goes on by itself too, since tokens are signed and looked at in real time."""
    with served(Tracking(shut=False)) as tracking, cloud(Clock()) as made:
        made.world.machines = Doors(made.world, made.url, tracking)
        yield made
