"""A clock moved by hand, a store in memory that fails as told, and every real store under one name."""

import threading
from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from state.errors import Conflict, TooFast, Unclear
from state.files import FileStore
from state.gcs import GcsStore
from state.ledger import Ledger
from state.store import Blob


class Hand:
    """A clock moved by hand: nothing in these tests takes time. Sleeping moves it."""

    START = datetime(2026, 11, 23, tzinfo=UTC)

    def __init__(self):
        self.seconds = 1000.0
        self.slept = []

    def __call__(self):
        return self.seconds

    def utc(self):
        return self.START + timedelta(seconds=self.seconds)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.seconds += seconds


class MemoryStore:
    """A store in memory. `plan` says what becomes of the next writes, one word each; after that all go well.

    ok     written, and answered
    lost   written, and the answer lost
    unsent not written, and no answer
    late   no answer now; written when `land` is called, if its generation is still there
    fast   refused with 429
    """

    def __init__(self, hand):
        self.hand = hand
        self.blobs = {}
        self.plan = deque()
        self.writes = []  # (name, outcome) of every put, "conflict" among them
        self.saved = []  # the bytes of every put that was written, those of the history aside
        self.late = []
        self.refusal = None  # raised by each write
        self.gate = None  # when set, writes wait for it
        self.entered = threading.Semaphore(0)  # released by each write that begins
        self._generations = 0
        self._lock = threading.Lock()

    def get(self, name):
        if name not in self.blobs:
            return None
        data, generation, updated = self.blobs[name]
        return Blob(data, generation, updated, self.hand.utc().replace(microsecond=0))  # a Date header has no fractions

    def put(self, name, data, if_generation):
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(30), "the test never opened the gate"
        with self._lock:
            return self._write(name, if_generation, data)

    def delete(self, name, if_generation):
        with self._lock:
            self._write(name, if_generation, None)

    def list(self, prefix=""):
        return sorted(name for name in self.blobs if name.startswith(prefix))

    def land(self):
        """The writes that were under way arrive."""
        for name, data, generation in self.late:
            if self._generation(name) == generation:
                self._set(name, data)
        self.late.clear()

    def _write(self, name, if_generation, data):
        outcome = self.plan.popleft() if self.plan else "ok"
        if self.refusal is not None:
            raise self.refusal
        if outcome == "fast":
            self.writes.append((name, outcome))
            raise TooFast(name, "429")
        if outcome in {"unsent", "late"}:
            self.writes.append((name, outcome))
            if outcome == "late" and data is not None:
                self.late.append((name, data, if_generation))
            raise Unclear(name, "timed out")
        if self._generation(name) != if_generation or (data is None and name not in self.blobs):
            self.writes.append((name, "conflict"))
            raise Conflict(name, if_generation)
        self.writes.append((name, outcome))
        generation = self._set(name, data)
        if outcome == "lost":
            raise Unclear(name, "the answer was lost")
        return generation

    def _set(self, name, data):
        if data is None:
            del self.blobs[name]
            return 0
        # unique, and deliberately not growing: nobody may rely on that
        self._generations += 1
        generation = (self._generations * 7919) % 1_000_003 + 1
        self.blobs[name] = (data, generation, self.hand.utc())
        if not name.startswith("history/"):
            self.saved.append(data)
        return generation

    def _generation(self, name):
        return self.blobs[name][1] if name in self.blobs else 0


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def memory(hand):
    return MemoryStore(hand)


@pytest.fixture(scope="session")
def make_memory():
    """For property tests, which need a new one for each example."""

    def make():
        hand = Hand()
        return MemoryStore(hand), hand

    return make


@pytest.fixture(scope="session")
def new_ledger():
    def make(**fields):
        basics = {
            "deployment": "0a1b2c3d",
            "salt": "x7f2",
            "project": "acme-ml",
            "project_number": "123456789012",
            "region": "europe-west1",
        }
        return Ledger.model_validate(basics | fields)

    return make


@pytest.fixture
def bucket(emulator):
    """A bucket as ours are made: with versioning. Its client is Google's own; the emulator answers."""
    endpoint = {"api_endpoint": f"{emulator.url}/storage.googleapis.com"}
    client = Client(project="test-project-1", credentials=AnonymousCredentials(), client_options=endpoint)
    bucket = client.bucket("test-project-1-provision")
    bucket.versioning_enabled = True
    client.create_bucket(bucket)
    yield bucket
    client.close()


@pytest.fixture(params=["a folder", "a file", "memory", "a bucket", "a folder of a bucket"])
def store(request, tmp_path):
    match request.param:
        case "a folder":
            return FileStore(tmp_path / "state")
        case "a file":
            return FileStore(tmp_path / "ours.json")
        case "memory":
            return request.getfixturevalue("memory")
        case "a bucket":
            return GcsStore(request.getfixturevalue("bucket"))
        case "a folder of a bucket":
            return GcsStore(request.getfixturevalue("bucket"), "prod/")
