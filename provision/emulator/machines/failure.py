"""What a machine says when it cannot do what was asked."""


class MachineError(Exception):
    """A machine behind the emulator could not do it: what happened, why, and what to do next."""
