"""What the owner does and decides, judged from outside: watching, naming, and what a restart still knows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge import Lab, environment, in_time, lab_up, wait_for

from firewall import control

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
PYTHON = sys.executable
LISTED = "api.account.xiaomi.com"
UPLOAD = """
import socket, sys, time
s = socket.socket(socket.AF_INET6 if sys.argv[2] == "6" else socket.AF_INET); s.settimeout(5)
s.connect(socket.getaddrinfo(sys.argv[1], 4444, s.family, s.type)[0][4])
try:
    for n in range(20_000):
        s.sendall(b"upload%06d" % n + bytes(1000)); time.sleep(0.01)
    print("finished")
except OSError as error: print(type(error).__name__)
"""


def ask(lab: Lab, verb: str, **args: object) -> control.Reply:
    with control.connect(Path(environment(lab.name)["CONSENTRY_SOCKET"])) as client:
        return client.ask(verb, **args)


def refused(lab: Lab, verb: str, **args: object) -> str:
    with pytest.raises(control.Refused) as caught:
        ask(lab, verb, **args)
    return str(caught.value)


def post(lab: Lab, token: str, phone: str = "phone1", family: str = "-4") -> None:
    lab.phone("curl", family, "-s", "-m", "20", "-d", token, f"http://{LISTED}/pass/v3/user", phone=phone, check=False)


@pytest.fixture(autouse=True)
def enforcing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Who shares a lab finds it enforcing, for every phone."""
    yield
    if "lab" in request.fixturenames:
        lab: Lab = request.getfixturevalue("lab")
        lab.consentry("phones", "enforce")
        for phone in ("phone1", "phone2"):
            lab.consentry("phones", "as-all", phone)


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_watching_lets_pass_and_records_and_enforcing_stops_again(lab: Lab, family: str) -> None:
    post(lab, f"before{family}", family=family)
    ask(lab, "mode", mode="watch")
    status = ask(lab, "status").done
    assert (status["mode"], status["watching"]) == ("watch", ["phone1", "phone2"])
    post(lab, f"during{family}", family=family)
    wait_for(lambda: lab.arrived(f"during{family}"), 5)
    (row, *_) = wait_for(lambda: lab.history(f"verdict:watch name:{LISTED}"), 5)
    assert row["service"] == "xiaomi-account"
    assert row["reason"].startswith("would be refused")
    ask(lab, "mode", mode="enforce")
    post(lab, f"after{family}", family=family)
    time.sleep(0.5)
    assert not lab.arrived(f"before{family}")
    assert not lab.arrived(f"after{family}")


def test_one_phone_is_watched_and_the_other_is_not(lab: Lab) -> None:
    ask(lab, "phones.set", phone="phone1", mode="watch")
    assert ask(lab, "status").done["watching"] == ["phone1"]
    for phone in ("phone1", "phone2"):
        for family in ("-4", "-6"):
            post(lab, f"from{family}-{phone}", phone, family)
        # listed addresses, which for the others the kernel refuses by itself
        for host in ("42.62.48.181", "[2001:dc7::77]"):
            lab.phone("curl", "-s", "-m", "3", "-d", f"bare-{host}-{phone}", f"http://{host}/", phone=phone, check=False)
    words = "from-4", "from-6", "bare-42.62.48.181", "bare-[2001:dc7::77]"
    wait_for(lambda: all(lab.arrived(f"{word}-phone1") for word in words), 5)
    time.sleep(0.5)
    assert not any(lab.arrived(f"{word}-phone2") for word in words)


