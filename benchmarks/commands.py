"""How long the commands take, measured with pyperf against the emulator in a folder of its own: tox r -e bench.

`up` is timed once on an empty project, then everything again and again on what it has made, where there is nothing to
do: what is left is start-up, the ledger, and a read of every resource.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyperf
from rich.console import Console
from rich.table import Table

PROGRAM = [sys.executable, "-m", "provision"]
COMMANDS = {
    "--help": ["--help"],
    "up, nothing to do": ["up", "--local", "--json"],
    "plan": ["plan", "--local", "--json"],
    "drift": ["drift", "--local", "--json"],
    "status": ["status", "--local", "--json"],
}
RUNS = 7


def first_up(folder: Path) -> float:
    """Deploy on an empty project; returns the seconds that it took."""
    begun = time.perf_counter()
    subprocess.run([*PROGRAM, "up", "--local"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def measure(folder: Path, arguments: list[str]) -> pyperf.Benchmark:
    """Run one command several times, each in a process of its own."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    how = ["--processes", str(RUNS), "--values", "1", "--warmups", "0", "--loops", "1", "--copy-env", "--quiet"]
    pyperf_command = [sys.executable, "-m", "pyperf", "command", *how, "-o", str(result), "--"]
    subprocess.run([*pyperf_command, *PROGRAM, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return pyperf.Benchmark.load(str(result))


def main() -> None:
    """Measure and print the table."""
    table = Table("command", "median", "slowest", title=f"Seconds, of {RUNS} runs each")
    with tempfile.TemporaryDirectory(prefix="provision-benchmark-") as name:
        folder = Path(name)
        try:
            table.add_row("up, an empty project", f"{first_up(folder):.2f}", "once")
            for title, arguments in COMMANDS.items():
                found = measure(folder, arguments)
                table.add_row(title, f"{found.median():.2f}", f"{max(found.get_values()):.2f}")
        finally:
            subprocess.run([*PROGRAM, "stop", "--local"], cwd=folder, check=False, stdout=subprocess.DEVNULL)
    Console().print(table)


if __name__ == "__main__":
    main()
