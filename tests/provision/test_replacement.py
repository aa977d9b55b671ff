"""`up --replace`: things are made anew once for each time that they are asked for, whatever happens on the way."""

import itertools
from types import SimpleNamespace

import pytest

from provision import replacement, step
from provision.config import Config
from provision.errors import BadUsage, GoogleRefused, Protected, WouldLoseData
from provision.plan import row
from provision.step import Contents
from state.journal import read_ledger
from tests.provision.toy import Death, MemoryStore, ToyCloud, engine, toy_step

CONFIG = Config(project="my-project")


class Command:
    """Types `up`, with a table of a network, a bucket that holds data, a database with ids, and a server that needs it."""

    def __init__(self):
        self.cloud, self.store = ToyCloud(), MemoryStore()
        self.objects = 0
        self.server_fails = False

    def up(self, *replace, only=(), settle=True, **settings):
        """One command; returns what it changed. `settle` is false when it fails in the check at its end."""
        run, before = engine(self._table(), self.store), len(self.cloud.changes)
        try:
            replacement.ask(run, replace, run.rows(only))
            replacement.clear_the_way(run, run.rows(only))
            run.up(CONFIG.model_copy(update=settings), only=only)
            if settle:
                replacement.settle(run)
        except Exception:
            run.journal.flush()
            raise
        run.journal.flush()
        return self.cloud.changes[before:]

    def dies(self, save, after_effect, *replace):
        """A command that ends in a death, before or after the effect of one of its saves."""
        self.store.saves, self.store.die_at, self.store.die_after_effect = 0, save, after_effect
        with pytest.raises(Death):
            self.up(*replace)
        self.store.die_at = None

    def _table(self):
        network = toy_step(self.cloud, "network", {"networks/n": {"mtu": 1460}})
        bucket = toy_step(
            self.cloud, "bucket", {"buckets/a": {"class": "STANDARD"}}, contents=lambda gcp, ref: self._contents(ref)
        )
        database = toy_step(self.cloud, "database", {}, declare=self._with_ids("databases"))
        server = toy_step(self.cloud, "server", {"servers/s": {"image": "a"}}, create=self._deploy)
        self._create = toy_step(self.cloud, "server", {}).create
        return [row(network), row(bucket, data=True), row(database, network, once=True), row(server, database)]

    def _contents(self, ref):
        return Contents(objects=self.objects if ref in self.cloud.resources else 0, bytes=self.objects)

    def _with_ids(self, kind):
        return lambda deployment, facts: {f"{kind}/{deployment.counters.get('database', 0)}": {"size": 10}}

    def _deploy(self, gcp, ref, body):
        if self.server_fails:
            raise GoogleRefused("no such image")
        self._create(gcp, ref, body)


@pytest.fixture
def command():
    """A deployment that stands."""
    command = Command()
    command.up()
    return command


ANEW = {
    "where its name stays, the old one goes first": (
        "networks/n",
        [("delete", "networks/n"), ("create", "networks/n")],
    ),
    "where it has ids, the new one is there before the old one goes": (
        "databases/0",
        [("create", "databases/1"), ("delete", "databases/0")],
    ),
}


@pytest.mark.parametrize(("ref", "changes"), ANEW.values(), ids=ANEW)
def test_one_thing_is_made_anew(command, ref, changes):
    """Once; the next command finds nothing to do."""
    assert command.up(ref) == changes
    assert command.up() == []


@pytest.mark.parametrize(("ref", "changes"), ANEW.values(), ids=ANEW)
def test_a_death_at_every_change_and_save(ref, changes):
    """The same command, or one without the option, makes what is missing; nothing is made anew a second time."""
    undisturbed = Command()
    undisturbed.up()
    undisturbed.store.saves = 0
    undisturbed.up(ref)
    saves = range(1, undisturbed.store.saves + 1)

    assert len(saves) > 4
    for save, after_effect, again in itertools.product(saves, (False, True), ([ref], [])):
        command = Command()
        command.up()
        begun = len(command.cloud.changes)
        command.dies(save, after_effect, ref)
        made, asked = command.cloud.changes[begun:], bool(read_ledger(command.store).replacing)
        command.up(*([] if made == changes and not asked else again))

        assert command.cloud.changes[begun:] == (changes if asked or made or again else []), f"save {save}"
        assert command.up() == []


