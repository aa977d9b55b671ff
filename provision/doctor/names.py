"""Names: whether something that is not ours is there under one that is to be used."""

from collections.abc import Iterator

from provision import compare, retry, together
from provision.doctor.facts import Facts
from provision.doctor.telling import Finding, blocked, ok, unasked, unchecked
from provision.errors import ApiDisabled, NotOurs
from provision.plan import Row
from provision.step import Body, Ref


def free(facts: Facts) -> Iterator[Finding]:
    """Whether something that is not ours is there under a name that is to be used; see --adopt."""
    is_first = facts.ledger is None  # while that cannot be told, nobody knows what is ours
    ahead = [(row, ref, body) for row, ref, body in facts.ahead if ref and not facts.adopts(ref)]
    told = [found for answer in together.ask(lambda item: _said(facts, *item), ahead) if (found := answer.result())]
    if any(found.error for found in told) and is_first and facts.has_begun():
        yield unchecked("Another run has begun this deployment meanwhile; up looks again when it is its turn.")
        return
    off = [found for found in told if found.cause is ApiDisabled]
    yield from (found for found in told if found not in off)
    if off:
        yield unchecked(f"Whether {len(off)} of {len(ahead)} names are free, since APIs are off that up switches on.")
    if not is_first and facts.makes("sql_instance"):
        yield unchecked("Whether Google keeps the name of a deleted database cannot be asked; up then takes another.")
    if not told:
        yield ok(f"All {len(ahead)} names that are to be used are free." if ahead else "No new name is needed.")


def _said(facts: Facts, row: Row, ref: Ref, body: Body) -> Finding | None:
    try:
        live = row.step.read(facts.gcp, ref)
    except Exception as error:  # noqa: BLE001 - the other names are told
        return None if retry.absent(error) else unasked(error, about=ref)
    if live is None or not row.is_strangers(live, facts.planned_in.records.get(ref), facts.deployment.id):
        return None
    found = compare.differences(body, live, {}, at_least=row.at_least, write_only=row.write_only)
    differs = "; ".join(map(str, found)) or "nothing but the mark"
    return blocked(NotOurs(f"{ref} exists already and does not carry our mark ({row.title}). What differs: {differs}"))
