"""What was missing in 2014: a question, an answer, and a way to take it back. Judged by what the sinks received."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from judge import Lab, TooLate, in_time, lab_up, lines, stands_still, wait_for

pytestmark = pytest.mark.lab

BOTH = pytest.mark.parametrize("family", [4, 6])
FAMILY = {4: "AF_INET", 6: "AF_INET6"}
ACCOUNT = "service:xiaomi-account"
ORDINARY = Path(__file__).parents[1] / "helpers/ordinary.py"
SERVED = {"activation", "contact look-up", "SMS sender look-up", "login"}  # steps of the scenario that the consent is for
SAY = """
import socket, sys
family, asked, port, host, token, beats = sys.argv[1:]
import time
place = socket.getaddrinfo(asked, int(port), getattr(socket, family), socket.SOCK_STREAM)[0][4]
s = socket.create_connection(place[:2], 20)
try:
    if host == "-":
        s.sendall(token.encode())
    else:
        s.sendall(f"GET /{token} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode())
    print(s.recv(99)[:4].decode(), flush=True)
    for _ in range(int(beats)):
        time.sleep(0.02)
        s.sendall(b"GET /%s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % (token.encode(), host.encode()) + b"x" * 0)
        s.recv(9999)
except OSError as error:
    print(type(error).__name__, flush=True)
"""


def talk(lab: Lab, family: int, asked: str, host: str = "", *, port: int = 80, phone: str = "phone1", beats: int = 0) -> subprocess.Popen[str]:
    """A phone asks for a name, goes where the answer says, and names a host there ("-": none); its token is in `.token`."""
    token = token_hex(8)
    at = lab.namespaces["phones"][int(phone.removeprefix("phone")) - 1]
    words = [sys.executable, "-c", SAY, FAMILY[family], asked, str(port), host or asked, token, str(beats)]
    running = subprocess.Popen(["ip", "netns", "exec", at, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.token = token  # type: ignore[attr-defined]
    return running


def passes(lab: Lab, *words: Any, **more: Any) -> bool:
    """Whether what the phone said arrived; what did not was refused, not slow."""
    running = talk(lab, *words, **more)
    said = running.communicate(timeout=60)[0]
    if said.strip() == "TimeoutError":
        raise TooLate(words)
    if said.strip() not in ("", "ConnectionResetError", "ConnectionRefusedError"):
        return bool(wait_for(lambda: lab.arrived(running.token)))  # type: ignore[attr-defined]
    time.sleep(0.3)
    assert not lab.arrived(running.token), said  # type: ignore[attr-defined]
    return False


def asks(lab: Lab) -> dict[str, dict[str, Any]]:
    return {row["what"]: row for row in lines(lab.consentry("asks", "--json").stdout)}


def grant(lab: Lab, subject: str = ACCOUNT, how_long: str = "1h", phone: str = "phone1") -> dict[str, Any]:
    return json.loads(lab.consentry("consents", "grant", phone, subject, "--for", how_long, "--json").stdout)


def revoke(lab: Lab, number: int) -> None:
    lab.consentry("consents", "revoke", str(number))


# -- the story ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[Lab, list[dict[str, Any]]]]:
    with lab_up() as lab:
        yield lab, lines(lab.consentry("lab", "play", "august-2014", "--json", timeout=300).stdout)


def of(rows: list[dict[str, Any]], word: str) -> list[dict[str, Any]]:
    found = [row for row in rows if word in row.get("chapter", "")]
    assert found
    return found


def uploads(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row.get("upload")]


def test_the_redmi_asks_its_owner_answers_takes_it_back_and_the_update_asks_no_more(told: tuple[Lab, list[dict[str, Any]]]) -> None:
    lab, rows = told
    payloads = "\n".join(row["payload"] for row in lab.sinks())

    boot = uploads(of(rows, "boots"))
    assert boot
    assert not [row for row in boot if row["token"] in payloads or row["ok"]]

    consented = of(rows, "consents to account")
    inbox = next(row["said"] for row in consented if row.get("owner") == "asks --json")
    assert {(one["kind"], one["what"]) for one in inbox if one["phone"] == "phone1"} == {
        ("service", "xiaomi-account"), ("service", "xiaomi-app-inventory"), ("service", "xiaomi-cloud"),
    }
    assert all(one["count"] > 1 for one in inbox)
    let_out = [row for row in uploads(consented) if row["token"] in payloads]
    assert {row["step"] for row in let_out} == SERVED
    assert len(let_out) == sum(row["step"] in SERVED for row in uploads(consented))

    running = uploads([row for row in rows if row.get("step") == "long look-up"])
    assert len(running) == 2
    assert all(0 < payloads.count(row["token"]) < 300 for row in running)  # begun, and cut
    assert not any(row["ok"] for row in running)

    revoked = uploads(of(rows, "takes it back"))
    assert revoked
    assert not [row for row in revoked if row["token"] in payloads or row["ok"]]

    after = of(rows, "what is asked")
    then, consents = (next(row["said"] for row in after if row.get("owner") == line) for line in ("asks --json", "consents list --ended --json"))
    assert {one["what"]: one["last"] for one in then}.keys() == {one["what"] for one in inbox}
    updated = [row for row in of(rows, "after the update") if "step" in row]
    assert updated
    assert all(row["ok"] for row in updated)
    last = max(row["last"] for row in then)
    assert last < lab.history("name:en.wikipedia.org")[0]["last"] - 6 * 86_400  # nothing was asked a week later
    (one,) = consents
    assert (one["state"], one["phone"], one["what"], one["who"]) == ("ended", "phone1", "xiaomi-account", "root")
    assert "revoked" in one["why"]


def test_all_of_it_is_in_the_history_in_order_with_who_and_why(told: tuple[Lab, list[dict[str, Any]]]) -> None:
    lab, _ = told
    notes = [row for row in lines(lab.consentry("history", "notes", "--json").stdout) if row["kind"] == "consent"]
    assert [("phone1 may" in row["text"], "revoked" in row["text"]) for row in sorted(notes, key=lambda row: row["at"])] == [(True, False), (True, True)]
    assert {(row["who"], row["uid"]) for row in notes} == {("root", 0)}
    given, taken = sorted(row["at"] for row in notes)
    rows = lab.history(ACCOUNT)
    asked = [row for row in rows if row["verdict"] == "ask"]
    consented = [row for row in rows if row["verdict"] == "consent"]
    assert consented
    assert all(given <= row["first"] <= taken for row in consented)
    assert any(row["last"] <= given for row in asked)
    assert any(row["first"] >= taken for row in asked)
    assert not any(given + 1 < row["first"] < taken for row in asked)
    for row in consented + asked:
        assert row["rule"].startswith("xiaomi/")
        assert row["rule"] in row["reason"]
        then = lab.consentry("explain", row["phone"], row["name"], "--revision", str(row["revision"]), "--json")
        assert json.loads(then.stdout)["rule"] == row["rule"]


# -- decisions.md 9, live ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Callable[..., None]]]:
    """A lab, and what sets its owner's rules."""
    file = tmp_path_factory.mktemp("rules") / "rules.toml"
    file.write_text("")
    with lab_up(file) as lab:

        def rules(*texts: str) -> None:
            file.write_text("".join(f"[[rule]]\naction = {text.split()[0]!r}\nmatch = '{' '.join(text.split()[1:])}'\n" for text in texts))
            lab.consentry("rules", "reload")

        yield lab, rules


House = tuple[Lab, Callable[..., None]]


@pytest.fixture(autouse=True)
def no_consent_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails, or is tried again, leaves the others their house as it was."""
    yield
    if "house" in request.fixturenames:
        lab, _ = request.getfixturevalue("house")
        for one in lines(lab.consentry("consents", "list", "--json").stdout):
            revoke(lab, one["id"])


@BOTH
def test_1_a_name_that_the_answer_does_not_support_opens_nothing(house: House, family: int) -> None:
    lab, rules = house
    rules("allow name:google.com")
    assert not passes(lab, family, "api.account.xiaomi.com", "google.com")
    assert passes(lab, family, "www.google.com", "www.google.com")


@BOTH
def test_2_a_chain_is_all_its_names_and_order_decides(house: House, family: int) -> None:
    lab, rules = house
    rules("allow name:en.wikipedia.org", "block name:dyna.wikimedia.org")
    assert passes(lab, family, "en.wikipedia.org")
    rules("block name:dyna.wikimedia.org", "allow name:en.wikipedia.org")
    assert not passes(lab, family, "en.wikipedia.org")


@BOTH
def test_3_two_names_one_address_and_nothing_said_is_ambiguous(house: House, family: int) -> None:
    lab, rules = house
    rules()
    assert passes(lab, family, "www.example.com", "-", port=4444)
    rules("ask name:=www.example.com")
    assert not passes(lab, family, "example.com", "-", port=4444)
    row = wait_for(lambda: lab.history("name:www.example.com port:4444 verdict:refused last:1m"), 3)[0]
    assert "one of several names" in row["reason"]


@BOTH
def test_5_a_name_in_two_services_wants_consent_for_both(house: House, family: int) -> None:
    lab, rules = house
    rules("ask service:tiktok")  # and a pack's rule asks for its telemetry
    both = "log.tiktokv.com"
    assert not passes(lab, family, both)
    assert wait_for(lambda: asks(lab).get("tiktok"), 5)["names"][0]["name"] == both
    words = lab.consentry("consents", "grant", "phone1", "service:tiktok", "--for", "1h", "--preview").stdout
    assert "rule tiktok/1" in words
    given = [grant(lab, "service:tiktok")]
    try:
        assert passes(lab, family, "www.tiktokv.com")
        assert not passes(lab, family, both)
        wait_for(lambda: asks(lab).get("tiktok-telemetry"), 5)
        given.append(grant(lab, "service:tiktok-telemetry"))
        assert passes(lab, family, both)
    finally:
        for one in given:
            revoke(lab, one["id"])
    assert not passes(lab, family, both)


@BOTH
def test_6_a_block_above_refuses_what_was_consented_to_and_the_preview_names_it(house: House, family: int) -> None:
    lab, rules = house
    rules("block name:api.account.xiaomi.com")
    preview = json.loads(lab.consentry("consents", "grant", "phone1", ACCOUNT, "--for", "1h", "--preview", "--json").stdout)
    assert "block" in str(preview["refused"]) and "api.account.xiaomi.com" in str(preview["refused"])
    given = grant(lab)
    try:
        assert not passes(lab, family, "api.account.xiaomi.com")
        rules()
        assert wait_for(lambda: passes(lab, family, "api.account.xiaomi.com"), 5)
    finally:
        revoke(lab, given["id"])
    assert not passes(lab, family, "api.account.xiaomi.com")


@BOTH
def test_8_a_rule_about_a_port_lets_the_name_be_asked_and_stops_at_the_flow(house: House, family: int) -> None:
    lab, rules = house
    rules("block port:4444 name:chat.example.org")
    assert passes(lab, family, "chat.example.org", port=80)
    assert not passes(lab, family, "chat.example.org", "-", port=4444)


@BOTH
def test_11_no_name_is_not_the_good_name(house: House, family: int) -> None:
    lab, rules = house
    rules("allow phone:phone2", "block port:4444 -name:good.example")
    address = {4: "198.51.100.90", 6: "2001:db8:feed::90"}[family]
    assert not passes(lab, family, address, "-", port=4444)
    assert passes(lab, family, "www.good.example", "-", port=4444)
    rules()
    assert passes(lab, family, address, "-", port=4444)


@BOTH
def test_12_once_is_one_connection(house: House, family: int) -> None:
    lab, rules = house
    rules()
    passes(lab, family, "api.account.xiaomi.com")
    given = grant(lab, how_long="once")
    assert [passes(lab, family, "api.account.xiaomi.com") for _ in range(4)] == [True, False, False, False]
    lab.consentry("consents", "revoke", str(given["id"]), check=False)  # conntrack may keep what was closed for two minutes


def test_everything_is_one_question_and_an_answer_takes_it_out_of_the_inbox(house: House) -> None:
    lab, rules = house
    rules()
    for family in (4, 6) * 2:
        assert not passes(lab, family, "policy.app.xiaomi.com")
    before = wait_for(lambda: [one for one in asks(lab).values() if one["what"] == "xiaomi-app-inventory" and one["count"] >= 3], 5)[0]
    assert before["names"][0]["name"] == "policy.app.xiaomi.com"
    given = grant(lab, "service:xiaomi-app-inventory", "15m")
    wait_for(lambda: "xiaomi-app-inventory" not in asks(lab), 5)
    for family in (4, 6):
        assert passes(lab, family, "policy.app.xiaomi.com")
    revoke(lab, given["id"])
    for family in (4, 6):
        assert not passes(lab, family, "policy.app.xiaomi.com")
    again = wait_for(lambda: asks(lab).get("xiaomi-app-inventory"), 5)
    assert again["phone"] == "phone1"


TRIES = """
import socket, sys, threading
many, token = int(sys.argv[1]), sys.argv[2].encode()
head = b"GET /%s HTTP/1.1\\r\\nHost: policy.app.xiaomi.com\\r\\n\\r\\n" % token  # to places that no list names: Python reads each
refused = [0] * 4
def tries(of):
    for number in range(many // 4):
        to = ("198.51.100.90", "2001:db8:feed::90")[number % 2]
        try:
            with socket.create_connection((to, 80), 10) as s:
                s.sendall(head)
                refused[of] += not s.recv(1)
        except ConnectionResetError:
            refused[of] += 1
threads = [threading.Thread(target=tries, args=(n,)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum(refused))
"""


def test_ten_thousand_tries_are_one_question_and_cost_another_phone_nothing(house: House, tmp_path: Path) -> None:
    lab, rules = house
    rules()
    assert not passes(lab, 4, "policy.app.xiaomi.com")
    before = wait_for(lambda: asks(lab).get("xiaomi-app-inventory"), 5)["count"]
    token = token_hex(8)
    one, two = (["ip", "netns", "exec", space, sys.executable] for space in lab.namespaces["phones"][:2])
    others = subprocess.Popen([*two, str(ORDINARY), "15", "20", str(tmp_path / "ordinary")])
    trying = subprocess.Popen([*one, "-c", TRIES, "10000", token], stdout=subprocess.PIPE, text=True)
    assert trying.communicate(timeout=100)[0].strip() == "10000"
    assert others.wait(timeout=60) == 0
    rows = lines((tmp_path / "ordinary").read_text())
    assert len(rows) > 200
    assert sum(row["ok"] for row in rows) >= 0.99 * len(rows)
    wait_for(lambda: asks(lab)["xiaomi-app-inventory"]["count"] >= before + 10_000, 10)
    assert not lab.arrived(token)


STRANGER = """
ip link set eth0 down; ip link set eth0 address 06:00:00:00:00:77; ip addr flush dev eth0; ip link set eth0 up
ip addr add 10.77.0.77/24 dev eth0; ip addr add 2001:db8:77::77/64 dev eth0 nodad
ip route add default via 10.77.0.1; ip -6 route add default via 2001:db8:77::1
"""


def test_14_a_phone_that_changes_its_mac_and_addresses_has_no_consent_any_more() -> None:
    """A made-up MAC is a new phone of group `strict`; what was allowed stays with the phone that it was given to."""
    with lab_up(one_wire=True) as lab:  # ports are not locked to their MACs: it can be tried
        given = grant(lab)
        for family in (4, 6):
            assert passes(lab, family, "api.account.xiaomi.com")
        lab.phone("sh", "-c", STRANGER)
        for family in (4, 6):
            assert not passes(lab, family, "api.account.xiaomi.com")
        stranger = wait_for(lambda: [row for row in lines(lab.consentry("asks", "--json").stdout) if row["phone"] != "phone1"], 5)[0]
        assert stranger["group"] == "strict"
        assert given["phone"] == "phone1"


class Upload:
    """A phone's requests that go on by a consent, one every 20 ms, until somebody ends them."""

    def __init__(self, lab: Lab, family: int) -> None:
        self.lab = lab
        self._running = talk(lab, family, "api.account.xiaomi.com", beats=100_000)

    @property
    def arrived(self) -> int:
        """Bytes of it that the sink received."""
        token = self._running.token  # type: ignore[attr-defined]
        return sum(row["bytes"] for row in self.lab.sinks() if token in row["payload"])

    def goes_on(self) -> None:
        before = self.arrived

        def more() -> bool:
            assert self._running.poll() is None, self._running.communicate()
            return self.arrived > before + 500

        wait_for(more)

    def ended_by(self, *words: str) -> None:
        end_together([self], *words)

    def ends(self) -> None:
        assert "Error" in self._running.communicate(timeout=60)[0]


def end_together(uploads: list[Upload], *words: str) -> None:
    """This command of their owner ends them within 5 s, and not one byte arrives afterwards."""
    for upload in uploads:
        upload.goes_on()
    began = time.monotonic()
    uploads[0].lab.consentry(*words)
    for upload in uploads:
        upload.ends()
    took = time.monotonic() - began
    stands_still(lambda: [upload.arrived for upload in uploads], 1.0)
    in_time(took, 5)
    print(f"uploads ended {took:.2f} s after {' '.join(words)!r}")


@BOTH
def test_a_revocation_ends_a_running_upload(house: House, family: int) -> None:
    lab, rules = house
    rules()
    given = grant(lab, how_long="revoked")
    Upload(lab, family).ended_by("consents", "revoke", str(given["id"]))


@BOTH
def test_a_consent_ends_when_its_time_is_up(house: House, family: int) -> None:
    """Time is told, not slept; a leap of a year that the wall clock makes by itself ends nothing."""
    lab, rules = house
    rules()
    given = grant(lab, how_long="15m")
    upload = Upload(lab, family)
    upload.goes_on()
    for leap in ("+366d", "-732d"):
        lab.consentry("lab", "time", leap, "--wall")
        upload.goes_on()
        (one,) = [row for row in lines(lab.consentry("consents", "list", "--json").stdout) if row["id"] == given["id"]]
        assert 800 < one["left"] <= 900
    lab.consentry("lab", "time", "reset")
    upload.ended_by("lab", "time", "+15m")
    assert not passes(lab, family, "api.account.xiaomi.com")
    one = next(row for row in lines(lab.consentry("consents", "list", "--ended", "--json").stdout) if row["id"] == given["id"])
    assert one["why"] == "its time is up"


def test_a_later_end_prolongs_and_what_passes_goes_on(house: House) -> None:
    lab, rules = house
    rules()
    given = grant(lab, how_long="15m")
    uploads = [Upload(lab, family) for family in (4, 6)]
    for upload in uploads:
        upload.goes_on()
    assert grant(lab, how_long="1h")["id"] == given["id"]
    for family in (4, 6):
        ways = lab.gateway("nft", "list", "set", "inet", "consentry", f"consents{family}").stdout
        assert re.search(r"expires (1h|5[0-9]m)", ways)
    lab.consentry("lab", "time", "+16m")
    for upload in uploads:
        upload.goes_on()
    end_together(uploads, "lab", "time", "+45m")
