"""Bad settings get one message that names the key, the value and what is allowed."""

import pytest

from provision import tiers
from provision.config import REGIONS, load, parse
from provision.errors import BadConfig

LONGEST_PROJECT = "p" + "0" * 29

BAD = [
    pytest.param("", "project is missing", id="nothing at all"),
    pytest.param('project = "p"', "project = 'p' is not allowed; it must match", id="a project id that is too short"),
    pytest.param('project = "my-project"\ncolour = "red"', "colour is not a setting", id="an unknown key"),
    pytest.param('project = "my-project"\n[server]\nsize = 1', "server.size is not a setting", id="an unknown key in a table"),
    pytest.param('project = "my-project"\n[server]\ncpu = "many"', "server.cpu = 'many' is not allowed", id="a wrong type"),
    pytest.param('project = "my-project"\n[server]\ncpu = 3\nmemory_gb = 4', "server.cpu = 3 is not allowed: must be 1, an even number", id="a size that does not exist"),
    pytest.param('project = "my-project"\n[server]\nmemory_gb = 64', "memory_gb must lie between 0.6 and 6.1 for 1 cpu, and is 64", id="memory that does not fit the cpu"),
    pytest.param('project = "my-project"\nregion = "europe-north1"', "region = 'europe-north1' is not allowed: it has no App Engine flexible", id="a region without App Engine flexible"),
    pytest.param('project = "my-project"\n[access]\nusers = ["ada"]', "access.users.0 = 'ada' is not allowed", id="a member that is no e-mail"),
    pytest.param('project = "my-project"\n[network]\nname = "vpc"', "an existing network needs its subnet too", id="a network without its subnet"),
    pytest.param('project = "my-project"\n[door]\nclient_id = "1.apps.googleusercontent.com"', "a custom client needs both", id="a client without its secret"),
    pytest.param('project = "my-project"\n[server]\nworkers = 2', "the smallest tier that fits is db-g1-small", id="more connections than the tier has"),
    pytest.param('project = "my-project"\n[server]\nworkers = 16\ninstances = 20', "none: lower server.instances", id="more connections than any tier has"),
    pytest.param(f'project = "{LONGEST_PROJECT}"\n[server]\nservice = "{"a" * 29}"', "is 1 characters too long for this project", id="a service that makes the host name too long"),
    pytest.param("project = ", "is not valid TOML", id="no TOML"),
    pytest.param("a = " + "[" * 5000 + "]" * 5000, "nested too deeply", id="brackets without end"),
    pytest.param(".".join(["a"] * 3000) + " = 1", "a is not a setting", id="a key of three thousand parts"),
    pytest.param('project = "my-project"\nregion.' + ".".join(["a"] * 900) + " = 1", "region = {'a': {'a': {...}}} is not allowed", id="a table nine hundred levels deep"),
    pytest.param('project = "my-project"\nserver.instances = ' + "9" * 5000, "is not valid TOML", id="a number of five thousand digits"),
    pytest.param('project = "my-project"\nserver.instances = 0x' + "f" * 5000, "server.instances = a number of thousands of digits", id="the same in base 16"),
    pytest.param('project = "my-project"\n"\\u001b[2J" = 1', "'\\x1b[2J' is not a setting", id="a key that a terminal would obey"),
    pytest.param('project = "my-project"\n"two words" = 1', "'two words' is not a setting", id="a key that needs quotes"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD)
def test_bad_settings_are_named(text, words):
    """The message says which key, and the exit code is that of wrong usage."""
    with pytest.raises(BadConfig) as caught:
        parse(text)

    assert words in str(caught.value)
    assert caught.value.exit_code == 3


MEANT = [
    pytest.param("databse.disk_gb = 20", "databse is not a setting; did you mean database?", id="a table"),
    pytest.param("database.teir = 'x'", "database.teir is not a setting; did you mean database.tier?", id="a key"),
    pytest.param(
        "users = ['a']", "users is not a setting; did you mean access.users?", id="a key outside of its table"
    ),
    pytest.param("server.colour = 1", "server.colour is not a setting", id="a key like no other"),
    pytest.param("server.deep.er = 1", "server.deep is not a setting", id="a table in a table"),
]


@pytest.mark.parametrize(("text", "words"), MEANT)
def test_a_misspelt_setting_is_guessed(text, words):
    """Nobody reads through all settings for a letter."""
    with pytest.raises(BadConfig) as caught:
        parse(f'project = "my-project"\n{text}')

    assert str(caught.value) == f"provision.toml: {words}"


TYPES = [
    pytest.param("server.instances", "true", "should be a valid integer", id="a switch for a number"),
    pytest.param("server.instances", "'1'", "should be a valid integer", id="a text for a number"),
    pytest.param("server.instances", "1.0", "should be a valid integer", id="a fraction for a whole number"),
    pytest.param("server.memory_gb", "true", "should be a valid number", id="a switch for a fraction"),
    pytest.param("server.memory_gb", "'3'", "should be a valid number", id="a text for a fraction"),
    pytest.param("database.high_availability", "1", "should be a valid boolean", id="a number for a switch"),
    pytest.param("database.high_availability", "'yes'", "should be a valid boolean", id="a word for a switch"),
    pytest.param("access.users", "'ann@example.com'", "should be a list", id="a text for a list"),
    pytest.param("protect", "'sql_instance'", "should be a list", id="a row for a list of rows"),
    pytest.param("region", "1979-05-27", "should be a valid string", id="a date for a text"),
    pytest.param("server", "1", "should be a table", id="a number for a table"),
]


@pytest.mark.parametrize(("key", "value", "words"), TYPES)
def test_no_type_is_guessed(key, value, words):
    """What was meant by `instances = true`, nobody knows."""
    with pytest.raises(BadConfig) as caught:
        parse(f'project = "my-project"\n{key} = {value}')

    assert f"{key} = {value} is not allowed: {words}" in str(caught.value)


def test_a_whole_number_is_a_fraction_too():
    """`memory_gb = 3` is as good as 3.0."""
    assert parse('project = "my-project"\nserver.memory_gb = 3').server.memory_gb == 3.0


def test_how_files_travel_is_one_of_two_words():
    """A third one is told, with both."""
    with pytest.raises(BadConfig) as caught:
        parse('project = "my-project"\nartifacts.transfer = "proxied"')

    assert str(caught.value) == (
        "provision.toml: artifacts.transfer = 'proxied' is not allowed: should be 'direct' or 'signed'"
    )


RANGES = [
    pytest.param("999.8.0.0/22", "must be an IPv4 range", id="no address"),
    pytest.param("10.8.0.1/22", "has host bits set", id="an address inside of the range"),
    pytest.param("\u0661\u0660.8.0.0/22", "must be an IPv4 range", id="digits of another script"),
    pytest.param("10.8.0.0", "must be an IPv4 range", id="no length"),
    pytest.param("10.8.0.0/255.255.252.0", "must be an IPv4 range", id="a mask for a length"),
    pytest.param("fd00::/64", "must be an IPv4 range", id="IPv6"),
    pytest.param("0.0.0.0/0", "must be between a /8 and a /29", id="everything"),
    pytest.param("10.8.0.0/32", "must be between a /8 and a /29", id="one address"),
    pytest.param("10.8.0.0/30", "must be between a /8 and a /29", id="four addresses"),
    pytest.param("8.8.8.0/24", "must lie in one of the private ranges 10.0.0.0/8", id="a public range"),
    pytest.param("172.0.0.0/8", "must lie in one of the private ranges", id="more than a private range"),
    pytest.param("127.0.0.0/8", "must lie in one of the private ranges", id="loopback"),
    pytest.param("169.254.0.0/16", "must lie in one of the private ranges", id="link-local"),
    pytest.param("224.0.0.0/8", "must lie in one of the private ranges", id="multicast"),
    pytest.param("255.255.255.0/24", "must lie in one of the private ranges", id="the limited broadcast"),
]  # fmt: skip


@pytest.mark.parametrize(("cidr", "words"), RANGES)
def test_a_range_that_no_subnet_can_have(cidr, words):
    """Google would refuse it, after the network was made."""
    with pytest.raises(BadConfig) as caught:
        parse(f'project = "my-project"\nnetwork.cidr = "{cidr}"')

    assert f"network.cidr = '{cidr}' is not allowed: " in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "172.31.255.248/29", "192.168.0.0/16", "100.64.0.0/20", "240.0.0.0/8"])
