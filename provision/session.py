"""Opens a deployment: takes the lease, opens the ledger, hands it out, with an engine if asked; or lets one look."""

import contextlib
import getpass
import secrets
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from provision import errors, log
from provision.bootstrap import Project
from provision.clock import Clock
from provision.config import Config
from provision.engine import Engine
from provision.gcp import Gcp, changes_something
from provision.plan import Plan
from state import errors as state_errors
from state import history
from state.events import EventLog
from state.gcs import GcsStore
from state.journal import Instead, Journal, Pace, read_ledger
from state.ledger import Ledger
from state.lock import Lease, look
from state.store import Store

FRONT_DOOR = 32 * 1024 * 1024
"""Bytes that a request may have (https://cloud.google.com/appengine/docs/flexible/how-requests-are-handled)."""


@contextlib.contextmanager
def reading(gcp: Gcp, store: Store) -> Iterator[Ledger]:
    """The ledger as it is now, for commands that change nothing: every changing request is refused meanwhile.

    Raises:
        NothingDeployed: There is no ledger.
        LedgerUnreadable, LedgerDamaged, LedgerLost, LedgerMoved: See ledger_at.
    """
    with read_only(gcp):
        ledger = ledger_at(store)
        if ledger is None:
            raise errors.NothingDeployed(f"There is no ledger at {store}.")
        yield ledger


def ledger_at(store: Store) -> Ledger | None:
    """The ledger as it is saved, None when there never was one.

    Raises:
        LedgerUnreadable: It is of a newer version.
        LedgerDamaged: It is cut off, or not what was once saved.
        LedgerLost: There was one, as its history says.
        LedgerMoved: It is in another place by now.
    """
    with in_words_of_ours(store):
        return read_ledger(store)


def holder_of(store: Store) -> str | None:
    """Who holds the lease and what they are at, None when nobody does."""
    with in_words_of_ours(store):
        locked = look(store)
    return _busy(locked) if locked else None


def must_fit(ledger: Ledger, config: Config) -> None:
    """Make sure that a ledger is the one of a deployment that the settings can mean.

    Raises:
        BadConfig: It is the ledger of another project or environment.
        CannotChangeInPlace: The deployment lies in another region.
    """
    for key, there, here in (("project", ledger.project, config.project), ("env", ledger.env, config.env)):
        if there != here:
            raise errors.BadConfig(
                f"{key} = {here!r}, but the ledger that --state names is that of {key} = {there!r}.",
                hint="Give every project and env a ledger of its own, or correct provision.toml.",
            )
    if ledger.records and ledger.region != config.region:
        raise errors.CannotChangeInPlace(
            f"region = {config.region!r}: the deployment lies in {ledger.region}, and nothing of it can be moved."
        )


def origin_of(ledger: Ledger) -> str:
    """Where the server is reached: scheme, host and port.

    Raises:
        NothingDeployed: No run has come so far.
    """
    origin = ledger.facts.get("server", {}).get("origin")
    if origin is None:
        raise errors.NothingDeployed("There is no server yet.", hint="Run python -m provision up to its end.")
    return str(origin)


def log_pusher_of(ledger: Ledger) -> str:
    """E-mail of the account that clients use; see log_pusher_ref."""
    return log_pusher_ref(ledger).rpartition("/")[2]


def log_pusher_ref(ledger: Ledger) -> str:
    """Full name of the account that clients use.

    Raises:
        NothingDeployed: No run has come so far.
    """
    account = next((ref for ref in ledger.records if "-log-pusher@" in ref and "/iamPolicy" not in ref), None)
    if account is None:
        raise errors.NothingDeployed("The log pusher is not there yet.", hint="Run python -m provision up to its end.")
    return account


