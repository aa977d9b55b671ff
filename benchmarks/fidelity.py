"""How faithful the emulator is: what was asked of the real services is asked of it: tox r -e fidelity -- FOLDER.

FOLDER holds the program that replays, ``tools/fidelity.py``, and the recordings, ``golden/sequences/*.jsonl``; neither
is part of this project. Recordings that are proved to come from the real services are held against the bars; the others
are replayed for information. With ``--write`` the figures are kept for docs/emulator.md, which `tox r -e docs` renews.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

Json = dict[str, Any]

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "reference" / "fidelity.jsonl"

BARS = {
    "status": 99.0,
    "error_reason": 97.0,
    "error_status": 97.0,
    "keys_recall": 97.0,
    "keys_precision": 95.0,
    "values": 93.0,
    "lifecycle": 97.0,
}
"""Percent of all that is scored."""
OF_EACH_API = 90.0
"""Percent of each of these figures that every API must have of which enough is known."""
ENOUGH_VALUES = 25
LEFT_OUT = 5.0
"""Percent of the requests that may go unanswered: not implemented, or about something whose making is not."""

NOT_HERE = """\
{folder} has no {missing}.
This needs a folder with tools/fidelity.py, which replays recordings against an emulator, and golden/sequences/*.jsonl,
the recordings: one exchange a line, {{method, url, request_body, status, response_body}}. This project has neither.
Type: tox r -e fidelity -- FOLDER
"""


@contextlib.contextmanager
def emulator() -> Iterator[int]:
    """An emulator without machines in a process of its own; the value is its port."""
    command = [sys.executable, "-m", "provision.emulator", "--no-machines", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()


def replayed(folder: Path, port: int, *grade: str) -> Json:
    """What the program of the folder says of recordings of a grade; its own table goes to standard output."""
    with tempfile.TemporaryDirectory(prefix="fidelity-") as name:
        written = Path(name) / "figures.json"
        program = [sys.executable, str(folder / "tools" / "fidelity.py"), "--port", str(port)]
        where = ["--golden", str(folder / "golden"), "--json", str(written)]
        subprocess.run([*program, *where, *grade], check=True)
        found: Json = json.loads(written.read_text(encoding="utf-8"))
    return {api: told["counts"] | told["figures"] for api, told in sorted(found["apis"].items())}


def kept(of: str, apis: Json) -> str:
    """What the documentation shows: a line of JSON for each API, with its requests, and each figure in percent."""
    lines = (
        {"of": of, "api": api, "requests": told["requests"]}
        | {figure: round(told[figure]["percent"], 1) for figure in BARS if told[figure]["n"]}
        for api, told in apis.items()
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def below(apis: Json) -> list[str]:
    """What is under its bar, a sentence each."""
    total = apis["TOTAL"]
    unanswered = 100 * (total.get("unimplemented", 0) + total.get("blocked", 0)) / total["requests"]
    bars = [("TOTAL", figure, least) for figure, least in BARS.items()]
    known = [api for api, told in apis.items() if api != "TOTAL" and told["values"]["n"] >= ENOUGH_VALUES]
    bars += [(api, figure, OF_EACH_API) for api in known for figure in BARS]
    low = [
        f"{figure} of {api} is {apis[api][figure]['percent']:.2f} % and should be {least:g} % at least"
        for api, figure, least in bars
        if apis[api][figure]["n"] and apis[api][figure]["percent"] < least
    ]
    return low + [f"{unanswered:.2f} % went unanswered; {LEFT_OUT:g} % may"] * (unanswered > LEFT_OUT)


def main(arguments: list[str]) -> int:
    """Replay, print, compare; the exit code is 0, 1 when something is under its bar, 3 without recordings."""
    parser = argparse.ArgumentParser(prog="tox r -e fidelity --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="holds tools/fidelity.py and golden/")
    parser.add_argument("--write", action="store_true", help="renew the figures in the documentation")
    options = parser.parse_args(arguments)
    folder = (options.folder or Path()).resolve()
    missing = [name for name in ("tools/fidelity.py", "golden/sequences") if not (folder / name).exists()]
    if missing:
        click.echo(NOT_HERE.format(folder=folder, missing=" and no ".join(missing)), err=True, nl=False)
        return 3
    with emulator() as port:
        everything = replayed(folder, port)
        click.echo("\nProved to come from the real services:\n")
        proved = replayed(folder, port, "--grade", "strict")
    if options.write:
        FIGURES.write_text(kept("proved", proved) + kept("all", everything), encoding="utf-8")
    low = below(proved)
    click.echo("".join(f"\nUnder its bar: {line}" for line in low) or "\nEvery figure is over its bar.")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
