"""The journal: what is durable when, who may save, and what a lost answer means."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import DamagedLedger, Fenced, LeaseLost, LostLedger, Moved, NewerSchema, NotSaved
from state.journal import Journal, Pace, read_ledger
from state.ledger import loads, signpost

NEVER = 10**9
COMMITS = st.lists(st.sampled_from(["ok", "lost", "unsent", "late", "fast"]), min_size=1, max_size=4)


@pytest.fixture
def journal(memory, hand, new_ledger):
    """An open journal, whose run is the first of its deployment."""
    journal = Journal(memory, pace=Pace(NEVER, clock=hand, sleep=hand.sleep), sleep=hand.sleep)
    journal.open("run-1", new_ledger)
    return journal


def count(name):
    def change(ledger):
        ledger.counters[name] = ledger.counters.get(name, 0) + 1

    return change


def durable(store):
    return read_ledger(store)


def rival(store, hand):
    """Another run takes over, as it may once the lease has run out."""
    other = Journal(store, pace=Pace(NEVER, clock=hand, sleep=hand.sleep), sleep=hand.sleep)
    other.open("run-2", lambda: pytest.fail("there is a ledger"))
    return other


class TestOpening:
    def test_a_first_run_saves_the_ledger_it_makes(self, memory, hand, new_ledger):
        """With its own name in it, and the first serial."""
        shown = Journal(memory).open("run-1", new_ledger)

        assert durable(memory) == shown
        assert (shown.run, shown.serial, shown.deployment) == ("run-1", 1, "0a1b2c3d")

    def test_a_later_run_saves_what_it_found_once_before_it_shows_it(self, memory, journal, hand):
        """That one save is what fences every older holder."""
        journal.commit(count("server"))

        shown = rival(memory, hand).ledger

        assert durable(memory) == shown
        assert (shown.run, shown.serial, shown.counters) == ("run-2", 3, {"server": 1})
        assert len(memory.saved) == 3

    def test_where_a_ledger_must_exist_nothing_is_made(self, memory):
        """`down` raises instead of making one, and that comes out."""

        def refuse():
            raise LookupError("nothing here")

        with pytest.raises(LookupError, match="nothing here"):
            Journal(memory).open("run-1", refuse)

        assert memory.writes == []

    def test_an_older_holder_who_is_still_saving_is_let_finish(self, memory, journal, hand):
        """What it saved between our look and our save counts, and is not overwritten."""

        class Busy:
            """The old holder saves right after the newcomer's first look."""

            def __init__(self):
                self.looks = 0

            def get(self, name):
                blob = memory.get(name)
                self.looks += 1
                if self.looks == 1:
                    journal.commit(count("server"))
                return blob

            put, delete, list = memory.put, memory.delete, memory.list

        newcomer = Journal(Busy(), pace=Pace(NEVER, clock=hand, sleep=hand.sleep), sleep=hand.sleep)
        newcomer.open("run-2", lambda: pytest.fail("there is a ledger"))

        assert newcomer.ledger.counters == {"server": 1}
        with pytest.raises(Fenced):
            journal.commit(count("server"))

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (b'{"schema_version": 99}', NewerSchema),
            (b'{"schema_version": 1', DamagedLedger),
            (signpost("gs://there/"), Moved),
        ],
        ids=["of a newer release", "that is cut off", "that has moved"],
    )
    def test_a_ledger_is_left_as_it_is(self, memory, new_ledger, data, error):
        """The run does not begin, and the file can still be looked into."""
        memory.put("ledger.json", data, 0)

        with pytest.raises(error):
            Journal(memory).open("run-1", new_ledger)

        assert memory.saved == [data]

    def test_a_ledger_that_is_lost_is_not_begun_anew(self, memory, hand, journal, new_ledger):
        """Its history tells that there was one; what takes its place must be said, and goes on with the serials."""
        rival(memory, hand)
        generation = memory.get("ledger.json").generation
        memory.delete("ledger.json", generation)

        with pytest.raises(LostLedger, match="up to serial 1 lie in its history"):
            read_ledger(memory)
        with pytest.raises(LostLedger):
            Journal(memory).open("run-3", lambda: pytest.fail("there was one"))
        assert memory.get("ledger.json") is None

        shown = Journal(memory).open("run-3", new_ledger, instead=lambda found: found or new_ledger(salt="back"))
        assert (shown.salt, shown.serial) == ("back", 2)

    def test_a_ledger_that_comes_between_two_looks_is_not_lost(self, memory, hand, new_ledger):
        """A first run and a second one, both while somebody looks."""

        class Slow:
            """The look at the ledger comes before both runs, the look at the history after them."""

            def get(self, name):
                return memory.get(name)

            def list(self, prefix):
                Journal(memory).open("run-1", new_ledger)
                rival(memory, hand)
                return memory.list(prefix)

        assert read_ledger(Slow()).run == "run-2"

    def test_it_does_not_begin_when_the_store_gives_no_clear_answer(self, memory, hand, new_ledger):
        """Nor does it show a ledger that may not be its own."""
        memory.plan.extend(["unsent"] * 20)
        journal = Journal(memory, sleep=hand.sleep)

        with pytest.raises(NotSaved):
            journal.open("run-1", new_ledger)

        with pytest.raises(RuntimeError, match="not been opened"):
            journal.ledger  # noqa: B018 - asking is the test

    def test_looking_writes_nothing(self, memory, journal):
        """`plan` and `status` need no lease."""
        assert read_ledger(memory) == journal.ledger
        assert read_ledger(memory, "other.json") is None
        assert len(memory.writes) == 1


