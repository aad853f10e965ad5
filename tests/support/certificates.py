"""Certificates of a private authority, as many providers of Redis and MongoDB have them."""

from pathlib import Path

import trustme

from ops.servers import HOST, Certificates


def issue_certificates(folder: Path) -> Certificates:
    """An authority and a certificate for a server on loopback, written to ``folder``."""
    authority = trustme.CA()
    server = authority.issue_cert(HOST, "localhost")
    certificates = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority.cert_pem.write_to_path(certificates.authority)
    server.private_key_pem.write_to_path(certificates.key)
    for link in server.cert_chain_pems:
        link.write_to_path(certificates.certificate, append=True)
    return certificates
