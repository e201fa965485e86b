"""Takes a part of the gateway out, to see what notices: a test that does not is no test of that part."""

from __future__ import annotations


def replace(owner: object, name: str, value: object) -> None:
    """Replaces a part of the gateway, which has to be there: a defence that was renamed is not taken out unnoticed."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner} has no {name}: what takes defences out has to follow them")
    setattr(owner, name, value)
