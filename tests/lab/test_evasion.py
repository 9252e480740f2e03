"""A phone that means it (tests/helpers/hostile.py) against the gate: every trick's token at the internet's sinks is the judge.

Each is tried with a refused name and with a friend's, and with the refused name once more where everything is allowed: a
trick whose token does not arrive there proves nothing. docs/evasion.md is this table.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import byhand
import captures
import clients
import halves
import hostile
import pytest
import relive
import talk
from judge import ALLOW_ALL, PATIENCE, Lab, in_time, lab_up, wait_for

pytestmark = pytest.mark.lab

TOO, NOBODY = "refused too", "no server takes it"
REFUSED, BY_ADDRESS, UNSEEN = "refused", "decided by address", "cannot be seen"
PHONES = 10
# Four flows each, that are held for three seconds; of one phone eight are, and the others' flows wait for a moment too.
WAIT = ("in_front_of_the_beginning", "end_dies", "reset_dies", "syn_between", "drip")
ORDINARY = Path(__file__).parents[1] / "helpers/ordinary.py"


class Case(NamedTuple):
    number: str  # of threats-and-tests.md
    trick: str
    what: str
    becomes: str = REFUSED
    friend: str = "arrives"  # its name, for nothing in it is ambiguous
    arrives: bool = True  # where everything is allowed; False: no server takes it


CASES = [
    Case("E1", "pieces40", "segments of 40 bytes"),
    Case("E1", "pieces20", "segments of 20 bytes"),
    Case("E1", "pieces1", "segments of one byte: more than are held", friend=TOO),
    Case("E2", "in_the_name", "cut in the middle of the name"),
    Case("E3", "reversed_", "the segments in reverse"),
    Case("E3", "later_part_alone", "the second half first, and the first half a second later"),
    Case("E3", "later_part_looks_like_a_beginning", "first what stands behind, which looks like another beginning"),
    Case("E4", "overlap_good_first", "a segment that waits for its turn, and another one in its place"),
    Case("E4", "overlap_evil_first", "the same, the other way round"),
    Case("E4", "in_front_of_the_beginning", "harmless bytes in front of the first one (seqovl)", friend=TOO),
    Case("E4", "gap_behind_a_whole", "behind a harmless request and a gap another one's end; the gap; a harmless end", friend=TOO),
    Case("E4", "gap_behind_a_word", "the same behind a request's method", friend=TOO),
    Case("E5", "fake_dies", "a harmless whole with a small TTL"),
    Case("E5", "fake_half_dies", "a true beginning, a harmless end with a small TTL, the true end"),
    Case("E6", "fake_checksum", "a harmless whole with a wrong checksum"),
    Case("E6", "fake_no_ack", "a harmless whole without ACK"),
    Case("E6", "fake_ack", "a harmless whole that acknowledges what was never sent"),
    Case("E6", "fake_old_timestamp", "a harmless whole with an old timestamp (PAWS)", friend=TOO),
    Case("E6", "last_byte_again", "a name's last letter with an old timestamp, and another one in its place", friend=TOO),
    Case("E7", "fake_long_before", "a harmless whole 10,000 bytes before the beginning (badseq)", friend=TOO),
    Case("E7", "fake_long_before_and_all_between", "the same, and everything between", friend=TOO),
    Case("E8", "fake_md5", "a harmless whole with an MD5 option"),
    Case("E9", "reset_dies", "a reset that the server does not see", friend=TOO),
    Case("E9", "end_dies", "an end (FIN) that the server does not see", friend=TOO),
    Case("E9", "reset_between", "such a reset between a harmless hello or request that is answered and the other"),
    Case("E9", "end_between", "such an end at that place"),
    Case("E9", "fake_in_reset", "a harmless whole in a reset"),
    Case("E9", "fake_in_fin", "a harmless whole in an end"),
    Case("E9", "urgent", "an urgent byte in the name, which the server takes out", friend=TOO),
    Case("E10", "in_the_syn", "the whole in the SYN"),
    Case("E10", "harmless_syn", "a harmless whole in the SYN"),
    Case("E11", "syn_and_ack", "a SYN and ACK, as if both had opened it"),
    Case("E11", "port_used_again", "a connection given up, and its numbers used in the next one"),
    Case("E11", "port_used_again_later", "the same, with everything between", friend=TOO),
    Case("E11", "syn_between", "a SYN in the middle, behind a harmless hello or request that is answered", friend=TOO),
    Case("E12", "fragments", "IP fragments"),
    Case("E12", "fragments_overlap", "IP fragments that overlap", friend=NOBODY, arrives=False),
    Case("E13", "hop_by_hop", "an IPv6 hop-by-hop header"),
    Case("E13", "destination_options", "an IPv6 header of options"),
    Case("E14", "small_records", "a hello in many TLS records"),
    Case("E15", "two_at_once", "two hellos, or two requests, in one segment"),
    Case("E15", "two_one_after_another", "a harmless hello or request that is answered, and then the other"),
    Case("E15", "after_a_change", "the same over TLS, with a change of ciphers between (as after HelloRetryRequest)"),
    Case("E15", "after_a_change_alone", "the same, the change in a segment of its own"),
    Case("E15", "asked_again", "the same, after a HelloRetryRequest"),
    Case("E15", "after_changes", "the same, and three changes of ciphers between"),
    Case("E15", "after_early_data", "the same, and early data between, which the server has refused"),
    Case("E15", "after_early_data_alone", "the same, the early data in a segment of its own"),
    Case("E15", "after_early_data_cut", "the same, and the other hello in two segments, the first with the early data"),
    Case("E15", "after_a_change_and_early_data", "the same, and a change of ciphers before them"),
    Case("E15", "end_first", "the same, the other hello's end first, its beginning, and a harmless end", friend=TOO),
    Case("E15", "behind_lures", "two hellos in one segment, and between them early data full of what looks like hellos"),
    Case("E15", "cut_behind", "a hello, early data and another hello's beginning in one segment, its end in the next"),
    Case("E15", "in_one_record", "two hellos in one record", friend=TOO),
    Case("E16", "late", "four seconds of silence first"),
    Case("E16", "a_word_alone", "a request's method, and the rest when nobody waits for it any more"),
    Case("E16", "asks_for_life", "a byte before the beginning, as Windows asks for a sign of life"),
    Case("E16", "drip", "a byte a second, until nobody waits any more", friend=TOO),
]

class Words(NamedTuple):
    """In plain words, to any place."""

    number: str
    name: str
    what: str
    becomes: str
    to: dict[int, str]
    port: int
    data: Any  # of a token
    shown: str = ""  # a filter that finds it in the history, where it passes


def tls(token: str, *extensions: bytes) -> bytes:
    return talk.hello(*extensions, talk.extension(0x7A7A, token.encode()))


WORDS = [
    Words("E19", "hidden", "ECH behind a name that is a decoy", UNSEEN, byhand.FRIEND, 8443,
          lambda t: tls(t, talk.server_name(b"cloudflare-ech.com"), talk.ech(200)), "via:hidden"),
    Words("E19", "for_show", "ECH for show (GREASE) beside a friend's name", UNSEEN, byhand.FRIEND, 8443,
          lambda t: tls(t, talk.server_name(b"friendly.example"), talk.ech(144)), "name:friendly.example"),
    Words("E20", "nameless_listed", "no name, to a listed address", BY_ADDRESS, byhand.LISTED, 8443, tls),
    Words("E20", "nameless", "no name, to an address that is not listed", UNSEEN, byhand.FRIEND, 8443, tls, "via:none"),
    Words("E21", "literal", "a listed address where the name should stand", BY_ADDRESS, byhand.LISTED, 80,
          lambda t: byhand.request("42.62.48.181", t)),
    Words("E23", "odd_port", "TLS on port 123", REFUSED, byhand.FRIEND, 123, lambda t: byhand.hello(hostile.EVIL_NAME, t)),
    Words("E23", "http_on_443", "HTTP on port 443", REFUSED, byhand.FRIEND, 443, lambda t: byhand.request(hostile.EVIL_NAME, t)),
    Words("E24", "httpdns", "a name asked for over HTTP", REFUSED, byhand.FRIEND, 80,
          lambda t: byhand.request("192.0.2.1", f"d?dn=www.example.net&t={t}")),
    Words("E24", "never_asked", "a name that our DNS was never asked for (hosts file, mDNS)", REFUSED, byhand.FRIEND, 8443,
          lambda t: byhand.hello("app.chat.xiaomi.net", t)),
]


def tries(names: dict[str, str], words: list[Words]) -> list[dict[str, Any]]:
    """Every trick over TLS and HTTP, IPv4 and IPv6, with each name."""
    mark = f"{time.time_ns():x}"[-9:]
    found: list[dict[str, Any]] = []
    for who, name in names.items():
        for case in CASES:
            for speech, family in (("tls", 4), ("tls", 6), ("http", 4), ("http", 6)):
                if case.trick in (hostile.TLS_ONLY if speech == "http" else hostile.HTTP_ONLY) or (family == 4 and case.trick in hostile.IPV6_ONLY):
                    continue
                found.append({"trick": case.trick, "who": who, "speech": speech, "family": family, "name": name})
    for word in words:
        found += [{"trick": word.name, "who": "words", "speech": "tls", "family": family, "to": word.to[family], "port": word.port} for family in (4, 6)]
    for number, one in enumerate(found):
        one["token"] = f"{mark}{number:07}"
    for one in found[-2 * len(words) :] if words else []:
        one["data"] = next(word for word in words if word.name == one["trick"]).data(one["token"]).hex()
    return found


Became = dict[tuple[str, str], dict[str, bool]]  # (trick, who) -> how -> whether its token arrived


def arriving(one: dict[str, Any], *, allowed: bool) -> bool:
    """Whether its token will arrive, where everything is `allowed` or only the friend."""
    case = next((case for case in CASES if case.trick == one["trick"]), None)
    if case is None:
        return allowed or next(word.becomes == UNSEEN for word in WORDS if word.name == one["trick"])
    return case.arrives if allowed else one["who"] == "friend" and case.friend not in {TOO, NOBODY}


def tried(lab: Lab, wanted: list[dict[str, Any]], *, allowed: bool, again: bool = False) -> Became:
    """(trick, who) -> which of its tokens arrived, when there has been time for all of them.

    What should have and has not is tried once more: a busy machine is late, and a gate that refuses it does so again.
    """
    tricks = [trick for trick in dict.fromkeys(one["trick"] for one in wanted) if trick not in WAIT]
    wait = [(trick, who) for trick in WAIT for who in ("evil", "friend")]

    def phone_of(one: dict[str, Any]) -> int:
        return wait.index((one["trick"], one["who"])) if one["trick"] in WAIT else tricks.index(one["trick"]) % PHONES

    def send(number: int, phone: str) -> None:
        share = [one for one in wanted if phone_of(one) == number]
        done = subprocess.run(
            ["ip", "netns", "exec", phone, sys.executable, hostile.__file__], input="".join(json.dumps(one) + "\n" for one in share),
            capture_output=True, text=True, check=True, timeout=100,
        )
        assert len(done.stdout.splitlines()) == len(share), done.stderr

    with ThreadPoolExecutor(PHONES) as threads:
        list(threads.map(send, range(PHONES), lab.namespaces["phones"]))
    time.sleep(3.5)  # what is still held is refused by then
    until = time.monotonic() + PATIENCE * 3
    while True:
        payloads = "\0".join(row["payload"] for row in lab.sinks())
        late = [one for one in wanted if one["token"] not in payloads and arriving(one, allowed=allowed)]
        if not late or time.monotonic() > until:
            break
        time.sleep(0.2)
    found: Became = {}
    for one in wanted:
        found.setdefault((one["trick"], one["who"]), {})[f"{one['speech']} over IPv{one['family']}"] = one["token"] in payloads
    if late and not again:
        print("once more:", *(f"{one['trick']} ({one['who']}) {one['speech']} over IPv{one['family']}" for one in late))
        for key, how in tried(lab, late, allowed=allowed, again=True).items():
            found[key] |= how
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Its owner allows the friend by name, above all packs: that opens nothing that says another name too."""
    rules = tmp_path_factory.mktemp("friend") / "rules.toml"
    rules.write_text(f'[[rule]]\naction = "allow"\nmatch = "name:{hostile.GOOD_NAME}"\n')
    with lab_up(rules, phones=PHONES) as built:
        yield built


