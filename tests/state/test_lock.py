"""The lease: two runs on a clock that is moved by hand."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from state.errors import Conflict, LeaseLost, Locked, TooFast, Unclear
from state.files import FileStore
from state.holder import Holder, Process
from state.lock import Lease, look, unlock

ALICE = Process(host="alices-laptop", pid=101, started="7", machine="boot-a pid:[1]")
BOB = Process(host="bobs-laptop", pid=202, started="8", machine="boot-b pid:[1]")
CAROL = Process(host="carols-laptop", pid=303, started="9", machine="boot-c pid:[1]")
LONGEST_WAIT = 95.0  # ttl, margin, and one more look


@pytest.fixture
def lease_of(memory, hand):
    """Makes a lease; a run that does not wait, unless told."""

    def make(who, here=BOB, **options):
        options = {"lock_timeout": 0.0, "background": False, "clock": hand, "sleep": hand.sleep} | options
        return Lease(memory, run=f"run-{who}", who=who, here=here, owner=options.pop("owner", f"{who}-1"), **options)

    return make


@pytest.fixture
def alice(lease_of):
    return lease_of("alice", ALICE)


@pytest.fixture
def bob(lease_of):
    return lease_of("bob", BOB)


def there(store):
    blob = store.get("lease.json")
    return None if blob is None else Holder.read(blob.data)


class TestTaking:
    def test_a_free_lease_is_taken_and_given_back(self, memory, alice):
        """While it is held it says by whom; afterwards nothing is left."""
        with alice:
            holder, seconds = there(memory), alice.remaining()

        assert (holder.owner, holder.who, holder.run, holder.host) == ("alice-1", "alice", "run-alice", "alices-laptop")
        assert seconds == 60.0
        assert memory.blobs == {}
        assert alice.remaining() == 0.0

    def test_it_is_given_back_when_the_run_fails(self, memory, alice):
        """The failure comes out as it is."""
        with pytest.raises(LookupError), alice:
            raise LookupError

        assert memory.blobs == {}

    def test_who_comes_second_is_told_who_holds_it(self, hand, alice, bob):
        """What it is at, how long it is quiet, and when it could be taken over."""
        alice.doing = "sql_instance"
        alice.acquire()
        hand.seconds += 12

        with pytest.raises(Locked, match=r"alice on alices-laptop .* is at work with run run-alice") as locked:
            bob.acquire()

        assert "12 s ago; it is at: sql_instance" in str(locked.value)
        assert locked.value.holder.pid == 101
        assert (locked.value.quiet, locked.value.expires_in) == (12.0, 78.0)

    def test_a_look_tells_the_same_and_takes_nothing(self, memory, hand, alice):
        """For `status`."""
        free = look(memory)
        alice.acquire()
        hand.seconds += 12
        writes = len(memory.writes)

        held = look(memory)

        assert free is None
        assert (held.holder.who, held.quiet, held.expires_in) == ("alice", 12.0, 78.0)
        assert len(memory.writes) == writes

    def test_one_waits_for_the_end_of_another_run(self, lease_of, hand, alice):
        """Looking every five seconds, and saying each time for whom it waits."""
        seen = []
        alice.acquire()

        def told(locked):
            seen.append(locked.holder.who)
            if len(seen) == 3:
                alice.release()

        lease_of("bob", lock_timeout=60.0, on_wait=told).acquire()

        assert seen == ["alice"] * 3
        assert hand.slept == [5.0] * 3

    def test_one_waits_no_longer_than_told(self, lease_of, hand, alice):
        """And looks a last time at the very end."""
        alice.acquire()

        with pytest.raises(Locked):
            lease_of("bob", lock_timeout=12.0).acquire()

        assert hand.slept == [5.0, 5.0, 2.0]

    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"heartbeat": 5.0}, "at least 10 s"),
            ({"ttl": 50.0}, "two heartbeats and a request"),
            ({"ttl": 601.0}, "at most 600 s"),
            ({"margin": 25.0}, "the margin exceeds"),
        ],
        ids=[
            "beats too often for Cloud Storage",
            "cannot bear one lost heartbeat",
            "outlasts all patience",
            "might be taken while a request is under way",
        ],
    )
    def test_no_lease_is_made_that(self, lease_of, options, why):
        """Its times depend on each other."""
        with pytest.raises(ValueError, match=why):
            lease_of("bob", **options)


class TestRunningOut:
    @pytest.mark.parametrize("crash_at", [0, 1, 14, 59, 89], ids=lambda seconds: f"{seconds} s after the last sign")
    def test_a_crashed_holder_holds_nobody_up_for_longer_than_lease_and_margin(self, lease_of, hand, alice, crash_at):
        """On another machine. The default wait is long enough."""
        alice.acquire()
        hand.seconds += crash_at
        begun = hand.seconds

        lease_of("bob", lock_timeout=None).acquire()

        assert hand.seconds - begun + crash_at >= 90.0
        assert hand.seconds - begun <= LONGEST_WAIT

    def test_a_crashed_holder_of_this_machine_holds_nobody_up(self, memory, lease_of, hand):
        """Its process is gone, so nothing is waited for."""
        here = replace(Process.this(), pid=2**22 + 1)  # no such process: above the highest number
        lease_of("alice", here).acquire()

        lease_of("bob", Process.this()).acquire()

        assert there(memory).who == "bob"
        assert hand.slept == []

    def test_a_run_that_was_killed_is_followed_at_once(self, tmp_path):
        """`kill -9`, with everything real: typing the same command again is all it takes."""
        holding = "from state.lock import *; Lease(FileStore(Path(sys.argv[1])), run='1', who='alice').acquire()"
        code = f"import sys; from pathlib import Path; from state.files import FileStore; {holding}; print('held', flush=True)"
        command = [sys.executable, "-c", f"{code}; input()", tmp_path / "ours.json"]
        root = Path(__file__).parents[2]
        with subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as run:
            told = run.stdout.readline()
            mine = Lease(FileStore(tmp_path / "ours.json"), run="2", who="bob", lock_timeout=0.0)
            with pytest.raises(Locked, match="alice"):
                mine.acquire()
            run.kill()
            run.wait()

        with mine:
            mine.check()

        assert told == b"held\n"

    def test_a_holder_of_this_machine_that_lives_is_respected(self, lease_of):
        """Two terminals, one folder."""
        lease_of("alice", Process.this()).acquire()

        with pytest.raises(Locked):
            lease_of("bob", Process.this()).acquire()

    def test_a_sign_of_life_keeps_it(self, memory, hand, alice, bob):
        """For as long as the run takes; no two signs are equal bytes."""
        alice.acquire()
        for _ in range(40):
            hand.seconds += alice.beat()

        with pytest.raises(Locked):
            bob.acquire()

        assert hand.seconds == 1000.0 + 40 * 15.0
        assert len(set(memory.saved)) == 41

    def test_a_damaged_lease_runs_out_like_any_other(self, memory, lease_of, hand):
        """A lock that nobody can read must not hold for ever."""
        memory.put("lease.json", b'{"owner": "al', 0)

        with pytest.raises(Locked, match="somebody on an unknown host"):
            lease_of("bob").acquire()
        lease_of("bob", lock_timeout=None).acquire()

        assert there(memory).who == "bob"

    def test_the_holders_own_ttl_counts(self, lease_of, hand, alice):
        """Whoever was told to hold longer, may."""
        lease_of("carol", ttl=300.0).acquire()
        hand.seconds += 200

        with pytest.raises(Locked) as locked:
            alice.acquire()

        assert locked.value.expires_in == 130.0

    def test_a_server_whose_clock_is_behind_frees_nothing_too_early(self, memory, bob, alice, monkeypatch):
        """The answer's date may lie before the object's: then it was quiet for no time at all."""
        alice.acquire()
        data, generation, updated = memory.blobs["lease.json"]
        memory.blobs["lease.json"] = (data, generation, updated.replace(year=updated.year + 1))

        with pytest.raises(Locked) as locked:
            bob.acquire()

        assert locked.value.quiet == 0.0


class TestTakingOver:
    def test_of_two_who_see_it_run_out_one_gets_it(self, memory, lease_of, hand, alice):
        """Both look before either writes: the generation that was seen decides."""
        alice.acquire()
        hand.seconds += 200
        carol = lease_of("carol", CAROL)

        class Between:
            """Carol takes it between Bob's look and his write."""

            def get(self, name):
                blob = memory.get(name)
                if there(memory).who == "alice":
                    carol.acquire()
                return blob

            put, delete, list = memory.put, memory.delete, memory.list

        bob = Lease(
            Between(), run="r", who="bob", here=BOB, lock_timeout=0.0, background=False, clock=hand, sleep=hand.sleep
        )
        with pytest.raises(Locked) as locked:
            bob.acquire()

        assert locked.value.holder.who == "carol"
        assert there(memory).who == "carol"

    def test_a_sign_of_life_between_look_and_takeover_wins(self, memory, lease_of, hand, alice):
        """The holder was only slow: it wakes up in time, and keeps what it has."""
        alice.acquire()
        hand.seconds += 200

        class Between:
            def get(self, name):
                blob = memory.get(name)
                if there(memory).beats == 1:
                    alice.beat()
                return blob

            put, delete, list = memory.put, memory.delete, memory.list

        bob = Lease(
            Between(), run="r", who="bob", here=BOB, lock_timeout=0.0, background=False, clock=hand, sleep=hand.sleep
        )
        with pytest.raises(Locked):
            bob.acquire()

        alice.check()

    def test_it_is_never_free_in_between(self, memory, hand, alice, bob):
        """Replaced, not deleted and made anew: a third one could slip in there."""
        alice.acquire()
        hand.seconds += 200
        bob.acquire()

        assert memory.writes == [("lease.json", "ok")] * 2
        assert len(memory.saved) == 2

    def test_whoever_was_taken_over_knows_it(self, memory, hand, alice, bob):
        """It hung for longer than the lease, woke up, and must start nothing; nor does it disturb the new holder."""
        alice.acquire()
        hand.seconds += 200
        bob.acquire()

        with pytest.raises(LeaseLost, match="bob on bobs-laptop has taken over with run run-bob"):
            alice.check()
        alice.release()

        assert alice.remaining() == 0.0
        assert there(memory).who == "bob"
        bob.check()

    def test_a_lease_that_was_removed_by_hand_is_lost(self, memory, alice):
        """`state unlock`."""
        alice.acquire()
        memory.delete("lease.json", memory.get("lease.json").generation)
        alice.beat()

        with pytest.raises(LeaseLost, match="somebody removed it"):
            alice.check()

        assert memory.blobs == {}


