"""Run inside a phone: `clients.py MARK COUNT`: COUNT connections over TLS of each of three stacks, in as many shapes as
they have, over IPv4 and IPv6, each to a name of its own with a token of its own. The names that were not served are printed, one a line.
"""

from __future__ import annotations

import itertools
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HOST = "{mark}{stack}{number}.friendly.example"
PATH = "/{mark}{stack}{number}x"  # one token is not the beginning of another
PROTOCOLS = ((), ("http/1.1",), ("h2", "http/1.1"))
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
CIPHERS = ("DEFAULT", "ECDHE+AESGCM", "ALL")
SHAPES = [
    [], ["-tls1_2"], ["-tls1_3"], ["-groups", "P-256"], ["-groups", "P-521:X25519"], ["-groups", "ffdhe4096:X25519"], ["-alpn", "http/1.1"],
    ["-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256:RSA+SHA256"], ["-status"], ["-max_send_frag", "512"], ["-split_send_frag", "512"], ["-no_ticket"],
    ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], ["-legacy_renegotiation"],
]  # fmt: skip
CURL = [[], ["--http1.1"], ["--http1.1", "--tls-max", "1.2"], ["--http1.1", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384"], ["--http1.1", "--no-alpn"], ["--no-sessionid"]]


def words(mark: str, stack: str, number: int) -> tuple[str, str]:
    return HOST.format(mark=mark, stack=stack, number=number), PATH.format(mark=mark, stack=stack, number=number)


def request(host: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def way(number: int, shapes: int) -> int:
    """IPv4 and IPv6 in turn, and every second time the other way round: each shape gets both."""
    return (4, 6)[(number + number // shapes) % 2]


def python(host: str, path: str, number: int) -> bool:
    protocols, version, ciphers = list(itertools.product(PROTOCOLS, VERSIONS, CIPHERS))[number % 18]
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    if protocols:
        context.set_alpn_protocols([word for word in protocols if word != "h2"])
    family = {4: socket.AF_INET, 6: socket.AF_INET6}[way(number, 18)]
    place = socket.getaddrinfo(host, 443, family, socket.SOCK_STREAM)[0][4]
    with socket.create_connection(place[:2], 20) as s, context.wrap_socket(s, server_hostname=host) as tls:
        tls.sendall(request(host, path))
        return path.encode() in b"".join(iter(lambda: tls.recv(9_999), b""))


def openssl(host: str, path: str, number: int) -> bool:
    argv = ["openssl", "s_client", "-quiet", f"-{way(number, len(SHAPES))}", *SHAPES[number % len(SHAPES)], "-connect", f"{host}:443", "-servername", host]
    return path.encode() in subprocess.run(argv, input=request(host, path), capture_output=True, timeout=60, check=False).stdout


def curl(host: str, path: str, number: int) -> bool:
    argv = ["curl", "-s", "-m", "20", f"-{way(number, len(CURL))}", *CURL[number % len(CURL)], f"https://{host}{path}"]
    return path.encode() in subprocess.run(argv, capture_output=True, timeout=60, check=False).stdout


def main(mark: str, count: int) -> None:
    def one(stack: str, number: int) -> str:
        host, path = words(mark, stack, number)
        try:
            served = {"python": python, "openssl": openssl, "curl": curl}[stack](host, path, number)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{host} {error}"
        return "" if served else host

    with ThreadPoolExecutor(4) as threads:
        tries = [(stack, number) for number in range(count) for stack in ("python", "openssl", "curl")]
        for broken in filter(None, threads.map(lambda words: one(*words), tries)):
            print(broken)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
