"""RIGHTS, step by step: with just these permissions each row is made, read, mended and taken away; and none is idle."""

import contextlib

import pytest
from google.oauth2.credentials import Credentials

from provision.emulator import iam, tokens
from provision.gcp import Gcp
from steps import PLAN
from tests.conftest import PROJECT
from tests.steps.bench import Bench
from tests.steps.deployments import FULL, deployment
from tests.steps.test_lifecycle import DAMAGE

NOT_TOLD_APART = {
    "compute.globalAddresses.createInternal",
    "compute.globalAddresses.deleteInternal",
    "compute.networks.updatePolicy",
    "compute.networks.use",
}
"""What Google's reference asks for beside another permission, and the emulator does not."""

ONCE_IN_A_WHILE = {
    "appengine.services.update": "the traffic of an older version goes to a newer one",
    "appengine.versions.delete": "the older one goes",
    "cloudbuild.builds.get": "a build has failed, and which of its steps is looked for",
    "cloudsql.users.update": "the password is set anew when there is a new version of it",
    "compute.networks.removePeering": "Google does not let go of a connection",
    "compute.firewalls.delete": "App Engine has left a rule in our network",
}
"""What a life without trouble does not need, and why it is named."""


class ByTheirRights(Bench):
    """Each row acts as somebody who has the permissions that its step names, and no other."""

    def __init__(self, emulator):
        super().__init__(emulator.url, deployment(**FULL))
        self.gcp = Gcp(PROJECT, Credentials("owner"), emulator.url)
        self.world = emulator.world
        for row in PLAN:
            role = f"projects/{PROJECT}/roles/{row.name}"
            self.world.table("iam.roles")[role] = {"includedPermissions": list(row.step.RIGHTS)}
        self.grant()

    def grant(self):
        """Give everybody their role on the project, beside what is granted there."""
        roles = {row.name: f"projects/{PROJECT}/roles/{row.name}" for row in PLAN}
        policy = iam.policy_of(self.world, f"projects/{PROJECT}")
        ours = [{"role": role, "members": [member(name)]} for name, role in roles.items()]
        others = [binding for binding in policy.get("bindings", []) if binding["role"] not in roles.values()]
        with self.world.transaction():
            iam.put_policy(self.world, f"projects/{PROJECT}", policy | {"bindings": others + ours})

    @contextlib.contextmanager
    def acting(self, row):
        """Be the one whose rights are the row's."""
        before = self.gcp.credentials.token
        with self.world.transaction():
            self.gcp.credentials.token = tokens.issue(self.world, member(row.name))
        try:
            yield
        finally:
            self.gcp.credentials.token = before

    def settle(self, row):
        with self.acting(row):
            super().settle(row)

    def read(self, row, ref):
        with self.acting(row):
            return super().read(row, ref)

    def remove(self, ref):
        with self.acting(self.applied[ref][0]):
            super().remove(ref)


def member(name):
    """Who has the rights of a row."""
    return f"user:{name}@example.com"


@pytest.fixture
def asked(monkeypatch):
    """By row, the permissions that the emulator has asked for."""
    found = {row.name: set() for row in PLAN}
    allowed = iam.allowed

    def heard(world, who, permission, resource):
        name = who.partition(":")[2].partition("@")[0]
        if name in found:
            found[name].add(permission)
        return allowed(world, who, permission, resource)

    monkeypatch.setattr(iam, "allowed", heard)
    return found


def test_each_row_lives_by_the_rights_that_its_step_names(emulator, asked):
    """Made, looked at, mended after each damage that is known, and taken away; by no more, and with none to spare."""
    bench = ByTheirRights(emulator)
    bench.up(PLAN)
    for damage, do in DAMAGE.items():
        do(bench.gcp)
        bench.grant()  # one of them empties the policy that they are granted in
        bench.settle(PLAN[damage.partition(",")[0]])
    left = list(bench.drift())
    bench.down(PLAN)
    bench.close()
    named = set().union(*(row.step.RIGHTS for row in PLAN))

    assert left == []
    assert named - set().union(*asked.values()) == {*NOT_TOLD_APART, *ONCE_IN_A_WHILE}
