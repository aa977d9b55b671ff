"""The ledger: bytes and back, whatever is in it."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import DamagedLedger, Moved, NewerSchema
from state.ledger import SCHEMA_VERSION, Deed, Ledger, Record, dumps, loads, signpost

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(), JSON, max_size=3)
LATER = BODIES.map(lambda body: {f"later_{key}": value for key, value in body.items()})
DEEDS = st.builds(
    lambda later, **fields: fields | later,
    LATER,
    verb=st.sampled_from(["create", "update", "delete"]),
    run=st.text(),
    serial=st.integers(0),
    at=st.text(),
    before=st.none() | BODIES,
    after=st.none() | BODIES,
    operation=st.none() | st.text(),
    request=st.text(),
)
RECORDS = st.builds(
    lambda later, **fields: fields | later,
    LATER,
    ref=st.text(),
    step=st.text(),
    needs=st.lists(st.text(), max_size=2),
    body=BODIES,
    adopted=st.booleans(),
    found=BODIES,
    protected=st.booleans(),
    keep=st.none() | st.text(),
    waits=st.none() | st.fixed_dictionaries({"why": st.text(), "since": st.text()}),
    replaced=st.booleans(),
    pending=st.none() | DEEDS,
    done=st.none() | DEEDS,
)
LEDGERS = st.builds(
    lambda later, **fields: fields | later,
    LATER,
    schema_version=st.just(SCHEMA_VERSION),
    deployment=st.text(),
    salt=st.text(),
    env=st.text(),
    project=st.text(),
    project_number=st.text(),
    region=st.text(),
    impersonate=st.none() | st.text(),
    serial=st.integers(0),
    write_id=st.text(),
    run=st.text(),
    runners=st.lists(st.text(), max_size=2),
    counters=st.dictionaries(st.text(), st.integers(0), max_size=2),
    records=st.dictionaries(st.text(), RECORDS, max_size=2),
    rollback=st.none()
    | st.fixed_dictionaries(
        {
            "to": st.text(),
            "by": st.text(),
            "restore": st.dictionaries(st.text(), RECORDS, max_size=1),
            "release": st.dictionaries(st.text(), BODIES, max_size=1),
            "remove": st.lists(st.text(), max_size=1),
            "salt": st.text(),
            "counters": st.dictionaries(st.text(), st.integers(0), max_size=1),
        }
    ),
    proved=st.integers(0),
    replacing=st.lists(st.text(), max_size=1),
    facts=st.dictionaries(st.text(), BODIES, max_size=2),
)


def turned_over(value):
    """The same JSON, with the keys of every object the other way round."""
    if isinstance(value, dict):
        return {key: turned_over(value[key]) for key in reversed(value)}
    return [turned_over(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(LEDGERS)
def test_nothing_is_lost_on_the_way_to_bytes_and_back(content):
    """Fields of a later release survive as well, at every level."""
    there_and_back = json.loads(dumps(loads(json.dumps(content).encode())))

    del there_and_back["digest"]
    assert there_and_back == content


@settings(deadline=None)
@given(LEDGERS)
def test_equal_ledgers_are_equal_bytes(content):
    """In whatever order things were entered, and whether read from a file or made here."""
    one, other = Ledger.model_validate(content), Ledger.model_validate(turned_over(content))

    assert one == other
    assert dumps(one) == dumps(other)
    assert loads(dumps(one)) == one
    assert dumps(loads(dumps(one))) == dumps(one)


@settings(deadline=None)
@given(LEDGERS, st.data())
def test_a_changed_byte_is_found_out(content, data):
    """Or else it changed nothing of the content: where it hit the digest's own name, that is a field unknown here."""
    whole = dumps(Ledger.model_validate(content))
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] + data.draw(st.binary(min_size=1, max_size=1)) + whole[place + 1 :]

    try:
        read = loads(damaged).model_dump()
    except (DamagedLedger, NewerSchema):
        return

    known = loads(whole).model_dump()
    assert {name: read.get(name) for name in known} == known


def test_a_ledger_that_was_cut_off_anywhere_is_found_out(new_ledger):
    """A file that a full disk or a lost connection left unfinished is never taken for a shorter ledger."""
    deed = Deed(verb="create", run="r", serial=1, at="2026-11-23T00:00:00+00:00", after={"tier": "db-f1-micro"})
    record = Record(ref="projects/p/instances/i", step="sql_instance", pending=deed)
    whole = dumps(new_ledger(records={record.ref: record}))

    survivors = [length for length in range(len(whole) - 1) if not _is_refused(whole[:length])]

    assert survivors == []
    assert loads(whole[:-1]) == loads(whole)  # only the newline at the end is missing


