"""The key pairs that sign tickets: Ed25519 (RFC 8032), derived from the service's secret key by
HKDF (RFC 5869). Doors need the public part alone, so no telephone at a door can make a ticket."""

import base64
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEED_BYTES = 32
SIGNATURE_BYTES = 64

_PURPOSE = b"tickets: Ed25519 key of tickets, 1"
"""Keeps this key apart from others derived from the same secret. With another text all tickets that
were sold would be void."""


class TicketKeys:
    """``fallbacks`` are former secret keys: what they signed stays valid."""

    def __init__(self, secret_key: str, fallbacks: Sequence[str] = ()):
        self._private, *_ = private = [_derived(key) for key in (secret_key, *fallbacks)]
        self._public = [key.public_key() for key in private]

    def sign(self, message: bytes) -> bytes:
        """SIGNATURE_BYTES bytes, always the same for the same message."""
        return self._private.sign(message)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        return any(_verifies(key, message, signature) for key in self._public)

    def public_keys(self) -> list[str]:
        """Each 32 bytes in base64url, as "x" in a JSON Web Key (RFC 8037); the one that signs is
        the first."""
        raw = (key.public_bytes(Encoding.Raw, PublicFormat.Raw) for key in self._public)
        return [base64.urlsafe_b64encode(key).rstrip(b"=").decode() for key in raw]

    def public_keys_pem(self) -> list[str]:
        """The same as PEM (RFC 8410), which `openssl` and most libraries read."""
        spki = PublicFormat.SubjectPublicKeyInfo
        return [key.public_bytes(Encoding.PEM, spki).decode() for key in self._public]


def _derived(secret_key: str) -> Ed25519PrivateKey:
    # A salt would have to be kept and adds nothing to a secret that is random already.
    seed = HKDF(SHA256(), SEED_BYTES, salt=None, info=_PURPOSE).derive(secret_key.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)


def _verifies(key: Ed25519PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
