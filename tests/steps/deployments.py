"""Deployments for the tests of the steps, with any settings."""

from typing import Any

from provision import config
from provision.deployment import Deployment
from provision.step import FactBook
from steps import app, image, service_accounts
from tests.conftest import NUMBER, PROJECT

ID = "0a1b2c3d"
IMAGE = f"europe-west1-docker.pkg.dev/{PROJECT}/mlflow/server@sha256:{'ab' * 32}"

FULL = {"artifacts": {"transfer": "signed"}}
"""Settings with which every row of the table makes something."""


def deployment(
    counters: dict[str, int] | None = None, runners: tuple[str, ...] = ("user:owner@example.com",), **settings: Any
) -> Deployment:
    """One with these settings and the defaults."""
    checked = config.check({"project": PROJECT, "access": {"users": ["ada@example.com"]}, **settings}, "provision.toml")
    return Deployment(checked, ID, "x7f2", NUMBER, counters or {}, runners)


def known(default_of: tuple[str, ...] = ()) -> FactBook:
    """What the rows above the server have learnt."""
    hostname = f"{PROJECT}.ew.r.appspot.com"
    account = service_accounts.Facts(server_id="105832917462839104756")
    return FactBook([app.Facts(default_hostname=hostname, default_of=default_of), image.Facts(uri=IMAGE), account])
