"""How the house is built: which part may know which, how long a module may be, and what a run must not load."""

import ast
import graphlib
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import grimp
import pytest

from provision.plan import Row
from steps import PLAN

ROOT = Path(__file__).parents[1]
OURS = ("provision", "state", "steps")

# From the ground up: a module imports from lower floors only, so there are no cycles.
FLOORS = (
    {"clock", "errors", "gate", "interrupts", "invitation", "log", "tiers", "together", "transport", "walk"},
    {"refusals"},
    {"circumstances", "config", "gcp"},
    {"constraints"},
    {"retry"},
    {"deployment", "local", "wizard"},
    {"step"},
    {"compare", "operations", "plan"},
    {"patience", "renewal"},
    {"bootstrap", "deeds", "identity", "inspect", "keys", "traces"},
    {"convergence", "proof"},
    {"engine", "verify"},
    {"session", "teardown"},
    {"doctor", "rebuild", "replacement", "rollback"},
    {"progress", "report"},
    {"options"},
    {"commands"},
    {"cli"},
    {"__main__"},
)

# What a step may know of the engine's side: the contract, what is declared from, the clients; nothing that acts.
STEPS_KNOW = {
    f"provision.{name}" for name in ("compare", "config", "deployment", "errors", "gcp", "operations", "step")
}

LONGEST_MODULE = 400


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*OURS, cache_dir=None)


def modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def of(package: str, graph: grimp.ImportGraph) -> set[str]:
    return {package, *graph.find_descendants(package)}


def test_every_module_of_the_engine_stands_on_one_floor(graph: grimp.ImportGraph) -> None:
    """A new module is given its place; a removed one leaves none behind."""
    standing = sorted(name for floor in FLOORS for name in floor)

    assert standing == sorted(
        name.partition(".")[2] for name in graph.find_children("provision") - {"provision.emulator"}
    )


def test_a_module_of_the_engine_knows_only_lower_floors(graph: grimp.ImportGraph) -> None:
    """So it can be read, tested and changed without what stands on it."""
    level = {f"provision.{name}": number for number, floor in enumerate(FLOORS) for name in floor}
    inside = {module: name for name in level for module in of(name, graph)}
    upwards = {
        f"{module} -> {other}"
        for module, name in inside.items()
        for other in graph.find_modules_directly_imported_by(module)
        if other.startswith("provision.") and inside.get(other) != name
        if level.get(inside.get(other, ""), len(FLOORS)) >= level[name]
    }

    assert upwards == set()


def test_only_the_commands_know_the_steps(graph: grimp.ImportGraph) -> None:
    """The engine sees a step through the contract, so that a step can be added without touching it."""
    steps = of("steps", graph)
    importers = {name for step in steps for name in graph.find_modules_that_directly_import(step)} - steps

    assert {name.rpartition(".")[0] for name in importers} == {"provision.commands"}


@pytest.mark.parametrize("path", modules("provision/commands"), ids=named)
def test_a_command_imports_the_steps_where_it_uses_them(path: Path) -> None:
    """Lazily: asking for help, or making a mistake in the settings, waits for no library of Google's."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_start = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in at_start}

    assert not {name for name in names if name and name.split(".")[0] in {"steps", "google", "googleapiclient"}}


def test_a_step_knows_the_contract_and_other_steps(graph: grimp.ImportGraph) -> None:
    """Neither the engine nor the ledger: it could not even tell whether it runs for the first time."""
    steps = of("steps", graph)
    known = {other for step in steps - {"steps"} for other in graph.find_modules_directly_imported_by(step)}

    assert known - steps <= STEPS_KNOW


def test_steps_do_not_know_each_other_in_a_circle(graph: grimp.ImportGraph) -> None:
    """One may take a name from another; then that one stands by itself."""
    steps = of("steps", graph) - {"steps"}
    known = {name: graph.find_modules_directly_imported_by(name) & steps for name in steps}

    assert set(graphlib.TopologicalSorter(known).static_order()) == steps


@pytest.mark.parametrize("package", ["state", "provision.emulator"])
def test_a_part_that_stands_alone_knows_nothing_of_ours(graph: grimp.ImportGraph, package: str) -> None:
    """The ledger is handed its storage client; the emulator is held to Google's word and not to what we expect of it."""
    inside = of(package, graph)
    known = {other for name in inside for other in graph.find_modules_directly_imported_by(name)} - inside
    known -= {"provision"}  # the release's version, which the emulator tells

    assert known == set()


