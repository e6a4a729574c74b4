"""Turns a PEM bundle into a trust store for Java: `python -m install.truststore PEM STORE`.

Runs in the devstack environment, which has `cryptography`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

PASSWORD = "changeit"  # noqa: S105 - Java's default; the store contains only public certificates
"""The password that readers of the store need."""


def write(bundle: Path, store: Path) -> None:
    """Write every certificate of the PEM `bundle` into the PKCS#12 `store`.

    Raises:
        ValueError: the bundle contains something other than certificates.
    """
    certificates = x509.load_pem_x509_certificates(bundle.read_bytes())
    entries = [
        pkcs12.PKCS12Certificate(certificate, b"ca-%d" % number) for number, certificate in enumerate(certificates)
    ]
    store.write_bytes(pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(PASSWORD.encode())))


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