def client_environment_of(ledger: Ledger) -> dict[str, str]:
    """What MLflow's client must be told beside the server's address and a token, as environment variables.

    Where the server signs links to files, a client goes by one from half of what the front door takes; by itself it
    sends up to 500 MB in one request, and before MLflow 3.15 any file, since it does not ask what the server can do.
    """
    if not any(record.step == "signing_rights" for record in ledger.records.values()):
        return {}
    return {
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(FRONT_DOOR // 2),
    }


@contextlib.contextmanager
def read_only(gcp: Gcp, *, but: Store | None = None) -> Iterator[None]:
    """Refuse every request that would change something, as long as this is entered.

    Args:
        gcp: The clients.
        but: A place that may be written to all the same: that of a lease that is held meanwhile, and kept alive.
    """

    def refuse(method: str, url: str) -> None:
        if changes_something(method, url) and not (but is not None and _is_of(but, url)):
            raise AssertionError(f"a command that only looks tried to {method} {url}")

    before, gcp.gate = gcp.gate, refuse
    try:
        yield
    finally:
        gcp.gate = before


def new_run(clock: Clock) -> str:
    """Name a run: when it began, and four letters so that two of the same second differ."""
    return f"{clock.now():%Y%m%dT%H%M%SZ}-{''.join(secrets.choice(string.ascii_lowercase) for _ in range(4))}"


@dataclass(frozen=True)
class Parts:
    """What a session is put together from: a simulation gives them its own time and threads.

    Args:
        lease: Makes the lease.
        journal: Makes the journal.
        events: Makes the log that is kept beside the ledger.
        engine: Makes the engine.
        name: Names the run.
    """

    lease: Callable[..., Lease] = Lease
    journal: Callable[..., Journal] = Journal
    events: Callable[[Store, str], contextlib.AbstractContextManager[EventLog]] = EventLog
    engine: Callable[..., Engine] = Engine
    name: Callable[[Clock], str] = new_run


@dataclass(frozen=True)
class Held:
    """What a run that changes something has while it holds the lease.

    Args:
        journal: The open ledger.
        run: The run's id.
        doing: Told what is being worked on, for a rival that waits.
    """

    journal: Journal
    run: str
    doing: Callable[[str], None]


@contextlib.contextmanager
def holding(
    gcp: Gcp,
    store: Store,
    clock: Clock,
    *,
    initial: Callable[[], Ledger],
    instead: Instead | None = None,
    runner: str = "",
    lock_timeout: float | None = None,
    pace: Pace | None = None,
    logged: bool = True,
    parts: Parts = Parts(),
) -> Iterator[Held]:
    """Hold the lease and the open ledger; what happens meanwhile is logged beside it.

    Args:
        gcp: The clients; every changing request through them checks the lease while this is entered.
        store: Where the ledger lies.
        clock: Whose time passes.
        initial: Makes the first ledger; may raise when there must be one.
        instead: Makes a ledger to be saved in the place of the one that is there; see Journal.open.
        runner: The IAM member that runs it.
        lock_timeout: Seconds to wait for another run; the lease and its margin when None.
        pace: How fast the ledger may be saved; as Cloud Storage bears it when None.
        logged: Whether the run leaves a log; not one that removes everything.
        parts: What all this is put together from.

    Raises:
        LockedByAnotherRun: Another run holds the lease to the end of the wait.
        LostTheLease: Another run has taken over.
        LedgerUnreadable, LedgerDamaged, LedgerLost, LedgerMoved: See ledger_at.
    """
    run, who = parts.name(clock), runner or getpass.getuser()
    with (
        in_words_of_ours(store),
        parts.lease(store, run=run, who=who, lock_timeout=lock_timeout, on_wait=_tell_who_is_waited_for) as lease,
    ):
        journal = parts.journal(store, pace=pace)
        journal.open(run, initial, instead, lease.check)

        def fence(method: str, url: str) -> None:
            if changes_something(method, url) and not _is_of(store, url):
                lease.check()

        def doing(what: str) -> None:
            lease.doing = what

        before, gcp.gate = gcp.gate, fence
        try:
            with _event_log(parts, store, run, who) if logged else contextlib.nullcontext():
                yield Held(journal, run, doing)
                journal.flush()
        except BaseException:
            with contextlib.suppress(state_errors.StateError):  # the run's own error is what the user must see
                journal.flush()
            raise
        finally:
            gcp.gate = before


@contextlib.contextmanager
def changing(
    plan: Plan,
    gcp: Gcp,
    store: Store,
    clock: Clock,
    *,
    initial: Callable[[], Ledger],
    runner: str = "",
    joins: bool = True,
    lock_timeout: float | None = None,
    pace: Pace | None = None,
    parts: Parts = Parts(),
) -> Iterator[Engine]:
    """Hold the lease and the open ledger, and hand out an engine whose every change is fenced by both.

    Args:
        plan: The table of steps.
        gcp: The clients.
        store: Where the ledger lies.
        clock: Whose time passes.
        initial: Makes the first ledger; may raise when there must be one.
        runner: The IAM member that runs it.
        joins: Whether the ledger remembers them as one of those who deploy, to whom rights are granted.
        lock_timeout: Seconds to wait for another run.
        pace: How fast the ledger may be saved.
        parts: What all this is put together from.

    Raises:
        ProvisionError: See holding.
    """
    with holding(
        gcp, store, clock, initial=initial, runner=runner, lock_timeout=lock_timeout, pace=pace, parts=parts
    ) as held:
        journal = held.journal
        if joins and runner and runner not in journal.ledger.runners:
            journal.note(lambda ledger: ledger.runners.append(runner))
        yield parts.engine(plan, gcp, journal, held.run, clock, doing=held.doing)


def leased(store: Store, run: str, lock_timeout: float | None) -> Lease:
    """The lease of a place that this run needs besides its own, to be entered."""
    return Lease(store, run=run, who=getpass.getuser(), lock_timeout=lock_timeout, on_wait=_tell_who_is_waited_for)


@contextlib.contextmanager
def _event_log(parts: Parts, store: Store, run: str, who: str) -> Iterator[None]:
    """Let all that is logged be kept beside the ledger too."""
    logger = structlog.get_logger().bind(run=run)
    with parts.events(store, run) as events, log.heard_by(events.add):
        logger.debug("run.begun", who=who)
        try:
            yield
        except BaseException as error:
            logger.debug("run.failed", error=type(error).__name__, why=str(error))
            raise
        logger.debug("run.ended")


def new_salt() -> str:
    """Make a suffix for names: a letter, then letters and digits."""
    tail = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(3))
    return secrets.choice(string.ascii_lowercase) + tail