class TestUnlocking:
    def test_a_holder_loses_it(self, memory, alice, bob):
        """The next run begins at once, and the old one starts nothing more."""
        alice.acquire()
        unlock(memory, there(memory))
        bob.acquire()
        alice.beat()

        assert there(memory).who == "bob"
        with pytest.raises(LeaseLost, match="bob on bobs-laptop has taken over"):
            alice.check()

    def test_only_the_holder_who_was_meant(self, memory, hand, alice, bob):
        """Somebody else may have taken it while one was asked."""
        alice.acquire()
        meant = there(memory)
        alice.release()
        bob.acquire()

        with pytest.raises(Locked, match="bob on bobs-laptop"):
            unlock(memory, meant)
        assert there(memory).who == "bob"

    def test_a_sign_of_life_meanwhile_does_not_save_it(self, memory, alice):
        """Who unlocks has been asked, and means it; one who is gone already is no error."""
        alice.acquire()
        meant = there(memory)
        alice.beat()
        unlock(memory, meant)
        unlock(memory, meant)

        assert there(memory) is None


class TestChecking:
    def test_a_request_is_begun_only_when_it_ends_before_the_lease_does(self, memory, hand, alice):
        """With less than one time-out left, a renewal is tried, and then it is over."""
        alice.acquire()
        hand.seconds += 35
        alice.check()
        beats_in_time = there(memory).beats
        hand.seconds += 0.001
        memory.plan.append("unsent")

        with pytest.raises(LeaseLost, match=r"no sign of life gets through \(.*timed out"):
            alice.check()

        assert beats_in_time == 1

    def test_a_machine_that_slept_goes_on_when_nobody_came(self, memory, hand, alice):
        """The clock went on while it slept, so that it knows; the lease is renewed before the next request."""
        alice.acquire()
        hand.seconds += 3600

        remaining = alice.remaining()
        alice.check()

        assert remaining == 0.0
        assert alice.remaining() == 60.0
        assert there(memory).beats == 2

    def test_time_is_reckoned_from_before_the_sign_was_sent(self, memory, hand, alice):
        """An answer that took long does not make the lease longer."""
        put = memory.put

        def slow(name, data, if_generation):
            generation = put(name, data, if_generation)
            hand.seconds += 20
            return generation

        memory.put = slow
        alice.acquire()

        assert alice.remaining() == 40.0

    def test_without_a_lease_nothing_is_begun(self, memory, alice):
        """Neither before it was taken nor after it was given back; and nothing is written."""
        with pytest.raises(LeaseLost, match="never taken"):
            alice.check()
        with alice:
            pass
        writes = len(memory.writes)
        with pytest.raises(LeaseLost, match="given back"):
            alice.check()

        assert len(memory.writes) == writes