def _is_refused(data):
    try:
        loads(data)
    except DamagedLedger:
        return True
    return False


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"", "it is empty", id="an empty file"),
        pytest.param(b" \n", "it is empty", id="a file of spaces"),
        pytest.param(b"{", "it is no JSON", id="half an object"),
        pytest.param(b"\xff\xfe\xff", "it is no JSON", id="bytes that are no text"),
        pytest.param(b"[" * 100_000, "it is no JSON", id="a nest without a bottom"),
        pytest.param(b"[]", "it is no JSON object", id="a list"),
        pytest.param(b"{}", "it does not say of which schema it is", id="an object that says nothing"),
        pytest.param(b'{"schema_version": 0}', "it does not say of which schema", id="a schema before the first"),
        pytest.param(b'{"schema_version": true}', "it does not say of which schema", id="a schema that is no number"),
        pytest.param(b'{"schema_version": 1}', "deployment: Field required", id="a ledger without a deployment"),
        pytest.param(
            b'{"schema_version": 1, "digest": "sha256:00"}', "does not match its digest", id="the digest of another"
        ),
    ],
)
def test_a_damaged_ledger_is_refused_with_the_reason(data, why):
    """And the file's name is in the message."""
    with pytest.raises(DamagedLedger, match=r"prod/ledger\.json") as refusal:
        loads(data, "prod/ledger.json")

    assert why in str(refusal.value)


def test_a_ledger_of_a_newer_release_is_refused_whatever_else_it_holds():
    """What it means is unknown here, its digest included."""
    with pytest.raises(NewerSchema, match=f"schema {SCHEMA_VERSION + 1}, and this release knows"):
        loads(json.dumps({"schema_version": SCHEMA_VERSION + 1, "digest": {"of": "another kind"}}).encode())


def test_a_ledger_of_the_first_schema_is_read_as_one_of_today():
    """A file as the first release wrote it: what was dropped since is gone, and all else is there."""
    old = Path(__file__).with_name("ledger-schema-1.json").read_bytes()

    ledger = loads(old)
    before, after = json.loads(old), json.loads(dumps(ledger))

    assert ledger.schema_version == SCHEMA_VERSION
    assert all("parent" in record for record in before["records"].values())
    for record in before["records"].values():
        del record["parent"]
    known = set(before) - {"digest", "schema_version", "records"}
    assert {field: after[field] for field in known} == {field: before[field] for field in known}
    for ref, record in before["records"].items():
        assert Record.model_validate(after["records"][ref]) == Record.model_validate(record)


def test_an_old_ledger_that_was_changed_is_found_out_before_it_is_upgraded():
    """Its digest is of what the old release wrote."""
    old = Path(__file__).with_name("ledger-schema-1.json").read_bytes()

    with pytest.raises(DamagedLedger, match="digest"):
        loads(old.replace(b"europe-west1", b"europe-west2"))


@pytest.mark.parametrize("records", [None, 7, ["a"], {"projects/p/x": None}], ids=repr)
def test_an_old_ledger_that_makes_no_sense_is_damaged(records, new_ledger):
    """Upgrading is no place to fail."""
    content = {**new_ledger().model_dump(), "schema_version": 1, "records": records}

    with pytest.raises(DamagedLedger, match="records"):
        loads(json.dumps(content).encode())


def test_a_signpost_says_where_the_ledger_is():
    """It is no damaged ledger."""
    with pytest.raises(Moved, match=r"ledger\.json has moved to gs://there/prod/") as told:
        loads(signpost("gs://there/prod/"))

    assert told.value.to == "gs://there/prod/"


def test_a_ledger_mended_by_hand_is_read_once_its_digest_is_taken_out(new_ledger):
    """A digest that does not match is refused, none at all is believed."""
    content = json.loads(dumps(new_ledger())) | {"region": "us-central1"}

    with pytest.raises(DamagedLedger, match="digest"):
        loads(json.dumps(content).encode())
    del content["digest"]

    assert loads(json.dumps(content).encode()).region == "us-central1"


def test_an_error_about_a_field_shows_no_value(new_ledger):
    """Errors are printed, and a ledger may say who may sign in."""
    content = new_ledger().model_dump() | {"counters": {"server": "somebody@example.com"}}

    with pytest.raises(DamagedLedger, match=r"counters\.server") as refusal:
        loads(json.dumps(content).encode())

    assert "somebody" not in str(refusal.value)
