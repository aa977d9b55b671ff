"""Keys of the log pusher: for programs that run where Google knows nobody, if the organization allows them at all.

They are not in the ledger. Google lists them all, those too that somebody else has made, and they go with the account.
"""

import base64
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from provision import constraints, retry
from provision.errors import BadUsage, NoAnswer, PolicyForbids, QuotaExceeded
from provision.gcp import Gcp
from provision.refusals import refusal_of
from provision.step import Ref

LASTS = timedelta(days=90)
"""After which a key is to be replaced by another one (https://cloud.google.com/iam/docs/key-rotation)."""

MOST = 10
"""Keys that an account may have (https://cloud.google.com/iam/quotas)."""

FORBIDDING = ("iam.disableServiceAccountKeyCreation", "iam.managed.disableServiceAccountKeyCreation")
"""Policies of organizations, the older and the newer one
(https://cloud.google.com/resource-manager/docs/organization-policy/restricting-service-accounts)."""


@dataclass(frozen=True)
class Key:
    """A key that somebody holds.

    Args:
        id: Its id.
        made: When it was made.
        due: When it has to be replaced: Google lets most keys live forever.
    """

    id: str
    made: datetime
    due: datetime

    def told(self, now: datetime) -> str:
        """What there is to say of it."""
        if now < self.due:
            return f"{self.id} of {self.made:%Y-%m-%d}, to be replaced by {self.due:%Y-%m-%d}"
        return f"{self.id} of {self.made:%Y-%m-%d} is to be replaced, for it is {(now - self.made).days} days old"


def listed(gcp: Gcp, account: Ref) -> list[Key]:
    """The keys of an account that somebody holds, oldest first."""
    calls = gcp.iam.projects().serviceAccounts().keys()
    answer = calls.list(name=account, keyTypes=["USER_MANAGED"]).execute()
    return sorted((_key(found) for found in answer.get("keys", [])), key=lambda key: key.made)


def _key(found: dict[str, str]) -> Key:
    made, ends = (datetime.fromisoformat(found[field]) for field in ("validAfterTime", "validBeforeTime"))
    return Key(found["name"].rpartition("/")[2], made, min(made + LASTS, ends))


def must_be_allowed(gcp: Gcp) -> None:
    """Make sure that no policy of the organization forbids keys, as far as the caller may know.

    Raises:
        PolicyForbids: One does.
    """
    for constraint in FORBIDDING:
        try:
            rules = constraints.in_effect(gcp, gcp.project, constraint)
        except Exception as error:
            if refusal_of(error) is None:
                raise
            continue  # then Google refuses the key itself
        if any(rule.get("enforce") for rule in rules):
            raise PolicyForbids(
                f"{constraint} is in effect: nobody may make keys in project {gcp.project}.",
                hint="A program on Google Cloud, in a pipeline or on somebody's machine needs none: python -m provision"
                " client says what it needs. Else let an administrator of the organization lift it for the project.",
            )


def must_have_room(account: Ref, known: list[Key]) -> None:
    """Make sure that an account may have one key more; Google's own answer to one too many does not say why.

    Raises:
        QuotaExceeded: It has as many as it may have.
    """
    if len(known) >= MOST:
        raise QuotaExceeded(
            f"{account.rpartition('/')[2]} has {len(known)} keys, and none may have more than {MOST}.",
            hint=f"Take one away that nobody uses: python -m provision client key revoke {known[0].id}",
        )


def must_lie_well(out: Path) -> None:
    """Make sure that a key could lie there, and not where everything is committed sooner or later.

    Raises:
        BadUsage: There is no such folder, the file is there already, or it lies in a git work tree.
    """
    if not out.parent.is_dir():
        raise BadUsage(f"There is no folder {out.parent}.", hint="Name a file in a folder that is there.")
    tree = next((above for above in out.resolve().parents if (above / ".git").exists()), None)
    if tree is not None:
        raise BadUsage(
            f"{out} lies in {tree}, a git work tree, where it would be committed sooner or later.",
            hint="Name a file outside of it, such as --out ~/mlflow-key.json.",
        )
    if os.path.lexists(out):
        raise BadUsage(
            f"{out} is there already, and may be a key that is in use.", hint="Name another file with --out."
        )


def make(gcp: Gcp, account: Ref, out: Path) -> Key:
    """Make a key and write it to a new file, which nobody else may read; a key that cannot be written is deleted again.

    Raises:
        ProvisionError: Google refuses it, or does not answer.
        OSError: The file cannot be written.
    """
    calls = gcp.iam.projects().serviceAccounts().keys()
    with _new_file(out) as file:  # before there is a key, which could not be asked for again
        try:
            found = calls.create(name=account, body={}).execute()
        except Exception as error:
            raise _explained(error, account) from error
        made = _key(found)
        try:
            file.write(base64.b64decode(found["privateKeyData"]))
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            revoke(gcp, account, made)
            raise
    return made


def _explained(error: Exception, account: Ref) -> Exception:
    told = retry.explained(error, f"making a key of {account}")
    if isinstance(told, NoAnswer):
        told.hint = (
            "It may have been made all the same, and nobody has it: python -m provision status lists the keys,"
            " python -m provision client key revoke KEY takes one away."
        )
    return told


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def revoke(gcp: Gcp, account: Ref, key: Key) -> None:
    """Delete a key: nothing that is signed with it is believed any more; it may be gone already."""
    try:
        gcp.iam.projects().serviceAccounts().keys().delete(name=f"{account}/keys/{key.id}").execute()
    except Exception as error:
        if not retry.absent(error):
            raise