class TestAnswers:
    @pytest.mark.parametrize("outcome", ["lost", "unsent", "fast"])
    def test_taking_it_bears_a_write_that_is(self, memory, alice, outcome):
        """Our own owner id tells that we have it already."""
        memory.plan.append(outcome)

        alice.acquire()

        alice.check()
        assert there(memory).owner == "alice-1"

    def test_a_write_that_lands_late_at_the_last_try_is_looked_after(self, memory, alice, monkeypatch):
        """It has refused the next one, so something is known again: that is no answer that was missed."""
        memory.plan.extend(["unsent", "unsent", "unsent", "late"])
        get = memory.get

        def get_and_land(name):
            blob = get(name)
            if len(memory.writes) == 4:
                memory.land()
            return blob

        monkeypatch.setattr(memory, "get", get_and_land)
        alice.acquire()

        alice.check()
        assert there(memory).owner == "alice-1"
        assert "conflict" in [outcome for _, outcome in memory.writes]

    @pytest.mark.parametrize("outcome", ["unsent", "fast"])
    def test_a_store_that_never_answers_gives_no_lease(self, alice, memory, outcome):
        """What the trouble is comes out."""
        memory.plan.extend([outcome] * 5)

        with pytest.raises((Unclear, TooFast)):
            alice.acquire()

        with pytest.raises(LeaseLost):
            alice.check()

    @pytest.mark.parametrize("outcome", ["lost", "unsent", "fast", "late"])
    def test_a_sign_of_life_may_be(self, memory, hand, alice, outcome):
        """The next one is due soon, and goes on from whatever is there."""
        alice.acquire()
        hand.seconds += 15
        memory.plan.append(outcome)
        soon = alice.beat()
        memory.land()
        hand.seconds += soon

        usual = alice.beat()

        assert (soon, usual) == (5.0, 15.0)
        assert alice.remaining() == 60.0
        alice.release()
        assert memory.blobs == {}

    def test_a_lost_answer_does_not_lengthen_the_lease(self, memory, hand, alice):
        """Nothing is known of it but what the last answer said."""
        alice.acquire()
        hand.seconds += 15
        memory.plan.append("lost")
        alice.beat()

        assert alice.remaining() == 45.0

    @pytest.mark.parametrize("outcome", ["lost", "unsent", "fast"])
    def test_giving_it_back_bears_a_write_that_is(self, memory, alice, outcome):
        """It is gone in the end."""
        alice.acquire()
        memory.plan.append(outcome)

        alice.release()

        assert memory.blobs == {}

    def test_giving_it_back_after_a_lost_answer_takes_the_generation_that_it_made(self, memory, alice):
        """Else the next run would have to wait for a lease that nobody holds."""
        alice.acquire()
        memory.plan.append("lost")
        alice.beat()

        alice.release()

        assert memory.blobs == {}

    def test_trouble_with_giving_it_back_does_not_spoil_the_run(self, memory, alice):
        """The work is done; the lease runs out by itself."""
        with alice:
            memory.refusal = PermissionError("403")

        assert there(memory).who == "alice"
        assert alice.remaining() == 0.0

    def test_whatever_the_trouble_is_the_heart_goes_on(self, memory, hand, alice):
        """A right that was taken away for a minute, a token that could not be renewed."""
        alice.acquire()
        memory.refusal = PermissionError("403")
        alice.beat()
        get, memory.get = memory.get, None  # and not even a look is possible
        memory.refusal = Conflict("lease.json", 1)
        alice.beat()
        memory.refusal, memory.get = None, get
        hand.seconds += 30

        alice.beat()

        assert alice.remaining() == 60.0