@pytest.fixture(scope="module")
def both(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Became, Became]:
    """What became of all of it here, and where everything is allowed; most of the time is waiting."""
    rules = tmp_path_factory.mktemp("rules") / "rules.toml"
    rules.write_text(ALLOW_ALL)
    names = {"evil": hostile.EVIL_NAME, "friend": hostile.GOOD_NAME}
    with lab_up(rules, phones=PHONES) as built, ThreadPoolExecutor(2) as threads:
        there = threads.submit(tried, built, tries({"evil": hostile.EVIL_NAME}, WORDS), allowed=True)
        return tried(lab, tries(names, WORDS), allowed=False), there.result()


@pytest.fixture
def became(both: tuple[Became, Became]) -> Became:
    return both[0]


@pytest.fixture
def control(both: tuple[Became, Became]) -> Became:
    return both[1]


def shown(lab: Lab, asked: str, where: dict[int, str]) -> list[dict[str, Any]]:
    """Rows of the history about one of these addresses: what a phone does again is one row."""
    return wait_for(lambda: [row for row in lab.history(f"{asked} last:10m") if row["dst"] in where.values()], 3)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}-{case.trick}")
def test_by_no_trick_a_refused_name_arrives(case: Case, became: Became, control: Became) -> None:
    assert set(control[case.trick, "evil"].values()) == {case.arrives}, "the trick is void"
    assert set(became[case.trick, "evil"].values()) == {False}
    if case.friend != NOBODY:
        assert set(became[case.trick, "friend"].values()) == {case.friend != TOO}


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{word.number}-{word.name}")
def test_what_is_said_in_plain_words(word: Words, lab: Lab, became: Became, control: Became) -> None:
    assert set(control[word.name, "words"].values()) == {True}, "the trick is void"
    assert set(became[word.name, "words"].values()) == {word.becomes == UNSEEN}
    if word.shown:
        shown(lab, f"{word.shown} verdict:allow", word.to)


