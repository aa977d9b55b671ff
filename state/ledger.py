"""The ledger: what a deployment is made of, what was last done to each thing, and what is about to be done.

Rules that hold for all of this file:

1. Equal ledgers are equal bytes: keys are sorted, and nothing depends on the machine or the time.
2. Reading and writing loses nothing: fields of a later release that this one does not know are kept.
3. A ledger of a newer schema is refused, since what this release does not understand it could destroy; one of an older
   schema is read by what `upgrades` makes of it.
4. What was not saved whole is not believed: a digest over the content says so, wherever the file has lain.
5. No secret is ever in it.

There is no input or output here; `journal` saves ledgers.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from state.errors import DamagedLedger, Moved, NewerSchema
from state.upgrades import UPGRADES

SCHEMA_VERSION = 2

Verb = Literal["create", "update", "delete"]
Body = dict[str, Any]


class Entry(BaseModel):
    """A part of the ledger; fields that this release does not know are kept as they came."""

    model_config = ConfigDict(extra="allow")


class Deed(Entry):
    """One change of one thing, intended (`pending`) or finished (`done`).

    Attributes:
        verb: what is done to the thing.
        run: the run that does it.
        serial: the ledger's serial when it was entered.
        at: when it was entered (UTC, ISO 8601).
        before: the managed fields as they were, None when there was nothing.
        after: the managed fields as they shall be, None when nothing shall remain.
        operation: the name of Google's operation, as soon as it is known.
        request: what the call says it is (a UUID), so that Google knows one that it has had before; the same as long as
            nobody has heard what became of it.
    """

    verb: Verb
    run: str
    serial: int
    at: str
    before: Body | None = None
    after: Body | None = None
    operation: str | None = None
    request: str = ""


class Waits(Entry):
    """Why something could not be deleted yet.

    Attributes:
        why: what Google says of it.
        since: when it was first refused (UTC, ISO 8601).
    """

    why: str
    since: str


class Record(Entry):
    """One thing in the cloud that this deployment made or took over.

    Attributes:
        ref: its full resource name.
        step: the step that knows how to treat it.
        needs: the steps that the table said it needs when this was written; for who reads the ledger, and for a release
            whose table has the step no more: what is done first and last is asked of the table.
        body: the managed fields as they were last applied.
        adopted: whether it was there before us, so that `down` leaves it.
        found: what of the body was there before our first change, so that `down` leaves that.
        protected: whether the user forbade its deletion.
        keep: why `down` keeps it, None when it does not.
        waits: why it could not be deleted yet, None when nobody tried or nothing stands in its way.
        replaced: whether the user asked for another one in its place: this one goes.
        pending: the change that was begun; after a crash it may or may not have happened.
        done: the last finished change.
    """

    ref: str
    step: str
    needs: list[str] = Field(default_factory=list)
    body: Body = Field(default_factory=dict)
    adopted: bool = False
    found: Body = Field(default_factory=dict)
    protected: bool = False
    keep: str | None = None
    waits: Waits | None = None
    replaced: bool = False
    pending: Deed | None = None
    done: Deed | None = None

    @property
    def never_was(self) -> bool:
        """Whether we were about to make it, and nobody was ever told that it is there."""
        return self.done is None and not self.adopted


class Rollback(Entry):
    """The way back that was begun last: under way until a run has arrived, and then what tells where that has led.

    Attributes:
        to: the run before which everything shall be as it was.
        by: the run that has arrived there, "" as long as none has.
        restore: what shall be as it was then, by ref.
        release: refs that were there before us, and are known no more once they are as they were.
        remove: refs that were made since.
        salt: the suffix that names had then, "" to leave it as it is.
        counters: by step, how often Google had wanted a new id then; those of other steps stay as they are.
    """

    to: str
    by: str = ""
    restore: dict[str, Record] = Field(default_factory=dict)
    release: dict[str, Body] = Field(default_factory=dict)
    remove: list[str] = Field(default_factory=list)
    salt: str = ""
    counters: dict[str, int] = Field(default_factory=dict)


class Ledger(Entry):
    """All that is known of one deployment, enough to take it down without any config.

    Attributes:
        deployment: the nonce (8 hex digits) that marks all that is ours.
        salt: the suffix of names that Google keeps reserved, or that are global.
        impersonate: a place kept in the schema for the account whose rights are used; nothing sets or reads it yet, and
            every run uses the rights of its own credentials.
        serial: counts the saves.
        write_id: unlike for every attempt to save, so that a lost answer can be told from a rival's write.
        run: the run that saved it last.
        runners: who has run `up`, as IAM members.
        counters: by step, how often Google wanted a new id.
        rollback: the way back that was begun last, None when it was abandoned or something was done since.
        proved: the serial of the newest change that a verification which held was about; what is newer is unproven.
        replacing: refs that an `up` which has not come to its end was asked to make anew.
        records: by ref.
        facts: by step, what only the server could tell.
    """

    schema_version: int = SCHEMA_VERSION
    deployment: str
    salt: str
    env: str = "default"
    project: str
    project_number: str
    region: str
    impersonate: str | None = None
    serial: int = 0
    write_id: str = ""
    run: str = ""
    runners: list[str] = Field(default_factory=list)
    counters: dict[str, int] = Field(default_factory=dict)
    rollback: Rollback | None = None
    proved: int = 0
    replacing: list[str] = Field(default_factory=list)
    records: dict[str, Record] = Field(default_factory=dict)
    facts: dict[str, Body] = Field(default_factory=dict)


def dumps(ledger: Ledger) -> bytes:
    """The ledger as sorted, indented JSON, with a `digest` of all the rest."""
    content = ledger.model_dump()
    return json.dumps({**content, "digest": _digest(content)}, sort_keys=True, indent=1).encode() + b"\n"


def loads(data: bytes, name: str = "ledger.json") -> Ledger:
    """The ledger that was saved as these bytes.

    A file without a digest is believed, so that one can be mended by hand.

    Args:
        data: what `dumps` gave, of this or an earlier release.
        name: what to call it in an error.

    Raises:
        DamagedLedger: it is cut off, is no JSON, or does not match its digest.
        NewerSchema: a later release wrote it.
        Moved: it is no ledger but a signpost to one.
    """
    content = _parsed(data, name)
    if isinstance(to := content.get("moved_to"), str) and "deployment" not in content:
        raise Moved(name, to)
    found = content.get("schema_version")
    if type(found) is not int or found < 1:
        raise DamagedLedger(name, "it does not say of which schema it is")
    if found > SCHEMA_VERSION:
        raise NewerSchema(name, found, SCHEMA_VERSION)
    digest = content.pop("digest", None)
    if digest is not None and digest != _digest(content):
        raise DamagedLedger(name, "its content does not match its digest, so it was changed or only partly written")
    for older in range(found, SCHEMA_VERSION):
        content = UPGRADES[older](content)
    try:
        return Ledger.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DamagedLedger(name, f"{place}: {first['msg']}") from None


def signpost(to: str) -> bytes:
    """What is left where a ledger was: where it has gone; releases that know no signposts refuse it as damaged."""
    return json.dumps({"moved_to": to}, indent=1).encode() + b"\n"


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    if not data.strip():
        raise DamagedLedger(name, "it is empty")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:  # ValueError: also bytes that are no text
        raise DamagedLedger(name, f"it is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise DamagedLedger(name, "it is no JSON object")
    return content


def _digest(content: dict[str, Any]) -> str:
    """Of the content and not of the file, so that a digest survives another indentation."""
    return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