def test_a_range_that_a_subnet_can_have(cidr):
    """From the widest to the narrowest, and in each kind of private range."""
    assert parse(f'project = "my-project"\nnetwork.cidr = "{cidr}"').network.cidr == cidr


TIERS = [
    pytest.param("db-custom-3-3840", "1 core, or an even number up to 96", id="three cores"),
    pytest.param("db-custom-0-0", "1 core, or an even number up to 96", id="no core"),
    pytest.param("db-custom-98-98304", "1 core, or an even number up to 96", id="too many cores"),
    pytest.param("db-custom-2-1024", "2 cores has 3840 to 13312 MB", id="too little memory"),
    pytest.param("db-custom-8-3840", "8 cores has 7424 to 53248 MB", id="too little memory for the cores"),
    pytest.param("db-custom-1-6912", "1 cores has 3840 to 6656 MB", id="too much memory for the cores"),
    pytest.param("db-custom-2-3900", "in steps of 256", id="memory between two steps"),
    pytest.param("db-custom-\u0662-\u0663840", "it must match", id="digits of another script"),
    pytest.param("db-custom-" + "9" * 5000 + "-3840", "it must match", id="five thousand digits"),
]


@pytest.mark.parametrize(("tier", "words"), TIERS)
def test_a_machine_that_does_not_exist(tier, words):
    """Cloud SQL's rules for custom machines."""
    with pytest.raises(BadConfig) as caught:
        parse(f'project = "my-project"\ndatabase.tier = "{tier}"')

    assert f"database.tier = '{tier[:20]}"[:30] in str(caught.value)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("need", [40, 90, 190, 390, 490, 590, 790, 990])
