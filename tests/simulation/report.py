"""Tells of many seeds: each in turn, on all cores, with a checkpoint; and how to see a failure again."""

import gc
import json
import multiprocessing
import os
import time
from contextlib import contextmanager
from pathlib import Path

from tests.simulation.story import play

STEP = 200
"""Seeds between two checkpoints of one process."""

AT_ONCE = 50
"""Stories that are told before what they leave behind is looked for; half a megabyte each."""


def replay(seed):
    """The one command that shows a seed again."""
    return f"python -m tests.simulation --seed {seed} --trace"


def failure(seed, told):
    """What a seed broke, in words."""
    return "\n".join([f"seed {seed}:", *(f"  {what}" for what in told.failures), f"  {replay(seed)}"])


def broken(seeds):
    """Tell the stories of these seeds; what they broke, in words."""
    found = []
    for start in range(0, len(seeds), AT_ONCE):
        with _collected_afterwards():
            for seed in seeds[start : start + AT_ONCE]:
                told = play(seed)
                if told.failures:
                    found.append(failure(seed, told))
    return found


@contextmanager
def _collected_afterwards():
    """Look for what stories leave behind only after some of them: to look again and again takes a third of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def _part(bounds):
    return bounds, broken(range(*bounds))


def soak(first, last, checkpoint=None, processes=None, say=print):
    """Tell the stories from first up to last; goes on where a checkpoint was left.

    Args:
        first: the first seed.
        last: the last seed.
        checkpoint: a file that holds which parts are done; made when it is not there.
        processes: how many work side by side; one for each core when None.
        say: prints a line.

    Returns:
        How many seeds broke a promise, those of earlier sittings included.
    """
    parts = [(start, min(start + STEP, last + 1)) for start in range(first, last + 1, STEP)]
    state = {"parts": [], "failures": [], "seconds": 0.0}
    if checkpoint and Path(checkpoint).exists():
        state = json.loads(Path(checkpoint).read_text(encoding="utf-8"))
    done = {tuple(part) for part in state["parts"]}
    left = [part for part in parts if part not in done]
    earlier, begun = state["seconds"], time.monotonic()
    for line in state["failures"]:
        say(line)
    with multiprocessing.Pool(processes or os.cpu_count()) as pool:
        for number, (bounds, found) in enumerate(pool.imap_unordered(_part, left), 1):
            state["parts"].append(list(bounds))
            state["failures"] += found
            state["seconds"] = earlier + time.monotonic() - begun
            for line in found:
                say(line)
            if checkpoint:
                _save(Path(checkpoint), state)
            if number % 25 == 0:
                say(f"{_told(state)} so far")
    say(_told(state))
    return len(state["failures"])


def figures(checkpoint):
    """What a soak has come to, in a line for the page."""
    state = json.loads(checkpoint.read_text(encoding="utf-8"))
    count = sum(end - start for start, end in state["parts"])
    first, last = min(start for start, _ in state["parts"]), max(end for _, end in state["parts"]) - 1
    return f"A soak has told {count:,} of the seeds {first:,} to {last:,}; failures: {len(state['failures'])}.\n"


def _told(state):
    count = sum(end - start for start, end in state["parts"])
    return f"{count} seeds in {state['seconds']:.0f} s, {len(state['failures'])} failures"


def _save(path, state):
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(state), encoding="utf-8")
    draft.replace(path)