def test_refusals_are_shown_with_their_reason(lab: Lab, became: Became) -> None:
    """Also of a hello that says two things."""
    assert became
    for asked in (f"name:{hostile.EVIL_NAME} verdict:refused", "via:unfinished verdict:block"):
        assert all(row["reason"] for row in shown(lab, asked, byhand.FRIEND))


@pytest.mark.parametrize("family", [4, 6])
def test_fronting_cannot_be_seen_and_is_shown_as_what_it_says(lab: Lab, family: int) -> None:
    """E22: the name in the open is a friend's, the one inside another. docs/threat-model.md says so."""
    to = byhand.FRIEND[family]
    code = f"""
import socket, ssl
context = ssl.create_default_context(); context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
s = context.wrap_socket(socket.create_connection(("{to}", 443), 9), server_hostname="front{family}.friendly.example")
s.sendall(b"GET /fronted{family} HTTP/1.1\\r\\nHost: {hostile.EVIL_NAME}\\r\\nConnection: close\\r\\n\\r\\n"); s.recv(99)
"""
    lab.phone(sys.executable, "-c", code)
    wait_for(lambda: lab.arrived(f"fronted{family}"))
    shown(lab, f"name:front{family}.friendly.example verdict:allow", {family: to})


@pytest.mark.parametrize("family", [4, 6])
def test_a_phone_is_no_way_out_for_another(lab: Lab, family: int) -> None:
    """E25: a relay on the second phone is not reached by the first; by the second itself it is."""
    there = f"{'10.77.0.' if family == 4 else '2001:db8:77::'}11"
    relay = subprocess.Popen(
        ["ip", "netns", "exec", lab.namespaces["phones"][1], sys.executable, "-u", "-c",
         f"import socket\ns = socket.create_server(('{there}', 1080), family=socket.AF_INET{'6' if family == 6 else ''})\nprint('ready')\nprint(s.accept()[0].recv(99))"],
        stdout=subprocess.PIPE, text=True,
    )
    assert relay.stdout is not None
    assert relay.stdout.readline() == "ready\n"
    say = f"import socket; s = socket.create_connection(('{there}', 1080), 1); s.sendall(b'%s')"
    assert lab.phone(sys.executable, "-c", say % "CONNECT evil", check=False).returncode != 0
    lab.phone(sys.executable, "-c", say % "of its own", phone="phone2")
    assert relay.communicate(timeout=20)[0] == "b'of its own'\n"