class TestCommitting:
    def test_what_was_committed_is_durable(self, memory, journal):
        """Each save is the next serial, with a write id of its own."""
        journal.commit(count("server"))
        journal.commit(count("server"))

        assert durable(memory) == journal.ledger
        assert journal.ledger.counters == {"server": 2}
        assert [loads(data).serial for data in memory.saved] == [1, 2, 3]
        assert len({loads(data).write_id for data in memory.saved}) == 3

    def test_a_change_that_fails_changes_nothing(self, memory, journal):
        """Not even the half of it; its error comes out."""

        def half(ledger):
            ledger.counters["server"] = 1
            raise LookupError("no such record")

        with pytest.raises(LookupError, match="no such record"):
            journal.commit(half)

        assert journal.ledger.counters == {}
        assert len(memory.saved) == 1

    def test_a_ledger_that_was_handed_out_never_changes(self, journal):
        """So any thread may read it at leisure."""
        before = journal.ledger
        journal.commit(count("server"))

        assert before.counters == {}
        assert before.serial == 1

    def test_a_note_rides_along_with_the_next_save(self, memory, journal):
        """It costs no save of its own."""
        journal.note(count("noted"))
        unsaved = durable(memory).counters
        journal.commit(count("committed"))

        assert unsaved == {}
        assert durable(memory).counters == {"noted": 1, "committed": 1}
        assert len(memory.saved) == 2

    def test_flushing_saves_what_was_noted_and_only_that(self, memory, journal):
        """With nothing outstanding, nothing is written: a run without changes writes once."""
        journal.flush()
        before = len(memory.saved)
        journal.note(count("noted"))
        journal.flush()
        journal.flush()

        assert before == 1
        assert durable(memory).counters == {"noted": 1}
        assert len(memory.saved) == 2


