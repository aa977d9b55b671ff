"""Visits the nodes of a graph, each after what it needs, side by side where nothing stands between; knows no clouds."""

import graphlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

PATROL = 0.2
"""Seconds between two looks at whether the walk was stopped."""


@dataclass
class Outcome:
    """How a walk ended.

    Args:
        done: Nodes that were visited without an error.
        failed: By node, the error that its visit raised.
        skipped: Nodes that were never visited: something that they need failed, or the walk was stopped.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def walk(
    needs: Mapping[str, Iterable[str]],
    visit: Callable[[str], None],
    *,
    workers: int = 8,
    stop: threading.Event | None = None,
) -> Outcome:
    """Visit every node once what it needs is done.

    Args:
        needs: By node, the nodes that come first; those that are no nodes themselves count as done.
        visit: Called in a thread of the pool. An Exception fails the node; its dependants are skipped, others go on.
            What is no Exception (an interrupt) ends the walk once the running visits have ended, and is raised.
        workers: How many visits may run at a time.
        stop: Once set, nothing new is started.

    Raises:
        graphlib.CycleError: The graph has a cycle.
    """
    stop = stop or threading.Event()
    sorter = graphlib.TopologicalSorter(
        {node: [other for other in above if other in needs] for node, above in needs.items()}
    )
    sorter.prepare()
    outcome = Outcome()
    unreachable: set[str] = set()
    running: dict[Future[None], str] = {}
    fatal: BaseException | None = None
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="walk") as pool:
        while sorter.is_active() and fatal is None:
            for node in sorter.get_ready():
                if stop.is_set() or not unreachable.isdisjoint(needs[node]):
                    unreachable.add(node)
                    outcome.skipped.append(node)
                    sorter.done(node)
                else:
                    running[pool.submit(visit, node)] = node
            ended, _ = wait(running, timeout=PATROL, return_when=FIRST_COMPLETED)
            for future in [future for future in running if future in ended]:  # one order, whatever ends together
                node = running.pop(future)
                match future.exception():
                    case None:
                        outcome.done.append(node)
                    case Exception() as error:
                        outcome.failed[node] = error
                        unreachable.add(node)
                    case interrupt:
                        fatal = interrupt
                        break
                sorter.done(node)
    if fatal is not None:
        raise fatal
    return outcome