def test_a_phone_is_named_and_its_rules_follow_it(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "block"\nmatch = "phone:anna name:example.com"\n')
    with lab_up(rules) as lab:
        url = ["sh", "-c", "for family in -4 -6; do curl $family -s -m 20 -o /dev/null -w '%{http_code}' http://example.com/; done; true"]
        assert lab.phone(*url).stdout == "200200"
        told = ask(lab, "phones.set", phone="phone1", name="anna", group="kids").done
        assert (told["name"], told["group"], told["macs"]) == ("anna", "kids", ["02:00:00:00:01:01"])
        assert "10.77.0.10" in told["addresses"]
        assert lab.phone(*url).stdout == "000000"
        assert "there are: anna, phone2" in refused(lab, "phones.set", phone="phone1", group="kids")
        assert "phones join" in refused(lab, "phones.set", phone="phone2", name="anna")
        os.kill(json.loads(lab.consentry("status", "--json").stdout)["pid"], signal.SIGKILL)
        wait_for(lambda: lab.state_is("ENFORCING"))
        assert [row["name"] for row in ask(lab, "phones").items] == ["anna", "phone2"]  # it was on the disk


def test_a_rule_follows_its_phone_to_its_new_name_and_back(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "block"\nmatch = "name:example.com phone:phone1"\n')
    with lab_up(rules) as lab:
        def answered(phone: str) -> bool:
            url = ["sh", "-c", "for family in -4 -6; do curl $family -s -m 20 -o /dev/null -w '%{http_code}' http://example.com/; done; true"]
            told = lab.phone(*url, phone=phone).stdout
            assert told in {"200200", "000000"}, told  # one family is as the other
            return told == "200200"

        assert [answered("phone1"), answered("phone2")] == [False, True]
        done = lab.consentry("phones", "name", "phone1", "anna")
        assert 'renamed "phone1" to "anna", in 1 rule' in done.stderr
        assert "phone:anna" in rules.read_text()
        assert [answered("phone1"), answered("phone2")] == [False, True]
        lab.consentry("rules", "undo")
        assert "phone:phone1" in rules.read_text()
        assert [row["name"] for row in ask(lab, "phones").items] == ["phone1", "phone2"]
        assert [answered("phone1"), answered("phone2")] == [False, True]
        lab.consentry("phones", "name", "phone1", "anna", "--keep-rules")
        assert answered("phone1")  # as it says: the rule is about nobody
        wait_for(lambda: {row["phone"] for row in lab.history("phone:phone1,anna name:example.com")} == {"phone1", "anna"})


def test_a_restart_still_knows_names_and_verdicts_of_what_goes_on(tmp_path: Path) -> None:
    """The upload goes on over a kill; a later rule about its NAME still finds and stops it; bytes go on counting."""
    rules = tmp_path / "rules.toml"
    rules.write_text("")
    with lab_up(rules) as lab:
        phones: list[subprocess.Popen[str]] = []
        for family in "46":
            command = ["ip", "netns", "exec", lab.namespaces["phones"][0], PYTHON, "-c", UPLOAD, "example.com", family]
            phones.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        wait_for(lambda: sum(row["bytes"] > 300_000 for row in lab.sinks()) == len(phones), 20)
        os.kill(json.loads(lab.consentry("status", "--json").stdout)["pid"], signal.SIGKILL)
        wait_for(lambda: lab.state_is("ENFORCING"))
        at = {row["id"]: row["bytes"] for row in lab.sinks()}
        assert ask(lab, "status").done["flows"] >= len(phones)
        wait_for(lambda: all(row["bytes"] > at[row["id"]] + 100_000 for row in lab.sinks() if row["id"] in at and at[row["id"]] > 300_000), 20)
        resumed: list[dict[str, Any]] = wait_for(lambda: [row for row in lab.history("name:example.com") if row["count"] == 0], 10)
        assert resumed[0]["bytes_up"] > 0
        rules.write_text('[[rule]]\naction = "block"\nmatch = "name:example.com"\n')
        began = time.monotonic()
        for phone in phones:
            assert "Error" in phone.communicate(timeout=10)[0]
        took = time.monotonic() - began
        in_time(took, 5)
        print(f"an upload from before a kill ended {took:.2f} s after the edit of rules.toml")


def test_a_state_that_cannot_be_read_locks_the_gate(tmp_path: Path) -> None:
    """Nobody knows who may what: nothing undecided passes until it can be read again."""
    with lab_up() as lab:
        state = Path(f"/run/consentry/{lab.name}/state/state.db")
        whole = tmp_path / "state.db"
        ask(lab, "phones.set", phone="phone1", group="kids")
        url = "http://example.com/"
        assert lab.fetch(url) == {True}
        whole.write_bytes(state.read_bytes())
        pid = json.loads(lab.consentry("status", "--json").stdout)["pid"]
        for suffix in ("-wal", "-shm"):
            state.with_name(state.name + suffix).unlink(missing_ok=True)
        state.write_bytes(b"garbage" * 1000)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: lab.state_is("LOCKED"))
        assert "state.db" in json.loads(lab.consentry("status", "--json").stdout)["reason"]
        assert lab.fetch(url, seconds=2) == {False}
        assert "Repair it" in lab.consentry("resume", check=False).stderr
        assert "state.db" in refused(lab, "mode", mode="watch")
        assert lab.fetch(url, seconds=2) == {False}
        state.write_bytes(whole.read_bytes())
        lab.consentry("resume")
        wait_for(lambda: lab.state_is("ENFORCING"))
        assert lab.fetch(url) == {True}
