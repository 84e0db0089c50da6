"""Passwords as Mosquitto keeps them: PBKDF2-HMAC-SHA512 (RFC 8018)."""

import base64
import hashlib

ITERATIONS = 101  # mosquitto_passwd's default; passwords here are 24 random bytes


def derived(password: str, salt: bytes) -> bytes:
    """Return the 64 bytes that Mosquitto compares."""
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)


def line(password: str, salt: bytes) -> str:
    """Return a password as it stands in a password file: `$7$`."""
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(derived(password, salt)).decode()}"
