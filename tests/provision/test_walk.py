"""The walk over a graph: order, failures, and the way it stops."""

import threading

import pytest

from provision.walk import walk


def test_what_is_needed_comes_first():
    """Every node is visited once, after all that it needs."""
    seen = []
    outcome = walk({"c": ["a", "b"], "a": [], "b": ["a"]}, seen.append, workers=1)

    assert seen == ["a", "b", "c"]
    assert outcome.done == seen


def test_independent_nodes_run_side_by_side():
    """Two nodes that meet at a barrier can only pass it together."""
    barrier = threading.Barrier(2, timeout=10)
    outcome = walk({"a": [], "b": []}, lambda node: barrier.wait() and None)

    assert sorted(outcome.done) == ["a", "b"]


def test_a_failure_skips_dependants_and_no_others():
    """What does not need the failed node is visited all the same."""

    def visit(node):
        if node == "bad":
            raise ValueError(node)

    outcome = walk({"bad": [], "child": ["bad"], "grandchild": ["child"], "other": []}, visit)

    assert list(outcome.failed) == ["bad"]
    assert sorted(outcome.skipped) == ["child", "grandchild"]
    assert outcome.done == ["other"]


def test_a_stopped_walk_starts_nothing_new():
    """The visit that sets the flag ends in order; the rest is never begun."""
    stop = threading.Event()
    outcome = walk({"a": [], "b": ["a"]}, lambda node: stop.set(), stop=stop)

    assert outcome.done == ["a"]
    assert outcome.skipped == ["b"]


def test_an_interrupt_is_no_failure_of_a_node():
    """What is no Exception ends the walk and is raised."""

    class Death(BaseException):
        pass

    def visit(node):
        raise Death

    with pytest.raises(Death):
        walk({"a": [], "b": ["a"]}, visit)


def test_needs_outside_the_graph_count_as_done():
    """A second pass over what is left must not wait for what the first has done."""
    assert walk({"b": ["a"]}, lambda node: None).done == ["b"]
