"""Run the command line: python -m provision."""

from provision import interrupts

interrupts.listen(interrupts.at_once)  # nothing has begun while this is loading

from provision.cli import main  # noqa: E402 - see above

main(prog_name="python -m provision")
