"""Bad settings get one message that names the key, the value and what is allowed."""

import pytest

from provision.config import REGIONS, load, parse
from provision.errors import BadConfig

BAD = [
    pytest.param("", "project is missing", id="nothing at all"),
    pytest.param('project = "p"', "project = 'p' is not allowed; it must match", id="a project id that is too short"),
    pytest.param('project = "my-project"\ncolour = "red"', "colour is not a setting", id="an unknown key"),
    pytest.param('project = "my-project"\n[server]\nsize = 1', "server.size is not a setting", id="an unknown key in a table"),
    pytest.param('project = "my-project"\n[server]\ncpu = "many"', "server.cpu = 'many' is not allowed", id="a wrong type"),
    pytest.param('project = "my-project"\n[server]\ncpu = 3\nmemory_gb = 4', "server.cpu: must be 1, an even number", id="a size that does not exist"),
    pytest.param('project = "my-project"\n[server]\nmemory_gb = 64', "memory_gb must lie between 0.6 and 6.1", id="memory that does not fit the cpu"),
    pytest.param('project = "my-project"\nregion = "europe-north1"', "europe-north1 has no App Engine flexible", id="a region without App Engine flexible"),
    pytest.param('project = "my-project"\n[access]\nusers = ["ada"]', "access.users.0 = 'ada' is not allowed", id="a member that is no e-mail"),
    pytest.param('project = "my-project"\n[network]\nname = "vpc"', "an existing network needs its subnet too", id="a network without its subnet"),
    pytest.param('project = "my-project"\n[door]\nclient_id = "1.apps.googleusercontent.com"', "a custom client needs both", id="a client without its secret"),
    pytest.param('project = "my-project"\n[server]\nworkers = 2', "the smallest tier that fits is db-g1-small", id="more connections than the tier has"),
    pytest.param('project = "my-project"\n[server]\nworkers = 16\ninstances = 20', "none: lower server.instances", id="more connections than any tier has"),
    pytest.param("project = ", "is not valid TOML", id="no TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD)
def test_bad_settings_are_named(text, words):
    """The message says which key, and the exit code is that of wrong usage."""
    with pytest.raises(BadConfig) as caught:
        parse(text)

    assert words in str(caught.value)
    assert caught.value.exit_code == 3


def test_all_mistakes_are_told_at_once():
    """Nobody has to run the command once per mistake."""
    with pytest.raises(BadConfig) as caught:
        parse('region = "x"\ncolour = "red"')

    assert len(str(caught.value).splitlines()) == 3


def test_an_unreadable_file_is_named(tmp_path):
    """A file that is not there, or no text, is an error of the same kind."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")

    for path in (tmp_path / "missing.toml", binary):
        with pytest.raises(BadConfig, match=path.name):
            load(path)


def test_only_the_project_has_no_default():
    """One line is a whole config."""
    config = parse('project = "my-project"')

    assert config.region in REGIONS
    assert config.server.connections <= config.database.max_connections - 5


@pytest.mark.parametrize(
    ("tier", "connections"),
    [
        pytest.param("db-f1-micro", 25, id="the smallest"),
        pytest.param("db-g1-small", 50, id="the second"),
        pytest.param("db-custom-1-3840", 100, id="one core"),
        pytest.param("db-custom-2-7680", 400, id="two cores"),
        pytest.param("db-custom-8-30720", 600, id="eight cores"),
    ],
)
def test_connections_by_tier(tier, connections):
    """As Cloud SQL's page on flags lists them."""
    assert parse(f'project = "my-project"\n[database]\ntier = "{tier}"').database.max_connections == connections