class TestSharingSaves:
    def test_who_commits_while_a_save_is_under_way_shares_the_next_one(self, memory, journal):
        """Sixteen commits, two saves."""
        memory.gate, memory.entered = threading.Event(), threading.Semaphore(0)
        applied = threading.Semaphore(0)

        def change(ledger):
            count("together")(ledger)
            applied.release()

        first = threading.Thread(target=journal.commit, args=(change,))
        first.start()
        memory.entered.acquire()  # its save is on the way, without the others
        others = [threading.Thread(target=journal.commit, args=(change,)) for _ in range(15)]
        for thread in others:
            thread.start()
        for _ in range(16):
            applied.acquire()
        unsaved = durable(memory).counters
        memory.gate.set()
        for thread in [first, *others]:
            thread.join()

        assert unsaved == {}
        assert durable(memory).counters == {"together": 16}
        assert len(memory.saved) == 3  # opening, the first, all others

    def test_no_commit_returns_before_it_is_durable(self, memory, journal):
        """Eight threads, each looking into the store right after its own commit."""
        missing = []

        def work(name):
            for number in range(1, 11):
                journal.commit(count(name))
                if durable(memory).counters.get(name) != number:
                    missing.append((name, number))

        threads = [threading.Thread(target=work, args=(f"thread-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert missing == []
        assert sum(durable(memory).counters.values()) == 80
        assert [loads(data).serial for data in memory.saved] == list(range(1, len(memory.saved) + 1))

    @pytest.mark.parametrize(
        ("befalls", "error"),
        [
            (rival, Fenced),
            (lambda memory, hand: setattr(memory, "refusal", PermissionError("403")), NotSaved),
        ],
        ids=["another run takes over", "the bucket refuses"],
    )
    def test_what_befalls_a_save_befalls_all_that_share_it(self, memory, journal, hand, befalls, error):
        """Nobody waits for ever, and nobody believes that his intent is safe."""
        gate, memory.entered = threading.Event(), threading.Semaphore(0)
        applied, raised = threading.Semaphore(0), []

        def commit():
            try:
                journal.commit(lambda ledger: applied.release())
            except (Fenced, NotSaved) as failure:
                raised.append(type(failure))

        memory.gate = gate
        threads = [threading.Thread(target=commit) for _ in range(6)]
        for thread in threads:
            thread.start()
        memory.entered.acquire()
        for _ in range(6):
            applied.acquire()
        memory.gate = None
        befalls(memory, hand)
        gate.set()
        for thread in threads:
            thread.join()

        assert raised == [error] * 6

    def test_a_thread_that_is_interrupted_in_its_save_leaves_the_work_to_the_next(self, memory, journal):
        """Ctrl-C in the one does not hang the others, nor are they taken for rivals."""
        memory.refusal = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            journal.commit(count("interrupted"))
        memory.refusal = None

        journal.commit(count("next"))

        assert durable(memory).counters == {"interrupted": 1, "next": 1}


class TestPace:
    def test_a_burst_is_let_through_and_then_one_a_second(self, memory, hand, new_ledger):
        """About what Cloud Storage takes of one object."""
        journal = Journal(memory, pace=Pace(clock=hand, sleep=hand.sleep), sleep=hand.sleep)
        journal.open("run-1", new_ledger)

        for _ in range(19):
            journal.commit(count("server"))
        in_the_burst = list(hand.slept)
        for _ in range(5):
            journal.commit(count("server"))

        assert in_the_burst == []
        assert hand.slept == pytest.approx([1.0] * 5)

    def test_a_pause_fills_the_bucket_again(self, hand):
        """But never beyond the burst."""
        pace = Pace(burst=3, per_second=2.0, clock=hand, sleep=hand.sleep)
        for _ in range(3):
            pace.wait()
        hand.seconds += 1000
        for _ in range(4):
            pace.wait()

        assert hand.slept == pytest.approx([0.5])

    def test_too_many_writes_are_answered_by_waiting_longer(self, memory, journal, hand):
        """429 means: not written, come later."""
        memory.plan.extend(["fast", "fast", "fast"])

        journal.commit(count("server"))

        assert hand.slept == [1.0, 2.0, 4.0]
        assert durable(memory).counters == {"server": 1}
        assert journal.ledger.serial == 2


class TestAnswers:
    def test_a_save_whose_answer_was_lost_is_known_by_its_write_id(self, memory, journal):
        """The refused second try is read back: nobody else was there."""
        memory.plan.append("lost")

        journal.commit(count("server"))
        journal.commit(count("server"))

        assert durable(memory) == journal.ledger
        assert journal.ledger.counters == {"server": 2}
        assert journal.ledger.serial == 3
        assert len(memory.saved) == 3

    def test_a_last_try_without_an_answer_is_looked_after(self, memory, journal):
        """All tries are used up, yet the ledger shows that one arrived."""
        memory.plan.extend(["unsent"] * 7 + ["lost"])

        journal.commit(count("server"))

        assert durable(memory) == journal.ledger
        assert memory.writes[-1] == ("ledger.json", "lost")

    def test_what_could_not_be_saved_goes_with_the_next_save(self, memory, journal, hand):
        """The caller hears of it and does not act; the change is not forgotten."""
        memory.plan.extend(["unsent"] * 8)

        with pytest.raises(NotSaved, match="timed out"):
            journal.commit(count("first"))
        journal.commit(count("second"))

        assert hand.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0]
        assert durable(memory).counters == {"first": 1, "second": 1}
        assert journal.ledger.serial == 2

    def test_flushing_tries_again_what_could_not_be_saved(self, memory, journal):
        """The end of a run is the last chance."""
        memory.plan.extend(["unsent"] * 8)
        with pytest.raises(NotSaved):
            journal.commit(count("server"))

        journal.flush()

        assert durable(memory).counters == {"server": 1}

    @pytest.mark.parametrize("before_the_next", [True, False], ids=["before the next save", "never"])
    def test_a_save_that_arrives_late_is_still_ours(self, memory, journal, before_the_next):
        """A request may lie about in the network; it is no rival's."""
        memory.plan.extend(["late"] + ["unsent"] * 7)
        with pytest.raises(NotSaved):
            journal.commit(count("first"))
        if before_the_next:
            memory.land()

        journal.commit(count("second"))
        second = durable(memory).counters
        memory.land()  # its generation is gone: it bounces off
        journal.commit(count("third"))

        assert second == {"first": 1, "second": 1}
        assert durable(memory) == journal.ledger
        assert journal.ledger.counters == {"first": 1, "second": 1, "third": 1}
        assert [loads(data).serial for data in memory.saved] == list(range(1, len(memory.saved) + 1))

    def test_a_refusal_comes_out_with_its_cause(self, memory, journal):
        """A 403 is not tried again; once the right is there, the change is saved."""
        memory.refusal = PermissionError("403 storage.objects.create")

        with pytest.raises(NotSaved, match=r"storage\.objects\.create") as failure:
            journal.commit(count("server"))
        memory.refusal = None
        journal.flush()

        assert failure.value.cause is failure.value.__cause__
        assert durable(memory).counters == {"server": 1}


class TestFencing:
    def test_whoever_was_overtaken_saves_nothing_more(self, memory, journal, hand):
        """A run that hung past its lease and woke up: every way to write is shut, for good."""
        other = rival(memory, hand)
        written = len(memory.writes)

        with pytest.raises(Fenced, match="run-1 was overtaken: run run-2"):
            journal.commit(count("server"))
        attempts = len(memory.writes) - written
        for act in (
            lambda: journal.commit(count("server")),
            lambda: journal.note(count("server")),
            journal.flush,
        ):
            with pytest.raises(Fenced):
                act()

        assert attempts == 1
        assert len(memory.writes) == written + 1
        assert durable(memory) == other.ledger
        other.commit(count("server"))  # the new holder is not disturbed

    def test_whoever_lost_the_lease_while_opening_takes_nothing_from_the_new_holder(self, memory, journal, hand):
        """It hung before its first save: that is refused, it reads again, and by then it must ask whether it may."""
        other = rival(memory, hand)
        late = Journal(memory, pace=Pace(clock=hand, sleep=hand.sleep), sleep=hand.sleep)

        def check():
            raise LeaseLost("run-2 has taken over")

        with pytest.raises(LeaseLost):
            late.open("run-1", lambda: other.ledger, check=check)
        other.commit(count("server"))

        assert durable(memory) == other.ledger

    @pytest.mark.parametrize("outcome", ["unsent", "fast"], ids=["a lost request", "a 429"])
    def test_a_rival_who_comes_between_two_tries_is_seen(self, memory, journal, hand, outcome):
        """The second try is refused, and what is there is not ours."""
        memory.plan.append(outcome)
        sleep = journal._sleep
        journal._sleep = lambda seconds: (sleep(seconds), rival(memory, hand))

        with pytest.raises(Fenced):
            journal.commit(count("server"))

        assert durable(memory).counters == {}

    def test_a_save_that_a_rival_has_built_upon_counts_as_overtaken(self, memory, journal, hand):
        """Our answer was lost, our save arrived, and somebody took over from there: his ledger holds our change."""
        memory.plan.append("lost")
        sleep = journal._sleep
        journal._sleep = lambda seconds: (sleep(seconds), rival(memory, hand))

        with pytest.raises(Fenced):
            journal.commit(count("server"))

        assert durable(memory).counters == {"server": 1}

    @pytest.mark.parametrize(
        ("then", "by"),
        [
            (lambda memory, generation: memory.delete("ledger.json", generation), "somebody who deleted it"),
            (lambda memory, generation: memory.put("ledger.json", b"{", generation), "no JSON"),
            (
                lambda memory, generation: memory.put("ledger.json", b'{"schema_version": 9}', generation),
                "schema 9",
            ),
            (lambda memory, generation: memory.put("ledger.json", memory.saved[0], generation), "run run-1"),
        ],
        ids=[
            "a ledger that was deleted",
            "a ledger that was damaged",
            "a ledger of a newer release",
            "an earlier ledger of ours that was put back",
        ],
    )
    def test_what_is_not_ours_any_more_is_not_written_over(self, memory, journal, then, by):
        """Whatever it is: somebody did it, and the run stops."""
        then(memory, memory.get("ledger.json").generation)
        there = memory.get("ledger.json")

        with pytest.raises(Fenced, match=by):
            journal.commit(count("server"))

        assert memory.get("ledger.json") == there


@settings(deadline=None)
@given(st.lists(st.sampled_from(["land", "note", "rival"]) | COMMITS, max_size=40))
def test_whatever_becomes_of_the_writes_no_commit_lies(make_memory, new_ledger, story):
    """A commit that returns is durable, one that does not return is not forgotten, and only a rival fences."""
    memory, hand = make_memory()
    ours = Journal(memory, pace=Pace(NEVER, clock=hand, sleep=hand.sleep), sleep=hand.sleep, attempts=3)
    ours.open("run-1", new_ledger)
    overtaken = False
    for event in story:
        match event:
            case "land":
                memory.land()
            case "note" if not overtaken:
                ours.note(count("noted"))
            case "rival" if not overtaken:
                before = durable(memory)
                rival(memory, hand)
                overtaken, theirs = True, durable(memory)
                assert theirs.counters == before.counters
            case "note" | "rival":
                continue
            case outcomes:
                memory.plan.extend(outcomes)
                try:
                    ours.commit(count("committed"))
                except NotSaved:
                    continue
                except Fenced:
                    assert overtaken
                    assert durable(memory) == theirs
                    continue
                finally:
                    memory.plan.clear()
                assert not overtaken
                assert durable(memory) == ours.ledger

    if not overtaken:
        ours.flush()
        assert durable(memory).counters == ours.ledger.counters
    assert [loads(data).serial for data in memory.saved] == list(range(1, len(memory.saved) + 1))