class Beeps:
    """In place of the event on which the heart waits: tells what it waits for, and goes on when let."""

    def __init__(self):
        self.due, self.go, self.ended = [], threading.Semaphore(0), False
        self.waiting = threading.Semaphore(0)

    def wait(self, seconds):
        self.due.append(seconds)
        self.waiting.release()
        assert self.go.acquire(timeout=30)
        return self.ended

    def set(self):
        self.ended = True
        self.go.release()

    def clear(self):
        self.ended = False


class TestHeart:
    def test_a_thread_gives_the_signs_of_life_while_the_lease_is_held(self, memory, lease_of):
        """Sooner after a failure; and it ends with the lease."""
        lease = lease_of("alice", background=True)
        lease._ended = beeps = Beeps()
        memory.plan.extend(["ok", "ok", "unsent", "ok"])
        with lease:
            thread = lease._thread
            for _ in range(3):
                assert beeps.waiting.acquire(timeout=30)
                beeps.go.release()
            assert beeps.waiting.acquire(timeout=30)
            beats = there(memory).beats

        assert beeps.due == [15.0, 15.0, 5.0, 15.0]
        assert beats == 4
        assert not thread.is_alive()
        assert memory.blobs == {}

    def test_the_heart_stops_when_the_lease_is_lost(self, memory, hand, lease_of, bob):
        """There is nothing to keep any more."""
        lease = lease_of("alice", background=True)
        lease._ended = beeps = Beeps()
        with lease:
            assert beeps.waiting.acquire(timeout=30)
            hand.seconds += 200
            bob.acquire()
            beeps.go.release()
            assert beeps.waiting.acquire(timeout=30)
            beeps.go.release()
            lease._thread.join(30)

            assert not lease._thread.is_alive()

        assert there(memory).who == "bob"

    def test_two_signs_at_once_take_turns(self, memory, alice):
        """A check that renews does not quarrel with the heart."""
        alice.acquire()
        memory.gate, memory.entered = threading.Event(), threading.Semaphore(0)
        threads = [threading.Thread(target=alice.beat) for _ in range(4)]
        for thread in threads:
            thread.start()
        memory.entered.acquire()
        others_are_waiting = not memory.entered.acquire(blocking=False)
        memory.gate.set()
        for thread in threads:
            thread.join()

        assert others_are_waiting
        assert memory.writes == [("lease.json", "ok")] * 5


