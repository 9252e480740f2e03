"""The judge stands outside: what the sinks behind the gateway received, and a capture on the outer link."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import families
from typed import typist

from firewall.lab.lab import Lab as Wires

STORM = Path(__file__).with_name("storm.py")
PATIENCE = 3  # two tests at once on two cores are slow; what has to be quick is measured and asserted by itself
ALLOW_ALL = '[[rule]]\naction = "allow"\nmatch = ""\n'
_numbers = itertools.count()


def consentry(*words: str, lab: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """The command line, as an owner of this lab types it."""
    done = typist().run(words, environment(lab), timeout)
    if check:
        assert done.returncode == 0, f"consentry {' '.join(words)}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def environment(lab: str) -> dict[str, str]:
    return os.environ | {"CONSENTRY_LAB": lab, "CONSENTRY_SOCKET": f"/run/consentry/{lab}/gateway.sock"}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]

BY_NAME = """
[[rule]]
action = "block"
match = "name:nobody.invalid"

[[rule]]
action = "block"
match = "via:unfinished"

[[rule]]
action = "allow"
match = ""
"""  # the outcome hangs on the name, and nothing else is refused


class Lab:
    """A lab that is up, through its command line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.namespaces: dict[str, Any] = self.status["namespaces"]

    def consentry(self, *words: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return consentry(*words, lab=self.name, check=check, timeout=timeout)

    @property
    def status(self) -> dict[str, Any]:
        return json.loads(self.consentry("lab", "status", "--json").stdout)

    def state_is(self, word: str) -> bool:
        done = self.consentry("status", "--json", check=False)
        return done.returncode == 0 and json.loads(done.stdout)["state"] == word

    def gateway(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command on the gateway box itself, as its root."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespaces["gateway"], *words], capture_output=True, text=True, timeout=30, check=check
        )

    def phone(self, *words: str, phone: str = "phone1", check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return self.consentry("lab", "exec", phone, "--", *words, check=check, timeout=timeout)

    def fetch(self, *urls: str, phone: str = "phone1", seconds: float = 15, more: str = "") -> set[bool]:
        """Whether a phone gets these pages, all at once; those of names over IPv4 and IPv6. {True}, {False}, or not alike."""
        tries = [(url, family) for url in urls for family in (("",) if families.named(urlsplit(url).hostname) else ("-4", "-6"))]
        script = "".join(f"(curl {family} -s -g -m {seconds} -o /dev/null {more} '{url}'; echo $?) & " for url, family in tries) + "wait"
        return {status == "0" for status in self.phone("sh", "-c", script, phone=phone).stdout.split()}

    def play(self, scenario: str) -> list[dict[str, Any]]:
        return [row for row in lines(self.consentry("lab", "play", scenario, "--json", timeout=180).stdout) if "step" in row]

    def sinks(self) -> list[dict[str, Any]]:
        return lines(self.consentry("lab", "sinks", "--json").stdout)

    def history(self, text: str) -> list[dict[str, Any]]:
        return lines(self.consentry("history", text, "--json", "--limit", "5000").stdout)

    def arrived(self, token: str) -> bool:
        return any(token in row["payload"] for row in self.sinks())

    @contextmanager
    def capture(self, file: Path) -> Iterator[Path]:
        """What is seen on the outer link, on the router's side of it. At once: in blocks the last second would be lost."""
        link = self.status["outer_if"]
        dump = subprocess.Popen(
            ["ip", "netns", "exec", self.namespaces["router"], "tcpdump", "-Z", "root", "-U", "--immediate-mode", "-B", "65536", "-n", "-i", link, "-w", str(file)],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        try:
            assert dump.stderr is not None
            for line in dump.stderr:
                if "listening on" in line:
                    break
            yield file
            time.sleep(0.3)  # what is still on its way to the file
        finally:
            dump.send_signal(signal.SIGINT)
            said = dump.communicate(timeout=10)[1]
            assert "0 packets dropped by kernel" in said, said  # a judge that looked away is no judge

    def storm(self, seconds: float, rate: int, out: Path, phone: str = "phone1") -> subprocess.Popen[bytes]:
        """Uploads that must not arrive, and ordinary requests between them, at `rate` new flows a second."""
        return subprocess.Popen(
            [sys.executable, "-m", "firewall.cli", "lab", "exec", phone, "--", sys.executable, str(STORM), str(seconds), str(rate), str(out)],
            stdin=subprocess.DEVNULL, env=environment(self.name),
        )

    def calm(self, storm: subprocess.Popen[bytes]) -> None:
        """No new flows; those that have begun are told."""
        storm.terminate()
        assert storm.wait(timeout=30) == 0


def fresh_name() -> str:
    return f"ck{os.getpid()}-{next(_numbers)}"  # two runs of the tests do not meet


def sweep() -> None:
    """Take down what a run of the tests that was killed has left: the number of its process is in every name."""
    there = Path("/run/netns")
    for name in sorted(path.name for path in there.iterdir()) if there.is_dir() else ():
        found = re.match(r"(ck(\d+)-\d+)-|ckb-(\d+)-", name)
        if found is None or Path("/proc", found[2] or found[3]).exists() or not (there / name).exists():
            continue
        if found[1]:
            consentry("lab", "down", lab=found[1], check=False)
        if (there / name).exists():  # of no lab: of a box at home, or of the backend by itself
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split()
            subprocess.run(["kill", "-9", *pids], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def lab_up(rules: Path | None = None, phones: int = 2, *, one_wire: bool = False) -> Iterator[Lab]:
    """A lab of its own, whatever else stands beside it. `one_wire`: its phones can send with any MAC."""
    name = fresh_name()
    more = [*(["--rules", str(rules)] if rules else []), *(["--one-wire"] if one_wire else [])]
    consentry("lab", "up", "--phones", str(phones), *more, lab=name)
    spaces = [f"{name}-phone{number}" for number in range(1, phones + 1)]
    try:
        families.watch(spaces)
        yield Lab(name)
    finally:
        families.leave(spaces)
        consentry("lab", "down", lab=name)


@contextmanager
def wires_up(phones: int = 2) -> Iterator[Wires]:
    """A lab without its gate."""
    built = Wires(fresh_name())
    spaces = [f"{built.name}-phone{number}" for number in range(1, phones + 1)]
    try:
        built.up(phones)
        families.watch(spaces)
        yield built
    finally:
        families.leave(spaces)
        built.down()


class TooLate(AssertionError):
    """What should come did not in time. On a loaded machine that is no news: such a test, and no other, is tried again."""


def in_time(seconds: float, most: float) -> None:
    """What was measured is short enough. Not for what only computes: that is measured in time.thread_time()."""
    if seconds >= most:
        raise TooLate(f"it took {seconds:.2f} s, {most} s are allowed")


def stands_still(what: Any, seconds: float = 0.5) -> Any:
    """The value of `what()` that is the same so much later: who counts may still read what has come before."""
    for _ in range(6):
        before = what()
        time.sleep(seconds)
        if what() == before:
            return before
    raise TooLate(f"it goes on: {what()}")


def wait_for(what: Any, seconds: float = 10.0) -> Any:
    """The first true value of `what()`, within a generous time."""
    until = time.monotonic() + PATIENCE * seconds
    while not (value := what()):
        if time.monotonic() > until:
            raise TooLate(f"nothing within {PATIENCE * seconds} s")
        time.sleep(0.05)
    return value
