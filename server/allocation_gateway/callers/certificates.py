"""Who calls, by the certificate of a client that TLS has verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography import x509

from allocation_gateway.callers.errors import IdentityError
from allocation_gateway.callers.model import DNS, SPIFFE, Caller

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What both engines call the certificate of the peer.
_PEM: Final = "x509_pem_cert"
# So many certificates are remembered: reading one costs a tenth of a call.
_MOST: Final = 4096


class CallerCertificates:
    """Tells who calls by certificates. It remembers those that it has read."""

    def __init__(self) -> None:
        self._known: dict[bytes, Caller | None] = {}

    def caller(self, auth_context: Mapping[str, Iterable[bytes]]) -> Caller:
        """Returns whom the certificate of a connection names.

        Args:
            auth_context: What the engine knows of the connection.

        Raises:
            IdentityError: There is none, or it names nobody.
        """
        pem = next(iter(auth_context.get(_PEM, ())), None)
        if pem is None:
            raise IdentityError("the call has neither a token nor a client certificate")
        if pem not in self._known:
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            names = _names(pem)
            self._known[pem] = Caller(names) if names else None
        caller = self._known[pem]
        if caller is None:
            raise IdentityError("the client certificate has neither one SPIFFE id nor a DNS name")
        return caller


def _names(pem: bytes) -> tuple[str, ...]:
    try:
        extensions = x509.load_pem_x509_certificate(pem).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    # An SVID has exactly one URI: of several, nobody could say which one is the caller's.
    ids = uris if len(uris) == 1 and uris[0].startswith(SPIFFE) else []
    return (*ids, *(f"{DNS}{name.lower()}" for name in names.get_values_for_type(x509.DNSName)))
