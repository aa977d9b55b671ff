"""Behaviour of the APIs, one file each; every module here is loaded when the emulator starts."""
