"""Fixtures of this suite."""

from support.command import command

__all__ = ["command"]
