"""Runs one row at a time through the real client libraries, as the engine does, but without ledger and lease."""

from collections.abc import Iterator
from typing import Any

import google.auth.credentials

from provision import compare, operations, retry
from provision.deployment import Deployment
from provision.errors import OperationFailed
from provision.gcp import Gcp
from provision.plan import Plan, Row
from provision.step import Body, Change, FactBook, Operation, Ref, Stays, keep
from tests.conftest import PROJECT

CALLS = 5
"""As many as the engine allows for one goal."""


class Bench:
    """A deployment on an emulator, row by row.

    Args:
        url: The emulator's.
        deployment: What is declared from.
    """

    def __init__(self, url: str, deployment: Deployment) -> None:
        self.gcp = Gcp(PROJECT, google.auth.credentials.AnonymousCredentials(), url)
        self.deployment = deployment
        self.facts = FactBook()
        self.applied: dict[Ref, tuple[Row, Body]] = {}

    def close(self) -> None:
        """Close all connections."""
        self.gcp.close()

    def up(self, plan: Plan, *names: str) -> None:
        """Bring rows into being, all of them when none is named."""
        for row in plan:
            if not names or row.name in names:
                self.settle(row)

    def down(self, plan: Plan) -> None:
        """Take everything away that is ever deleted, in reverse order, each thing by itself."""
        for row in reversed(list(plan)):
            if row.step.delete is not keep:
                for ref in self.refs(row.name):
                    self.remove(ref)

    def refs(self, name: str) -> list[Ref]:
        """What a row has made."""
        return [ref for ref, (row, _) in self.applied.items() if row.name == name]

    def settle(self, row: Row) -> None:
        """Bring one row into being, or back to what it declares."""
        for ref, body in row.step.declare(self.deployment, self.facts).items():
            for _ in range(CALLS):
                live = self.read(row, ref)
                changes = None if live is None else self.differences(row, ref, body, live)
                if live is not None and not changes:
                    break
                self.wait(
                    row.step.create(self.gcp, ref, body)
                    if live is None
                    else row.step.update(self.gcp, ref, body, changes or [])
                )
                self.applied[ref] = (row, body)
            else:
                raise AssertionError(f"{row.name} does not settle: {ref}: {changes}")
            self.applied[ref] = (row, body)
            if (facts := row.step.facts(live)) is not None:
                self.facts.add(facts)

    def differences(self, row: Row, ref: Ref, body: Body, live: Body) -> list[Change]:
        """What the engine would change."""
        applied = self.applied[ref][1] if ref in self.applied else {}
        return compare.differences(body, live, applied, at_least=row.at_least, write_only=row.write_only)

    def drift(self) -> Iterator[tuple[str, Change | None]]:
        """Rows that are not as they were applied; None where something is gone."""
        for ref, (row, body) in self.applied.items():
            live = self.read(row, ref)
            found: list[Any] = [None] if live is None else self.differences(row, ref, body, live)
            yield from ((row.name, change) for change in found)

    def read(self, row: Row, ref: Ref) -> Body | None:
        """As the step reads it; None also for Google's not-found."""
        try:
            return row.step.read(self.gcp, ref)
        except Exception as error:
            if retry.absent(error):
                return None
            raise

    def remove(self, ref: Ref) -> None:
        """Take one thing away, from what is there and what was applied: no settings are at hand."""
        row, body = self.applied.pop(ref)
        delete = row.step.delete
        for _ in range(CALLS):
            live = self.read(row, ref)
            if live is None or not compare.remains(body, live):
                return
            try:
                self.wait(delete(self.gcp, ref, live, body))
            except OperationFailed:
                if row.refused is None or delete is row.refused:
                    raise
                delete = row.refused
            except Stays:
                return
        raise AssertionError(f"{ref} is still there")

    def wait(self, operation: Operation | None) -> None:
        """Poll until it is over; the emulator's operations take no time here."""
        while operation is not None and not operations.poll(self.gcp, operation):
            pass