def first_ledger(project: Project, config: Config) -> Ledger:
    """Make the ledger of a deployment that does not exist yet."""
    return Ledger(
        deployment=secrets.token_hex(4),
        salt=new_salt(),
        env=config.env,
        project=project.id,
        project_number=project.number,
        region=config.region,
    )


def _is_of(store: Store, url: str) -> bool:
    """Whether a request is the ledger's or the lease's own: those are fenced by generation."""
    bucket = str(store).removeprefix("gs://").partition("/")[0]
    return isinstance(store, GcsStore) and f"/b/{bucket}/" in url


def _tell_who_is_waited_for(locked: state_errors.Locked) -> None:
    structlog.get_logger().info("waiting", what="another run is at work", why=_busy(locked))


def _locked(locked: state_errors.Locked) -> errors.LockedByAnotherRun:
    return errors.LockedByAnotherRun(
        f"Another run is at work on this deployment: {_busy(locked)}, last heard of {locked.quiet:.0f} s ago."
    )


def _busy(locked: state_errors.Locked) -> str:
    holder = locked.holder
    since = holder.since[:19].replace("T", " ")
    return (
        f"{holder.who} on {holder.host} (process {holder.pid}, run {holder.run}) since {since} UTC,"
        f" busy with: {holder.doing or 'starting'}"
    )


@contextlib.contextmanager
def in_words_of_ours(store: Store) -> Iterator[None]:
    """Translate the errors of the state package, about this place, into those that the command line shows."""
    try:
        yield
    except state_errors.Locked as error:
        raise _locked(error) from error
    except (state_errors.Fenced, state_errors.LeaseLost) as error:
        raise errors.LostTheLease(str(error)) from error
    except state_errors.Moved as error:
        raise errors.LedgerMoved(f"At {store}: {error}", to=error.to) from error
    except state_errors.DamagedLedger as error:
        raise errors.LedgerDamaged(f"At {store}: {error}", last_good=_last_good(store)) from error
    except state_errors.LostLedger as error:
        raise errors.LedgerLost(f"At {store}: {error}", last_good=_last_good(store)) from error
    except state_errors.NewerSchema as error:
        raise errors.LedgerUnreadable(str(error)) from error
    except (state_errors.NotSaved, state_errors.Unclear, state_errors.TooFast) as error:
        raise errors.NoAnswer(f"The ledger could not be read or saved: {error}") from error


def _last_good(store: Store) -> int | None:
    """What to offer in the place of a damaged or lost ledger; a look that fails must not hide what was to be told."""
    try:
        good = (serial for serial in reversed(history.serials(store)) if _can_be_read(store, serial))
        return next(good, None)
    except Exception:  # noqa: BLE001 - see above
        return None


def _can_be_read(store: Store, serial: int) -> bool:
    snapshot = history.read(store, serial)
    return snapshot is not None and snapshot.ledger is not None