def test_it_is_not_asked_for_twice_when_something_else_fails(command):
    """What was replaced before the failure stays replaced; the same command goes on with the rest."""
    del command.cloud.resources["servers/s"]
    command.server_fails = True
    with pytest.raises(GoogleRefused):
        command.up("networks/n", "databases/0")
    command.server_fails = False

    assert command.up("networks/n", "databases/0") == [("create", "servers/s"), ("delete", "databases/0")]


@pytest.mark.parametrize("ref", ["networks/n", "databases/0"])
def test_it_is_not_asked_for_twice_when_the_check_at_the_end_fails(command, ref):
    """`Run the same command again` is what the user is told then."""
    command.up(ref, settle=False)

    assert command.up(ref) == []
    assert command.up() == []


def test_of_a_thing_that_died_on_the_way_a_new_request_makes_another(command):
    """Once a command has come to its end, the next one means what it says."""
    command.up("networks/n")

    assert command.up("networks/n") == [("delete", "networks/n"), ("create", "networks/n")]


REFUSED = {
    "not in the ledger": (["networks/n", "networks/typo"], {}, "networks/typo is not in the ledger"),
    "left out by --only": (["servers/s"], {"only": ["network"]}, "is of the row server, which --only leaves out"),
}


@pytest.mark.parametrize(("refs", "options", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_before_anything_is_touched(command, refs, options, why):
    """Also what stands before it on the same line."""
    with pytest.raises(BadUsage, match=why):
        command.up(*refs, **options)

    assert command.up() == []


def test_what_holds_data_is_not_replaced(command):
    """The hint says how, if it may go; an empty one may."""
    command.objects = 3
    with pytest.raises(WouldLoseData, match="holds 3 objects, 3 bytes, which would be lost") as refused:
        command.up("buckets/a")
    command.objects = 0

    assert "down --only bucket --delete-data" in refused.value.hint
    assert command.up("buckets/a") == [("delete", "buckets/a"), ("create", "buckets/a")]


def test_what_the_settings_protect_is_not_replaced(command):
    """As it is not deleted."""
    command.up(protect=("network",))
    with pytest.raises(Protected):
        command.up("networks/n", protect=("network",))

    assert command.up() == []


def test_what_the_table_declares_no_more_stays_when_it_holds_data():
    """It is looked at again by every run, and listed by `down`."""
    cloud, store, objects = ToyCloud(), MemoryStore(), SimpleNamespace(count=1)

    def table(name):
        contents = {"contents": lambda gcp, ref: Contents(objects=objects.count, bytes=1)}
        return [row(toy_step(cloud, "bucket", {f"buckets/{name}": {"class": "STANDARD"}}, **contents), data=True)]

    def up(name):
        run = engine(table(name), store)
        run.up(CONFIG)
        run.journal.flush()

    up("a")
    up("b")
    kept = set(cloud.resources)
    objects.count = 0
    up("b")

    assert kept == {"buckets/a", "buckets/b"}
    assert set(cloud.resources) == {"buckets/b"}


def test_a_part_of_the_table_takes_nothing_from_the_rest(command):
    """A row that `--only` leaves out may still use what is declared no more; the next whole `up` takes it away."""
    assert command.up("databases/0", only=["database"]) == [("create", "databases/1")]
    assert command.up() == [("delete", "databases/0")]


def test_steps_without_data_are_asked_for_none():
    """`contents` is only asked where the table says that there is data of users."""
    assert step.no_contents(None, "networks/n") is None
