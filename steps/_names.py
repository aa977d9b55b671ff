"""The parts of a ref, and the parts of a body that we manage."""

from collections.abc import Mapping, Sequence

from provision.step import Body, Change, Ref


def parts(ref: Ref) -> dict[str, str]:
    """Split ``projects/p/instances/i`` into ``{"projects": "p", "instances": "i"}``."""
    words = ref.split("/")
    return dict(zip(words[::2], words[1::2], strict=False))


def parent(ref: Ref, levels: int = 1) -> str:
    """The name of what a resource lies in: without its last collection and id, or several of them."""
    return ref.rsplit("/", 2 * levels)[0]


def chosen(answer: Mapping[str, object], *fields: str) -> Body:
    """Only these fields of an answer, those that are there."""
    return {field: answer[field] for field in fields if field in answer}


def nested(changes: Sequence[Change]) -> Body:
    """The body of a patch: the goals of all changes, each where it belongs; None takes a field away."""
    patch: Body = {}
    for change in changes:
        place = patch
        for key in change.path[:-1]:
            place = place.setdefault(key, {})
        place[change.path[-1]] = change.goal
    return patch


def mask(changes: Sequence[Change]) -> str:
    """The top-level fields that the changes lie in, as an update mask."""
    return ",".join(sorted({change.path[0] for change in changes}))
