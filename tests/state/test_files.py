"""Files as a store: names, hand edits, and a kill at any line."""

import fcntl
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from state.errors import Conflict, TooFast
from state.files import FileStore

# Forks a child for each line of a put or delete, and kills it there; then somebody else looks and writes.
KILLER = """
import json, os, signal, sys
from pathlib import Path
import state.files
from state.files import FileStore

path, verb = Path(sys.argv[1]), sys.argv[2]
store = FileStore(path)
OLD, NEW = b"old" * 1000, b"new" * 3000

def child(kill_at):
    lines = 0
    def trace(frame, event, arg):
        nonlocal lines
        if frame.f_code.co_filename != state.files.__file__:
            return None
        if event in ("line", "return"):
            lines += 1
            if lines == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    generation = store.get("ledger.json").generation
    sys.settrace(trace)
    store.put("ledger.json", NEW, generation) if verb == "put" else store.delete("ledger.json", generation)
    sys.settrace(None)
    os._exit(0)

seen, points = [], 0
while True:
    there = store.get("ledger.json")
    store.put("ledger.json", OLD, there.generation if there else 0)
    pid = os.fork()
    if pid == 0:
        child(points + 1)
    _, status = os.waitpid(pid, 0)
    there = store.get("ledger.json")
    seen.append({OLD: "old", NEW: "new", None: "none"}.get(there.data if there else None, "torn"))
    assert store.list() == (["ledger.json"] if there else []), store.list()
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    points += 1
print(json.dumps({"points": points, "seen": seen}))
"""


@pytest.mark.parametrize(("verb", "after"), [("put", "new"), ("delete", "none")])
@pytest.mark.parametrize("name", ["state", "ours.json"], ids=["a folder", "a file"])
def test_a_kill_at_any_line_leaves_the_old_or_the_new_whole(tmp_path, name, verb, after):
    """And nothing that hinders or confuses the next writer: no lock, no half file among the names."""
    run = subprocess.run(
        [sys.executable, "-c", KILLER, tmp_path / name, verb],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["points"] > 15
    assert set(told["seen"]) == {"old", after}
    assert told["seen"] == sorted(told["seen"], key=["old", after].index)  # there is one instant at which it happens
    assert told["seen"][-1] == after


def test_a_ledger_as_a_file_lies_just_there_with_the_lease_beside_it(tmp_path):
    """`--state ./file.json`: and other files of that folder are not ours."""
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "prod.json.d").mkdir()
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "prod.json").write_text("{}")
    store = FileStore(tmp_path / "prod.json")

    store.put("ledger.json", b"ledger", 0)
    store.put("lease.json", b"lease", 0)
    store.put("runs/1.jsonl", b"run", 0)

    assert (tmp_path / "prod.json").read_bytes() == b"ledger"
    assert (tmp_path / "prod.json.lease").read_bytes() == b"lease"
    assert (tmp_path / "prod.json.runs" / "1.jsonl").read_bytes() == b"run"
    assert store.list() == ["lease.json", "ledger.json", "runs/1.jsonl"]
    assert str(store) == str(tmp_path / "prod.json")


def test_the_path_may_be_relative_and_the_folder_changed_later(tmp_path, monkeypatch):
    """It means the place where it was said."""
    monkeypatch.chdir(tmp_path)
    store = FileStore(Path("ours.json"))
    store.put("ledger.json", b"here", 0)
    monkeypatch.chdir("/")

    assert store.get("ledger.json").data == b"here"


def test_an_edit_by_hand_is_a_write_like_any_other(tmp_path):
    """A run that is under way does not overwrite it."""
    file = tmp_path / "ours.json"
    store = FileStore(file)
    seen = store.put("ledger.json", b"one", 0)
    file.write_bytes(b"two")

    with pytest.raises(Conflict):
        store.put("ledger.json", b"three", seen)

    assert file.read_bytes() == b"two"


def test_generations_differ_even_when_the_clock_stands_still(tmp_path):
    """Or is so coarse that two writes fall on one instant."""
    store = FileStore(tmp_path / "state", now=lambda: datetime(2026, 11, 23, tzinfo=UTC))

    generations = [store.put("lease.json", b"same", 0)]
    for _ in range(50):
        generations.append(store.put("lease.json", b"same", generations[-1]))

    assert len(set(generations)) == 51


def test_a_stopped_writer_does_not_stop_the_others_for_ever(tmp_path):
    """Who cannot get a turn says so, and the caller backs off."""
    store = FileStore(tmp_path, patience=0.0)

    with (tmp_path / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TooFast, match="another process is writing"):
            store.put("ledger.json", b"{}", 0)

    assert store.list() == []
    store.put("ledger.json", b"{}", 0)
