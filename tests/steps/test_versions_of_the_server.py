"""The server through its versions: a new one serves before the old one goes; the default service is never deleted."""

import dataclasses

import pytest

from provision import operations
from provision.config import check
from provision.emulator.machines import NoMachines
from provision.errors import CannotChangeInPlace, WrongRegion
from provision.step import Owner, Stays
from steps import PLAN, _archive, default_service, image, server, traffic
from tests.conftest import PROJECT
from tests.steps.deployments import ID, deployment

AS_DEFAULT = {"server": {"service": "default"}}


def versions(bench, service):
    """Serving status by version; empty when there is no such service."""
    calls = bench.gcp.appengine.apps().services()
    if service not in {found["id"] for found in calls.list(appsId=PROJECT).execute().get("services", [])}:
        return {}
    found = calls.versions().list(appsId=PROJECT, servicesId=service).execute().get("versions", [])
    return {version["id"]: version["servingStatus"] for version in found}


def reconfigure(bench, **settings):
    values = bench.deployment.config.model_dump()
    bench.deployment = dataclasses.replace(bench.deployment, config=check({**values, **settings}, "provision.toml"))


def deploy_stranger(bench, service):
    """Somebody else's version."""
    body = {
        "id": "theirs",
        "env": "flex",
        "runtime": "custom",
        "deployment": {"container": {"image": default_service.IMAGE}},
        "network": {"name": "mlflow", "subnetworkName": "mlflow"},
        "manualScaling": {"instances": 1},
        "readinessCheck": {"path": "/"},
        "livenessCheck": {"path": "/"},
    }
    request = bench.gcp.appengine.apps().services().versions().create(appsId=PROJECT, servicesId=service, body=body)
    bench.wait(operations.started("appengine", request.execute()))


def test_other_settings_are_another_version(bench_for):
    """The traffic moves to it; then the old one can be deleted, by itself."""
    bench = bench_for()
    bench.up(PLAN)
    (old,) = bench.refs("server")
    reconfigure(bench, server={"memory_gb": 4.0})
    bench.up(PLAN, "server", "traffic")
    (new,) = set(bench.refs("server")) - {old}
    both = versions(bench, "mlflow")
    bench.remove(old)

    assert set(both) == {ref.rpartition("/")[2] for ref in (old, new)}
    assert versions(bench, "mlflow") == {new.rpartition("/")[2]: "SERVING"}


def test_the_origin_is_told_to_the_version_and_learnt_from_it(bench_for):
    """Host and scheme of our service."""
    bench = bench_for()
    bench.up(PLAN)

    assert bench.facts[server.Facts].origin == bench.gcp.origin("mlflow", f"{PROJECT}.ew.r.appspot.com")


class MovedDoors(NoMachines):
    """No machines, behind doors of another address."""

    def door(self, app, service):
        """Where another port is free."""
        return {**super().door(app, service), "port": 8443}


def test_a_version_that_is_reached_elsewhere_is_replaced(bench_for, emulator, monkeypatch):
    """It answers for no other address than the one that it was told, and a version cannot be told another."""
    bench = bench_for()
    bench.up(PLAN)
    monkeypatch.setattr(emulator.world, "machines", MovedDoors())
    ((row, change),) = bench.drift()
    with pytest.raises(CannotChangeInPlace):
        bench.up(PLAN, "server")
    bench.deployment = dataclasses.replace(bench.deployment, counters={"server": 1})
    bench.up(PLAN, "server")

    assert (row, change.path) == ("server", ("atItsOrigin",))
    assert bench.facts[server.Facts].origin.endswith(":8443")


def test_the_only_version_goes_with_its_service(bench_for):
    """A run that died before the traffic's row leaves a version with all traffic, which only goes with the service."""
    bench = bench_for()
    bench.up(PLAN)
    bench.applied.pop(bench.refs("traffic")[0])
    bench.remove(bench.refs("server")[0])

    assert versions(bench, "mlflow") == {}


def test_mlflow_as_the_default_service(bench_for):
    """No placeholder; at the end its version is stopped, and starts again when it is wanted again."""
    bench = bench_for(**AS_DEFAULT)
    bench.up(PLAN)
    running = versions(bench, "default")
    drift = list(bench.drift())
    again = bench.deployment
    bench.deployment = None
    for name in ("traffic", "server"):
        for ref in bench.refs(name):
            bench.remove(ref)
    stopped = versions(bench, "default")
    bench.deployment = again
    bench.up(PLAN, "server", "traffic")

    assert list(running.values()) == ["SERVING"]
    assert drift == []
    assert stopped == dict.fromkeys(running, "STOPPED")
    assert versions(bench, "default") == running


