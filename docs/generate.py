"""Writes what the documentation can take from the program itself, so that it cannot go stale: --write, or --check.

A generated part of a page stands between the lines ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; everything around
it is written by hand.
"""

import ast
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.testing import CliRunner

if TYPE_CHECKING:
    from provision.errors import ProvisionError

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md")
WIDTH = 100
PART = re.compile(r"(<!-- begin (?P<name>[\w-]+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)

CALLED = ROOT / "tests" / "methods.txt"
FIGURES = ROOT / "docs" / "reference" / "fidelity.jsonl"
FORKS = ROOT / "docs" / "reference" / "forks.toml"
FIGURES_SHOWN = {
    "status": "status right",
    "keys_recall": "fields there",
    "keys_precision": "fields not too many",
    "values": "values right",
    "lifecycle": "operations right",
}
SMALLEST_STEP = "steps/build_access.py"


def commands() -> str:
    """The help of the program and of each of its commands."""
    from provision.cli import cli

    names = ["", *_names(cli)]
    return "\n".join(f"## {name or 'python -m provision'}\n\n{_block(_help(cli, name))}" for name in names)


def steps() -> str:
    """The table of steps: what each makes, what it waits for, what `down` leaves of it."""
    from steps import PLAN

    rows = (
        (
            f"[`{row.name}`](../../steps/{row.name}.py)",
            _of_a_page(row.title),
            ", ".join(f"`{name}`" for name in row.needs) or "-",
            row.step.LEAVES or "-",
        )
        for row in PLAN
    )
    return _table(("row", "what it makes", "waits for", "what `down` leaves"), rows)


def checks() -> str:
    """The checks before `up`, in the order in which they are told."""
    import inspect

    from provision.doctor.table import CHECKS

    rows = (
        (f"`{check.name}`", _first_line(inspect.getdoc(check.look)), "yes" if check.overrulable else "-")
        for check in CHECKS
    )
    return _table(("check", "what is asked", "`--despite`"), rows)


def errors() -> str:
    """The errors that a user may meet, by exit code, with the hint that each comes with."""
    from provision.errors import ProvisionError

    known = sorted(_below(ProvisionError), key=lambda error: (error.exit_code, error.__name__))
    rows = (
        (str(error.exit_code), f"`{error.__name__}`", (error.__doc__ or "").partition("\n")[0], error.hint or "-")
        for error in known
    )
    return _table(("code", "error", "what has happened", "what to do next"), rows)


def emulated() -> str:
    """The API methods that the emulator serves, by API."""
    return _methods(_by_api(_served()))


def used() -> str:
    """The API methods that the tool was seen to call by its tests, by API."""
    return _methods(_by_api(CALLED.read_text(encoding="utf-8").split()))


def scenarios() -> str:
    """The habits of Google's that the emulator can be told to show, with what may be set and who tells of each."""
    from provision.emulator.scenarios import SCENARIOS

    _load_emulator()
    rows = (
        (
            f"`{known.name}`",
            known.says,
            ", ".join(f"`{option}={value}`" for option, value in known.options.items()) or "-",
            f"[source]({known.source})",
        )
        for known in sorted(SCENARIOS.values(), key=lambda known: (known.number, known.name))
    )
    return _table(("name", "what Google does", "options, as they are unless set", "who tells"), rows)


def sources() -> str:
    """What of the emulator is tested by somebody's word, and whose."""
    rows = (
        (f"[`{path.stem}`](../../{path.relative_to(ROOT)})", _of_a_page(what), f"[page]({url})")
        for path, what, url in _cited()
    )
    return _table(("tests", "what Google does, as it is tested", "who tells"), rows)


def fidelity() -> str:
    """Each API that is served: what of it was compared with recordings and how that went, and what tests cite."""
    served = Counter({api: len(methods) for api, methods in _by_api(_served()).items()})
    cited = Counter(_api(path.stem.removeprefix("test_").partition("_")[0]) for path, _, _ in _cited())
    figures = [json.loads(line) for line in FIGURES.read_text(encoding="utf-8").splitlines()]
    proved = {_api(line["api"]): line for line in figures if line["of"] == "proved"}
    compared = {_api(line["api"]): line["requests"] for line in figures if line["of"] == "all"}
    rows = (
        (
            "together" if api == "TOTAL" else f"`{api}`",
            str(served[api] if api in served else served.total()),
            str(compared.get(api, 0)),
            *(str(proved.get(api, {}).get(figure, "-")) for figure in ("requests", *FIGURES_SHOWN)),
            str(cited[api] if api in served else cited.total()),
        )
        for api in (*sorted(served), "TOTAL")
    )
    head = ("API", "methods", "answers compared", "of these proved", *FIGURES_SHOWN.values(), "tests with a source")
    return _table(head, rows)


def forks() -> str:
    """What nobody could tell for certain, what is done on each branch, and what of a transcript settles it."""
    told = tomllib.loads(FORKS.read_text(encoding="utf-8"))["fork"]
    head = ("if", "the tool will", "shown by", "a transcript has")
    return "\n".join(
        f"### {fork['id']}\n\n{fork['question']} ({', '.join(f'[page]({page})' for page in fork['pages'])})\n\n"
        + _table(
            head,
            [
                (answer["if"], answer["we"], _shown_by(answer["test"]), _code(answer["line"]))
                for answer in fork["answers"]
            ],
        )
        for fork in told
    )


def _shown_by(test: str) -> str:
    """A link to the test; to the page of scenarios for one of those."""
    path, _, name = test.partition("::")
    if not name:
        return f"[{test}](scenarios.md)" if test else "no test"
    return f"[`{name}`](../../{path})"


def _code(pattern: str) -> str:
    return f"`` {_of_a_page(pattern)} ``" if pattern else "nothing of it"


def smallest_step() -> str:
    """The smallest step, whole."""
    return f"```python\n# {SMALLEST_STEP}\n{(ROOT / SMALLEST_STEP).read_text(encoding='utf-8')}```\n"


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "steps": steps,
    "checks": checks,
    "errors": errors,
    "emulated": emulated,
    "used": used,
    "fidelity": fidelity,
    "sources": sources,
    "forks": forks,
    "scenarios": scenarios,
    "smallest-step": smallest_step,
}


