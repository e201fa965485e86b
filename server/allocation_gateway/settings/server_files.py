"""The files that the URL of a Valkey or Redis server names: whether they can be used, before anything connects."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from allocation_gateway.settings.password_files import read_password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allocation_gateway.settings.server_url import ServerUrl


def check_files(url: ServerUrl) -> None:
    """Checks that the files which a URL names can be used.

    Raises:
        ValueError: One of them is missing, or is no PEM. The text names it.
    """
    for name, file in (
        ("password_file", url.password_file),
        ("sentinel_password_file", url.sentinel_password_file),
    ):
        try:
            if file:
                read_password(file)
        except OSError as error:
            raise ValueError(f"the option {name}: {file} cannot be used: {error.strerror}") from None
    _check_tls(url.options)


def _check_tls(options: Mapping[str, str]) -> None:
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if name in options:
            try:
                Path(options[name]).read_bytes()
            except OSError as error:
                raise ValueError(f"the option {name}: {options[name]} cannot be read: {error.strerror}") from None
    if "ssl_ca_path" in options and not Path(options["ssl_ca_path"]).is_dir():
        raise ValueError(f"the option ssl_ca_path: {options['ssl_ca_path']} is not a folder")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if "ssl_ca_certs" in options:
        try:
            context.load_verify_locations(options["ssl_ca_certs"])
        except (ssl.SSLError, OSError):
            raise ValueError(f"the option ssl_ca_certs: {options['ssl_ca_certs']} holds no PEM certificates") from None
    if "ssl_certfile" in options:
        try:
            # Without a password, an encrypted key would make OpenSSL ask for one on the terminal.
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), password=options.get("ssl_password", "")
            )
        except (ssl.SSLError, OSError) as error:
            reason = (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or "the files are malformed"
            raise ValueError(f"the options ssl_certfile and ssl_keyfile cannot be used together: {reason}") from None
    if "ssl_ciphers" in options:
        try:
            context.set_ciphers(options["ssl_ciphers"])
        except ssl.SSLError:
            raise ValueError("the option ssl_ciphers names no cipher that OpenSSL has") from None
