"""A throwaway certificate authority: one leaf for every name that is asked for, made when it is first asked."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

MAX_LEAVES: Final = 4096
LIFETIME: Final = timedelta(days=30)
SLACK: Final = timedelta(days=1)  # a phone's clock may be behind
MAX_COMMON_NAME: Final = 64  # RFC 5280, ub-common-name


class LeafContext(ssl.SSLContext):
    """A server's side of TLS for one name. `sni` is that name once a client has asked for it."""

    sni: str = ""


class Authority:
    """Lives as long as its process; only its certificate is ever written to a file that lasts."""

    def __init__(self, directory: Path) -> None:
        """Leaves `ca.pem` in `directory`."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())  # one for all leaves: only names differ
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Consentry lab: trust it nowhere else")])
        public = self._key.public_key()
        certificate = (
            _builder(self._name, self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = directory / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))
        self._scratch = directory / "leaf.pem"
        self.context = lru_cache(MAX_LEAVES)(self._context)
        self.identity = lru_cache(MAX_LEAVES)(self._identity)

    def _context(self, name: str) -> LeafContext:
        """For a host name, or for an address: then a client that names a host gets that one's instead."""
        context = LeafContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = self._asked
        with os.fdopen(os.open(self._scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(self._leaf(name))
        context.load_cert_chain(self._scratch)  # ssl reads certificates from files only
        self._scratch.unlink()
        return context

    def _asked(self, session: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name:
            with suppress(ValueError):  # a name that no certificate can carry gets the address's
                context = self.context(name)
                context.sni = name
                session.context = context

    def _identity(self, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """The leaf of a name or address, and its key. Raises ValueError if no certificate can carry the name."""
        public = self._leaf_key.public_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:MAX_COMMON_NAME])])
        certificate = (
            _builder(subject, self._name, public)
            .add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate, self._leaf_key

    def _leaf(self, name: str) -> bytes:
        certificate, key = self._identity(name)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return private + certificate.public_bytes(Encoding.PEM)


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
    return builder.not_valid_before(now - SLACK).not_valid_after(now + LIFETIME)


def _alternative(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs_certificates, crl_sign=signs_certificates, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )
