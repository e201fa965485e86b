"""Certificates for tests: an authority, and what it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LIFE: Final = dt.timedelta(hours=1)
# What the key of an authority may be used for.
_SIGNS: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """Signs certificates for 127.0.0.1 and localhost, and writes everything into a folder.

    Attributes:
        file: Its own certificate, PEM.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        certificate = (
            self._builder(_name(name), self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(_SIGNS, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, age: dt.timedelta = dt.timedelta()
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC) - age
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _LIFE)
            .not_valid_after(now + _LIFE)
        )

    def issue(
        self,
        name: str,
        *,
        address: str = "",
        host: str = "",
        expired: bool = False,
        names: Sequence[x509.GeneralName] | None = None,
    ) -> tuple[Path, Path]:
        """Makes a certificate with a key, for another address, another host, other names or the past if asked to.

        Returns their files; the ones of the same name are replaced.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        ip = x509.IPAddress(ipaddress.ip_address(address or "127.0.0.1"))
        here: list[x509.GeneralName] = [ip, x509.DNSName("localhost")]
        named = ([x509.DNSName(host)] if host else here) if names is None else names
        certificate = self._builder(_name(name), key, _LIFE * 2 if expired else dt.timedelta())
        # Python takes no certificate without it from 3.13 on.
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = certificate.add_extension(issuer, critical=False)
        if named:
            certificate = certificate.add_extension(x509.SubjectAlternativeName(named), critical=False)
        files = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        files[0].write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(_pem(key))
        return files

    def server_credentials(self) -> grpc.ServerCredentials:
        """Returns the TLS of a gRPC server that it vouches for."""
        certificate, key = (file.read_bytes() for file in self.issue("server"))
        return grpc.ssl_server_credentials([(key, certificate)])

    def server_context(self, *, address: str = "", host: str = "", expired: bool = False) -> ssl.SSLContext:
        """Returns the TLS of a server that it vouches for, or vouched for if that is expired."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue("upstream", address=address, host=host, expired=expired))
        return context
