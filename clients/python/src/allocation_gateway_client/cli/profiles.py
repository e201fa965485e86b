"""Where the gateway is and how to reach it: a file of profiles, and options that win over it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from allocation_gateway_client.connecting import Tls

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT: Final = "default"
DEFAULT_ADDRESS: Final = "127.0.0.1:50051"


class ProfileError(Exception):
    """A file of profiles that cannot be used. Its text says what is wrong with it."""


@dataclass(frozen=True)
class Profile:
    """One gateway, and how to reach it.

    Attributes:
        address: `host:port`.
        plaintext: Do without TLS.
        ca_file: The authorities to trust, PEM.
        certificate_file: The caller's certificate, PEM.
        key_file: Its private key, PEM.
        server_name: The name that the gateway's certificate has.
        token_file: A file with a bearer token.
        account: The account of the gateway that calls are for.
        timeout: The seconds that a call may take with all its repetitions.
        metadata: Sent with each call.
    """

    address: str = DEFAULT_ADDRESS
    plaintext: bool = False
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    server_name: str = ""
    token_file: str | None = None
    account: str = ""
    timeout: float = 60.0
    metadata: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Returns the arguments of a client."""
        tls = None if self.plaintext else Tls(self.ca_file, self.certificate_file, self.key_file, self.server_name)
        return {
            "address": self.address,
            "tls": tls,
            "plaintext": self.plaintext,
            "token_file": self.token_file,
            "account": self.account,
            "timeout": self.timeout,
            "metadata": self.metadata,
        }


def default_file() -> Path:
    """Returns where the profiles are kept."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "allocctl" / "profiles.toml"


def load(file: Path | None, name: str | None, given: Mapping[str, Any]) -> Profile:
    """Returns a profile, with what was given in its place.

    Args:
        file: Where the profiles are; None for the usual place, where there need not be any.
        name: The profile; None for `default`, which need not be there.
        given: Options of the command line by the names of the attributes; None for what was not given.

    Raises:
        ProfileError: The file or the profile is not there, or something in it is wrong.
    """
    path = file or default_file()
    known = _read(path) if file is not None or name is not None or path.exists() else {}
    found = known.get(name or DEFAULT)
    if found is None and name is not None:
        raise ProfileError(f"{path} has no profile {name}: it has {', '.join(sorted(known)) or 'none'}")
    own = {key: value for key, value in given.items() if value is not None}
    return replace(_profile(path, name or DEFAULT, found or {}), **own)


def _read(path: Path) -> dict[str, Any]:
    try:
        known = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} is not TOML: {error}") from None
    for name, value in known.items():
        if not isinstance(value, dict):
            raise ProfileError(f"{path}: `{name}` is in no profile: write [{DEFAULT}], or another name, above it")
    return known


def _profile(path: Path, name: str, found: Mapping[str, Any]) -> Profile:
    kinds = {one.name: type(getattr(Profile(), one.name)) for one in fields(Profile)}
    for key, value in found.items():
        if key not in kinds:
            raise ProfileError(f"{path}, profile {name}: there is no `{key}`, only {', '.join(kinds)}")
        # What has no default is a text.
        kind = str if kinds[key] is type(None) else kinds[key]
        if not isinstance(value, (float, int) if kind is float else kind) or (kind is float and value is True):
            raise ProfileError(f"{path}, profile {name}: `{key}` must be of type {kind.__name__}")
    for key, value in found.get("metadata", {}).items():
        if not isinstance(value, str):
            raise ProfileError(f"{path}, profile {name}: `{key}` of its metadata must be of type str")
    return Profile(**found)