def test_what_stacks_say_is_not_broken(lab: Lab) -> None:
    """Hellos of Python, OpenSSL and curl (nghttp2), each with its own name and token. Two hundred: `make campaign`."""
    assert lab.phone(sys.executable, clients.__file__, "ours", "24", phone="phone2").stdout == ""
    tokens = {clients.words("ours", stack, number)[1] for stack in ("python", "openssl", "curl") for number in range(24)}
    payloads = "\0".join(row["payload"] for row in lab.sinks())
    assert {token for token in tokens if token not in payloads} == set()


def test_hellos_cut_as_they_are_recorded_arrive_under_their_names(lab: Lab) -> None:
    """Of post-quantum sizes, in two to nine segments; those of other people's captures: `make campaign`."""
    flights = []
    for number, (pad, size) in enumerate(((0, 60), (1_300, 1_400), (1_300, 700), (5_000, 1_400), (11_000, 1_400))):
        whole = captures.hello(f"relived{number}.example", pad=pad)
        whole = talk.record(whole) if whole[0] == 1 else whole
        flights.append({"name": f"relived{number}.example", "said": [whole[at : at + size].hex() for at in range(0, len(whole), size)]})
    for family, phone in zip((4, 6), lab.namespaces["phones"], strict=False):
        argv = ["ip", "netns", "exec", phone, sys.executable, relive.__file__, str(family)]
        done = subprocess.run(argv, input="\n".join(map(json.dumps, flights)), capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == ""
    for flight in flights:
        shown(lab, f"name:{flight['name']} verdict:allow via:sni", {n: relive.TO[n].format(0, flights.index(flight)) for n in (4, 6)})


def test_half_hellos_and_odd_segments_of_one_phone_cost_others_nothing(lab: Lab, tmp_path: Path) -> None:
    """Ten thousand of them: `make campaign`."""
    log = tmp_path / "ordinary"
    began = lab.status
    phones = lab.namespaces["phones"]
    flood = subprocess.Popen(["ip", "netns", "exec", phones[2], sys.executable, halves.__file__, "15", "100"], stdout=subprocess.PIPE, text=True)
    subprocess.run(["ip", "netns", "exec", phones[3], sys.executable, str(ORDINARY), "3", "10", str(log)], check=True, timeout=60)
    assert flood.communicate(timeout=60)[0] == "3000\n"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) >= 30
    assert [row for row in rows if not row["ok"]] == []
    in_time(sorted(row["seconds"] for row in rows)[-2], PATIENCE)
    assert lab.status["gateway_pid"] == began["gateway_pid"]
    assert lab.state_is("ENFORCING")


def table() -> list[tuple[str, str, str, str]]:
    """The rows of docs/evasion.md that are tried here."""
    return [(case.number, case.what, case.becomes, case.friend) for case in CASES] + [
        (word.number, word.what, word.becomes, "arrives" if word.becomes == UNSEEN else "") for word in WORDS
    ]


def test_the_docs_say_what_becomes_of_each() -> None:
    text = (Path(__file__).parents[2] / "docs/evasion.md").read_text("utf-8")
    told = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in re.findall(r"^\| E\d+ .*$", text, re.MULTILINE)]
    assert [row for row in told if row[0] not in {"E22", "E25", "E27"}] == table()