def test_a_version_of_the_default_service_that_died_before_its_traffic_was_noted(bench_for):
    """It has all traffic too, and is stopped."""
    bench = bench_for(**AS_DEFAULT)
    bench.up(PLAN)
    bench.applied.pop(bench.refs("traffic")[0])
    bench.remove(bench.refs("server")[0])

    assert list(versions(bench, "default").values()) == ["STOPPED"]


def test_somebody_elses_default_service_is_left_alone(bench_for):
    """No placeholder is made beside it."""
    bench = bench_for()
    bench.up(PLAN, "apis", "service_accounts", "network", "subnet", "app")
    deploy_stranger(bench, "default")
    bench.up(PLAN)

    assert versions(bench, "default") == {"theirs": "SERVING"}
    assert len(versions(bench, "mlflow")) == 1


def test_a_service_that_serves_somebody_else_is_foreign(bench_for):
    """Its traffic is not ours to move, nor is the service ours to delete."""
    bench = bench_for()
    bench.up(PLAN, "apis", "service_accounts", "network", "subnet", "app", "project_roles", "default_service")
    deploy_stranger(bench, "mlflow")
    live = traffic.read(bench.gcp, f"apps/{PROJECT}/services/mlflow")

    assert traffic.owner(live, ID) is Owner.FOREIGN


def test_an_application_in_another_region_is_told(bench_for):
    """It can never be moved, so the settings have to follow it."""
    bench_for(region="us-central1").up(PLAN, "apis", "app")

    with pytest.raises(WrongRegion, match=r"lies in us-central for ever, not in europe-west"):
        bench_for().up(PLAN, "app")


def test_what_is_fixed_on_a_version_is_not_patched(bench_for):
    """The engine answers the refusal with the next id."""
    bench = bench_for()
    bench.up(PLAN)
    (ref,) = bench.refs("server")
    row, body = bench.applied[ref]
    other = {**body, "resources": {"cpu": 2, "memoryGb": 3.0, "diskGb": 13}}
    changes = bench.differences(row, ref, other, row.step.read(bench.gcp, ref))

    with pytest.raises(CannotChangeInPlace, match=r"resources\.cpu"):
        server.update(bench.gcp, ref, other, changes)


def builds(bench):
    calls = bench.gcp.cloudbuild.projects().locations().builds()
    return calls.list(parent=f"projects/{PROJECT}/locations/europe-west1").execute().get("builds", [])


def test_an_image_is_built_once_for_the_same_source(bench_for, tmp_path, monkeypatch):
    """Other source is another image; deleting the old one leaves the new one."""
    bench = bench_for()
    bench.up(PLAN)
    bench.up(PLAN, "image")
    once = builds(bench)
    (old,) = bench.refs("image")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setattr(_archive.packed, "__defaults__", (tmp_path,))
    bench.up(PLAN, "image")
    (new,) = set(bench.refs("image")) - {old}
    bench.remove(old)

    assert len(once) == 1
    assert once[0]["serviceAccount"].endswith("/mlflow-builder@test-project-1.iam.gserviceaccount.com")
    assert once[0]["source"]["storageSource"]["generation"]
    assert len(builds(bench)) == 2
    assert image.read(bench.gcp, new) is not None
    assert bench.facts[image.Facts].uri.startswith("europe-west1-docker.pkg.dev/test-project-1/mlflow/server@sha256:")


def test_two_deployments_do_not_own_each_others_versions():
    """The mark in the environment decides."""
    live = {"envVariables": {"DEPLOYMENT": ID}}

    assert server.owner(live, ID) is Owner.OURS
    assert server.owner(live, "ffffffff") is Owner.FOREIGN
    assert server.owner({}, ID) is Owner.FOREIGN
    assert deployment().id == ID


def test_a_version_of_somebody_else_in_our_service_is_not_deleted(bench_for):
    """Then the service stays, and what is ours in it is stopped: it costs nothing any more."""
    bench = bench_for()
    bench.up(PLAN)
    (ours,), (service,) = bench.refs("server"), bench.refs("traffic")
    deploy_stranger(bench, "mlflow")
    row, applied = bench.applied[service]
    live = row.step.read(bench.gcp, service)
    bench.wait(row.step.delete(bench.gcp, service, live, applied))
    with pytest.raises(Stays, match="versions that are not ours: theirs"):
        row.step.delete(bench.gcp, service, live, applied)

    assert versions(bench, "mlflow") == {ours.rpartition("/")[2]: "STOPPED", "theirs": "SERVING"}