def test_the_tier_that_is_named_exists(need):
    """Whoever takes the advice is not refused again."""
    assert tiers.connections(tiers.smallest(need)) >= need


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("a\\u0000@example.com", id="NUL"),
        pytest.param("a\\u001b[2J@example.com", id="an escape sequence"),
        pytest.param("a\\u202eb@example.com", id="a change of direction"),
        pytest.param("a,b@example.com", id="a comma"),
        pytest.param("a?uid=1@example.com", id="a deleted account's mark"),
        pytest.param("deleted:a@example.com", id="a prefix"),
        pytest.param("a@example.com\\n", id="a line break at its end"),
        pytest.param("ä@example.com", id="letters that no address of Google's has"),
        pytest.param("a" * 250 + "@example.com", id="longer than any address"),
    ],
)
@pytest.mark.parametrize("key", ["access.users", "access.groups", "support_email"])
def test_what_is_no_address(key, address):
    """It would be refused by the policy that it comes into, or mean somebody else there."""
    value = f'"{address}"' if key == "support_email" else f'["{address}"]'
    with pytest.raises(BadConfig) as caught:
        parse(f'project = "my-project"\n{key} = {value}')

    assert key in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "address", ["Ada.Lovelace+x@Sub.Example.com", "o'neil_1@a-b.example", "x@p.iam.gserviceaccount.com"]
)
def test_what_is_an_address(address):
    """People, groups and accounts of programs."""
    assert parse(f'project = "my-project"\naccess.users = ["{address}"]').access.users == (address,)


def test_a_very_long_value_is_told_in_short():
    """A megabyte of it would hide what is wrong with it."""
    with pytest.raises(BadConfig) as caught:
        parse(f'project = "my-project"\nregion = "{"a" * 1_000_000}"')

    assert "region = 'aaa" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    """As some editors write it."""
    file = tmp_path / "provision.toml"
    file.write_bytes(b'\xef\xbb\xbfproject = "my-project"\n')

    assert load(file).project == "my-project"


def client(file):
    return parse(
        f'project = "my-project"\n[door]\nclient_id = "1-a.apps.googleusercontent.com"\nclient_secret_file = "{file}"'
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, "cannot be read: No such file", id="no file"),
        pytest.param(b" \n", "is empty", id="an empty file"),
        pytest.param(b"GOCSPX-\xff", "holds no OAuth client's secret", id="no text"),
        pytest.param("a folder", "is no file", id="a folder"),
    ],
)
def test_a_client_secret_that_cannot_be_used(tmp_path, content, words):
    """The error names the setting and the file, and nothing of what is in it."""
    file = tmp_path / "secret"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    with pytest.raises(BadConfig) as caught:
        client(file).door.client_secret()

    assert f"door.client_secret_file = '{file}' {words}" in str(caught.value)
    assert "GOCSPX" not in str(caught.value)
    assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, OSError)


def test_a_client_secret_is_not_kept(tmp_path):
    """Only where it lies is a setting; no repr and no log can show it."""
    file = tmp_path / "secret"
    file.write_text("GOCSPX-abc\n")
    settings = client(file)

    assert settings.door.client_secret() == "GOCSPX-abc"
    assert "GOCSPX" not in repr(settings)


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
    settings = parse('project = "my-project"')

    assert settings.region in REGIONS
    assert settings.server.connections <= settings.database.max_connections - 5


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