def renewed(text: str) -> str:
    """A page with all its generated parts as they should be."""
    return PART.sub(lambda part: f"{part[1]}{PARTS[part['name']]()}{part[3]}", text)


def pages() -> list[Path]:
    """All pages of the documentation."""
    return sorted(page for pattern in PAGES for page in ROOT.glob(pattern))


def _load_emulator() -> None:
    """Have all methods and scenarios of the emulator registered."""
    from provision.emulator.server import create_app
    from provision.emulator.world import World

    world = World.memory()
    create_app(world)
    world.close()


def _names(group: click.Command, before: str = "") -> Iterator[str]:
    """What to type for each command, those of a group behind it."""
    if isinstance(group, click.Group):
        for name in group.list_commands(click.Context(group)):
            yield f"{before}{name}"
            yield from _names(group.commands[name], f"{before}{name} ")


def _help(cli: click.Command, name: str) -> str:
    asked = [*name.split(), "--help"]
    answer = CliRunner().invoke(cli, asked, prog_name="python -m provision", terminal_width=WIDTH)
    return answer.output.strip()


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


def _below(kind: "type[ProvisionError]") -> "Iterator[type[ProvisionError]]":
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _listed(methods: Iterable[str]) -> str:
    """Names of methods of the same resource said in one breath: ``instances: get, insert``."""
    by_resource: dict[str, list[str]] = {}
    for method in sorted(methods):
        resource, _, verb = method.rpartition(".")
        by_resource.setdefault(resource, []).append(verb)
    return "; ".join(
        f"{resource}: {', '.join(verbs)}" if resource else ", ".join(verbs) for resource, verbs in by_resource.items()
    )


def _served() -> set[str]:
    """The ids of all methods of the emulator."""
    from provision.emulator.api import METHODS

    _load_emulator()
    return {method for method, _ in METHODS}


def _by_api(methods: Iterable[str]) -> dict[str, set[str]]:
    """Ids of methods, without the API, by API; those that stand in no discovery document by themselves."""
    from provision.emulator.api import ENDPOINTS

    _load_emulator()
    undocumented = {method for routes in ENDPOINTS.values() for _, method in routes}
    by_api: dict[str, set[str]] = {}
    for method in methods:
        api, _, rest = method.partition(".")
        by_api.setdefault("others" if method in undocumented else api, set()).add(rest or method)
    return by_api


def _methods(by_api: dict[str, set[str]]) -> str:
    rows = ((f"`{api}`", str(len(found)), _listed(found)) for api, found in sorted(by_api.items()))
    return _table(("API", "methods", "which"), rows)


def _cited() -> Iterator[tuple[Path, str, str]]:
    """Tests of the emulator that cite a page: the file, what the test says, the page."""
    for path in sorted((ROOT / "tests" / "emulator").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for mark in getattr(node, "decorator_list", ()):
                if isinstance(node, ast.FunctionDef) and ast.unparse(mark).startswith("pytest.mark.source("):
                    yield path, (ast.get_docstring(node) or "").partition("\n")[0], ast.literal_eval(mark.args[0])


def _api(name: str) -> str:
    """An API as the ids of its methods call it, from what recordings or files of tests are called."""
    return {"sqladmin": "sql", "identity": "iam", "project": "cloudresourcemanager"}.get(name, name)


def _first_line(text: str | None) -> str:
    return _of_a_page((text or "").partition("\n")[0])


def _of_a_page(text: str) -> str:
    return text.replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str]) -> int:
    """Renew the pages, or tell which are not current; the exit code says whether all is well."""
    if arguments not in (["--write"], ["--check"]):
        sys.stderr.write("usage: python docs/generate.py --write | --check\n")
        return 2
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    stale = {page: new for page, text in texts.items() if (new := renewed(text)) != text}
    for page, text in stale.items():
        if arguments == ["--write"]:
            page.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{'renewed' if arguments == ['--write'] else 'not current'}: {page.relative_to(ROOT)}\n")
    if stale and arguments == ["--check"]:
        sys.stdout.write("Renew them with: python docs/generate.py --write\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