class Rivals(RuleBasedStateMachine):
    """Three runs on three machines, each of which may hang, crash, lose answers and come back."""

    NAMES = st.sampled_from(["alice", "bob", "carol"])
    OUTCOMES = st.sampled_from(["ok", "lost", "unsent", "late", "fast"])

    make_memory = None  # set by the fixture below

    @initialize()
    def begin(self):
        self.memory, self.hand = self.make_memory()
        self.born = 0
        self.leases = {}
        for name in ("alice", "bob", "carol"):
            self.start(name)

    @rule(name=NAMES)
    def start(self, name):
        """The process dies where it is, and the same machine starts another one: nobody there knows of the old."""
        self.born += 1
        here = Process(host=name, pid=self.born, started="", machine="")
        self.leases[name] = Lease(
            self.memory,
            run=f"run-{self.born}",
            who=name,
            here=here,
            owner=f"{name}-{self.born}",
            lock_timeout=0.0,
            background=False,
            clock=self.hand,
            sleep=lambda seconds: None,
        )

    @rule(seconds=st.sampled_from([0.5, 5, 15, 16, 30, 35, 45, 59.9, 60, 89, 90.1, 200]))
    def time_passes(self, seconds):
        self.hand.seconds += seconds

    @rule()
    def what_was_under_way_arrives(self):
        self.memory.land()

    @rule(name=NAMES, outcomes=st.lists(OUTCOMES, max_size=3))
    def acquire(self, name, outcomes):
        lease = self.leases[name]
        if lease._generation:
            return
        self.memory.plan.extend(outcomes)
        try:
            lease.acquire()
        except (Locked, Unclear, TooFast):
            pass
        finally:
            self.memory.plan.clear()

    @rule(name=NAMES, outcomes=st.lists(OUTCOMES, max_size=3))
    def beat(self, name, outcomes):
        self.memory.plan.extend(outcomes)
        self.leases[name].beat()
        self.memory.plan.clear()

    @rule(name=NAMES, outcomes=st.lists(OUTCOMES, max_size=3))
    def release(self, name, outcomes):
        self.memory.plan.extend(outcomes)
        self.leases[name].release()
        self.memory.plan.clear()

    @rule()
    def the_lease_is_damaged(self):
        """By a bug of an old release, or by hand."""
        if "lease.json" in self.memory.blobs:
            self.memory._set("lease.json", b'{"own')

    @precondition(lambda self: hasattr(self, "memory"))
    @rule(name=NAMES)
    def anybody_who_waits_long_enough_gets_it(self, name):
        """No story ends in a lock that nobody can take."""
        self.start(name)
        self.hand.seconds += 91
        self.leases[name].acquire()
        self.leases[name].check()

    @invariant()
    def at_most_one_may_act(self):
        if not hasattr(self, "leases"):
            return
        sure = [name for name, lease in self.leases.items() if lease.remaining() > 0]

        assert len(sure) <= 1, sure


def test_in_no_story_do_two_act_at_once(make_memory):
    """Whatever crashes, hangs or gets lost, and in whatever order; and somebody always gets on."""
    Rivals.make_memory = staticmethod(make_memory)
    case = Rivals.TestCase()
    case.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

    case.runTest()