def test_what_a_data_scientist_installs_needs_three_libraries() -> None:
    """And MLflow; a progress bar's only where it is there. Nothing of ours comes with it."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in modules("client/mlflow_iap_auth")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}

    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {
        "google", "mlflow", "mlflow_iap_auth", "requests", "tqdm",
    }  # fmt: skip


def test_a_module_says_what_it_is_and_is_short() -> None:
    """A module longer than a few screens says in its docstring: one module because ..."""
    texts = {
        path: path.read_text(encoding="utf-8") for path in modules(*OURS, "server", "client", "docs", "benchmarks")
    }
    says = {path: ast.get_docstring(ast.parse(text)) or "" for path, text in texts.items()}
    long = [path for path, text in texts.items() if len(text.splitlines()) > LONGEST_MODULE]

    assert [named(path) for path, words in says.items() if not words] == []
    assert [named(path) for path in long if "one module because" not in says[path]] == []


@pytest.mark.parametrize("row", list(PLAN), ids=lambda row: row.name)
def test_a_step_tells_the_user_what_it_makes(row: Row) -> None:
    """The first line of its docstring is what `plan` and docs/reference/steps.md show."""
    assert row.title
    assert len(row.title) <= 118
    assert not row.title.startswith(("TODO", "Step", "Module"))


def test_every_module_of_the_steps_stands_in_the_table_or_helps_those_that_do() -> None:
    """A forgotten row would leave its resource unmade without a word; a helper's name starts with an underscore."""
    names = {path.stem for path in modules("steps") if not path.stem.startswith("_")}

    assert names == {row.name for row in PLAN}


def test_asking_for_help_imports_no_library_of_googles() -> None:
    """`--help` answers at once, and also where the credentials are broken."""
    program = """
        import contextlib, runpy, sys
        sys.argv = ["provision", "up", "--help"]
        with contextlib.suppress(SystemExit):
            runpy.run_module("provision", run_name="__main__")
        loaded = {name for name in sys.modules if name.startswith(("google.", "googleapiclient", "steps", "mlflow"))}
        # Namespace packages are put in place by the interpreter itself, before any program runs.
        print(sorted(name for name in loaded if getattr(sys.modules[name], "__file__", None)))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)

    assert ran.stdout.splitlines()[-1] == "[]"
    assert "Usage: " in ran.stdout


def test_no_test_reaches_another_machine() -> None:
    """The guard stands in front of connections by address and of names that would have to be looked up."""
    with socket.socket() as there, pytest.raises(Exception) as by_address:  # noqa: PT011 - the guard's own
        there.connect(("192.0.2.1", 443))  # an address that is nobody's: https://www.rfc-editor.org/rfc/rfc5737
    with pytest.raises(Exception) as by_name:  # noqa: PT011 - the guard's own
        socket.create_connection(("storage.googleapis.com", 443), timeout=0.1)

    assert type(by_address.value).__name__ == "ThisTestTriedToReachTheRealCloud"
    assert type(by_name.value).__name__ == "ThisTestTriedToReachTheRealCloud"


def test_no_file_names_the_place_where_it_was_written() -> None:
    """A path of one person's machine helps nobody else."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout")
    texts = {name: (ROOT / name).read_bytes() for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}

    assert [name for name, text in texts.items() if f"{ROOT}/".encode() in text] == []
