"""The documentation says what is: generated parts are current, commands and settings exist, links lead somewhere."""

import configparser
import functools
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pydantic
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from provision import config, errors
from provision.cli import cli
from provision.commands.running import CHANGES_PENDING

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "client" / "README.md"])
LINE = re.compile(r"^python3 -m venv .*$", re.MULTILINE)
TYPED = re.compile(r"(?:^\$ |`|\$\()(python -m provision\b[^`)#>\n]*)", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@functools.cache
def generator() -> ModuleType:
    """docs/generate.py, which is a program and in no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: Path, language: str) -> list[str]:
    """What stands between fences of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_generated_parts_are_current(page: Path) -> None:
    """Otherwise: tox r -e docs."""
    assert text_of(page) == generator().renewed(text_of(page))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the project, and to a heading that is in it."""
    lost = []
    for link in LINK.findall(text_of(page)):
        if "://" in link:
            continue
        where, _, heading = link.partition("#")
        target = (page.parent / where.replace("\\", "")).resolve() if where else page
        if not target.exists() or (heading and heading not in headings(target)):
            lost.append(link)

    assert lost == []


def headings(page: Path) -> set[str]:
    """Anchors as they are made of headings."""
    titles = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_that_a_page_tells_to_type_exist(page: Path) -> None:
    """With the options that it tells to give them."""
    for typed in TYPED.findall(text_of(page)):
        words = shlex.split(typed.strip())[3:]
        if not words or words[0] in {"COMMAND", "--help"}:
            continue
        group = cli.make_context("provision", list(words))
        name, command, rest = cli.resolve_command(group, [*group._protected_args, *group.args])
        assert name, typed
        assert command, typed
        context = command.make_context(name, rest, parent=group)
        while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
            name, command, rest = command.resolve_command(context, rest)
            assert name, typed
            assert command, typed
            context = command.make_context(name, rest, parent=context)


def test_the_readme_sets_up_everything_in_two_lines() -> None:
    """One to have it, one to work on it; and both are seen without scrolling."""
    readme = text_of(ROOT / "README.md")
    lines = LINE.findall(readme)

    assert len(lines) == 2
    assert lines[0].endswith("python -m provision up --local")
    assert "pip install -c constraints.txt -e '.[local]'" in lines[0]
    assert lines[1].endswith("tox")
    assert readme[: readme.index(lines[1])].count("\n") < 60


def test_ci_runs_the_line_of_the_readme() -> None:
    """Whoever follows the README does what CI does; beyond that CI has a browser."""
    program = text_of(ROOT / ".ci" / "run")
    checked = subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], capture_output=True, text=True, check=False)

    assert LINE.findall(program) == LINE.findall(text_of(ROOT / "README.md"))[1:]
    assert LINE.findall(text_of(ROOT / "CONTRIBUTING.md").replace("$ ", "")) == LINE.findall(program)
    assert re.findall(r"\.venv/bin/tox\b.*", program) == [".venv/bin/tox", ".venv/bin/tox r -e browser"]
    assert checked.returncode == 0, checked.stderr


TOMLS = [
    *(pytest.param(text_of(path), id=named(path)) for path in sorted((ROOT / "examples").glob("*.toml"))),
    *(
        pytest.param(text, id=f"{named(page)}, block {number}")
        for page in PAGES
        for number, text in enumerate(blocks(page, "toml"), 1)
    ),
]


@pytest.mark.parametrize("text", TOMLS)
def test_settings_that_are_shown_are_taken(text: str) -> None:
    """Whoever copies them gets no error."""
    assert config.parse(text).project


def settings(section: type[pydantic.BaseModel], prefix: str = "") -> dict[str, object]:
    """All keys with their defaults; None where there is no default, or it is None."""
    found: dict[str, object] = {}
    for name, field in section.model_fields.items():
        if isinstance(field.default, config.Section):
            found |= settings(type(field.default), f"{prefix}{name}.")
        else:
            found[prefix + name] = None if field.is_required() else field.default
    return found


def test_every_setting_is_described_with_its_default() -> None:
    """docs/reference/configuration.md, which errors point to, is whole and right."""
    page = text_of(ROOT / "docs" / "reference" / "configuration.md")
    rows = re.findall(r"^\| `([\w.]+)` \| (none|`[^`]*`)([^|]*) \| \S", page, re.MULTILINE)
    # A default that follows from other settings is told in more words than one, and is None in the program.
    described = {
        key: None if default == "none" or words else tomllib.loads(f"it = {default.strip('`')}")["it"]
        for key, default, words in rows
    }
    actual = {key: list(value) if isinstance(value, tuple) else value for key, value in settings(config.Config).items()}

    assert described == actual


def test_every_exit_code_has_its_line() -> None:
    """docs/reference/exit-codes.md is what a pipeline is written from."""
    page = text_of(ROOT / "docs" / "reference" / "exit-codes.md")
    told = {int(code) for code in re.findall(r"^\| (\d+) \| [^`]", page, re.MULTILINE)}
    known = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}

    assert told >= {0, CHANGES_PENDING, *known}


def test_what_the_program_points_to_is_there() -> None:
    """A hint that names a page of the documentation names one that exists."""
    named_pages = {
        page for source in ROOT.glob("provision/**/*.py") for page in re.findall(r"\bdocs/[\w/-]+\.md", text_of(source))
    }

    assert "docs/reference/configuration.md" in named_pages
    assert [page for page in sorted(named_pages) if not (ROOT / page).exists()] == []


def test_every_decision_is_listed_and_says_what_is_bad_about_it() -> None:
    """There is no decision without a price."""
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"\((\d{4}-[\w-]+\.md)\)", text_of(folder / "README.md"))
    decisions = sorted(path.name for path in folder.glob("0*.md"))

    assert listed == decisions
    assert [name for name in decisions if "**What is bad about it.**" not in text_of(folder / name)] == []


def test_every_page_is_reached_from_the_index() -> None:
    """docs/index.md, or a page that it lists."""
    seen, open_pages = set(), [ROOT / "docs" / "index.md"]
    while open_pages:
        page = open_pages.pop()
        seen.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(text_of(page)) if "://" not in link]
        targets = [(page.parent / link).resolve() for link in links]
        open_pages += [target for target in targets if target.suffix == ".md" and target not in seen]

    assert sorted(named(page) for page in set(ROOT.glob("docs/**/*.md")) - seen) == []


def test_constraints_pin_everything_that_is_asked_for() -> None:
    """To a version that is allowed, and without a word about where it comes from."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    asked = [setup["options"]["install_requires"], *(extras[name] for name in extras)]
    wanted = [Requirement(line) for text in asked for line in text.split("\n") if line.strip()]
    text = text_of(ROOT / "constraints.txt")
    pins = {canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}
    unfit = [
        str(need)
        for need in wanted
        if need.name != "mlflow-on-gcp"
        and not need.specifier.contains(pins.get(canonicalize_name(need.name), "0"), True)
    ]

    assert unfit == []
    assert {"tox", "ruff", "mypy", "pyperf"} <= pins.keys()
    assert [line for line in text.splitlines() if line[0] != "#" and not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_the_example_logs_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """examples/log_a_run.py is run as it is, against a store of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    command = [sys.executable, ROOT / "examples" / "log_a_run.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1].startswith("Logged run ")
    assert list(tmp_path.rglob("hello.txt"))


def test_the_example_tells_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address it logs nowhere, and says so."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    command = [sys.executable, ROOT / "examples" / "log_a_run.py"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ran.returncode == 1
    assert "MLFLOW_TRACKING_URI must be set" in ran.stderr


def test_help_is_short_enough_to_be_read() -> None:
    """Every command says in one line what it does."""
    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in cli.list_commands(context)]

    assert all(command and len(command.get_short_help_str(200)) < 100 for command in commands)
