"""What callers and gateway of a secured row have: certificates, a token, a policy and accounts."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from bench.machine import CACHE

if TYPE_CHECKING:
    from pathlib import Path

# As many as a company might have. The caller's own rule is the last: those before it are looked at first.
_RULES: Final = 200
_ACCOUNTS: Final = 20
_ISSUER: Final = "https://issuer.example"
_AUDIENCE: Final = "allocation-gateway"
_SUBJECT: Final = "system:serviceaccount:bench:load"
_LIFE: Final = 24 * 3600


@dataclass(frozen=True)
class Credentials:
    """Files that are made anew for each benchmark.

    Attributes:
        authority: The authority of all certificates, PEM.
        server: The gateway's certificate and key, PEM.
        client: The caller's certificate and key, PEM.
        token: The caller's bearer token.
        key_set: The key set that verifies it, JSON.
        policy: A policy of 200 rules, of which the last one allows the call, TOML.
        accounts: Twenty accounts besides the one that is used, TOML.
    """

    authority: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]
    token: Path
    key_set: Path
    policy: Path
    accounts: Path

    def of_tls(self) -> dict[str, str]:
        """Returns the settings of a gateway with TLS, without their prefix."""
        return {"TLS_CERT_FILE": str(self.server[0]), "TLS_KEY_FILE": str(self.server[1])}

    def of_callers(self) -> dict[str, str]:
        """Returns the settings of one that asks who calls and what for, without their prefix."""
        return {
            **self.of_tls(),
            "TLS_CLIENT_CA_FILE": str(self.authority),
            "JWKS_FILE": str(self.key_set),
            "JWT_ISSUER": _ISSUER,
            "JWT_AUDIENCE": _AUDIENCE,
            "POLICY_FILE": str(self.policy),
            "ACCOUNTS_FILE": str(self.accounts),
        }

    def load_of_tls(self) -> tuple[str, ...]:
        """Returns the options of a load over TLS."""
        return ("-ca", str(self.authority))

    def load_of_caller(self) -> tuple[str, ...]:
        """Returns the options of a load that says who it is."""
        certificate, key = map(str, self.client)
        return (*self.load_of_tls(), "-certificate", certificate, "-key", key, "-token", str(self.token))


@cache
def credentials() -> Credentials:
    """Makes them. Needs the support of the tests in the path, which nothing else here does."""
    from support.certificates import Authority
    from support.issuer import Issuer

    folder = CACHE / "credentials"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    authority, issuer = Authority(folder), Issuer()
    rules = [_rule(f"team-{number}", f"jwt:system:serviceaccount:team-{number}:*") for number in range(_RULES - 1)]
    accounts = (
        f'[accounts.account-{number}.ship]\napi_key = "key-of-account-{number}"\n' for number in range(_ACCOUNTS)
    )
    texts = {
        "token": issuer.token(_SUBJECT, iss=_ISSUER, aud=_AUDIENCE, exp=int(time.time()) + _LIFE),
        "jwks.json": json.dumps(issuer.key_set()),
        "policy.toml": "\n".join([*rules, _rule("bench", f"jwt:{_SUBJECT}")]),
        "accounts.toml": "\n".join(accounts),
    }
    files = {name: folder / name for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    return Credentials(
        authority.file,
        authority.issue("gateway"),
        authority.issue("load"),
        *(files[name] for name in texts),
    )


def _rule(name: str, caller: str) -> str:
    return f'[[rules]]\nname = "{name}"\ncallers = ["{caller}"]\nrpcs = ["reads", "single", "bulk"]\n'
