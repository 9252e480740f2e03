"""The journal tells everything, within bounds, and says when it could not."""

from __future__ import annotations

import json

from firewall.lab.sinks import MAX_PAYLOAD, Journal

SRC, DST = ("203.0.113.1", 4000), ("2001:db8:feed::1", 443, 0, 0)


def line(record) -> dict:
    return json.loads(record.to_line())


def test_a_record_is_there_before_its_first_byte() -> None:
    journal = Journal()
    journal.open("tcp", SRC, DST)
    (record,) = journal
    told = line(record)
    assert told.pop("time") > 0
    assert told == {
        "id": 1, "src": "203.0.113.1", "sport": 4000, "dst": "2001:db8:feed::1", "dport": 443, "proto": "tcp",
        "name": "", "bytes": 0, "payload": "", "open": True,
    }


def test_bytes_are_counted_beyond_what_is_kept() -> None:
    journal = Journal()
    record = journal.open("tcp", SRC, DST)
    for _ in range(3):
        journal.add(record, b"\xff" * 30_000)
    told = line(record)
    assert told["bytes"] == 90_000
    assert told["payload"] == "\xff" * MAX_PAYLOAD
    assert journal.cut == 0  # by design, not for lack of room


def test_the_oldest_are_forgotten_and_counted() -> None:
    journal = Journal(max_records=3)
    for port in range(5):
        journal.open("udp", ("203.0.113.1", port), DST)
    assert [record.sport for record in journal] == [2, 3, 4]
    assert journal.forgotten == 2


def test_payloads_share_a_bound_and_what_is_cut_is_counted() -> None:
    journal = Journal(max_records=2, max_payloads=10)
    first, second = journal.open("tcp", SRC, DST), journal.open("tcp", SRC, DST)
    journal.add(first, b"12345678")
    journal.add(second, b"abcd")
    assert (line(second)["payload"], line(second)["bytes"], journal.cut) == ("ab", 4, 2)
    third = journal.open("tcp", SRC, DST)  # the first is forgotten, and with it its payload
    journal.add(third, b"xyz")
    assert line(third)["payload"] == "xyz"


def test_a_forgotten_record_that_goes_on_keeps_no_room() -> None:
    journal = Journal(max_records=1, max_payloads=10)
    old = journal.open("tcp", SRC, DST)
    new = journal.open("tcp", SRC, DST)
    journal.add(old, b"0123456789")
    journal.add(new, b"abc")
    assert line(new)["payload"] == "abc"


def test_decrypted_bytes_take_the_place_of_the_handshake() -> None:
    journal = Journal(max_payloads=20)
    record = journal.open("tcp", SRC, DST)
    journal.add(record, b"\x16" * 15)
    journal.decrypted(record)
    journal.add(record, b"GET / HTTP/1.1")
    assert (line(record)["payload"], line(record)["bytes"], journal.cut) == ("GET / HTTP/1.1", 14, 0)


def test_listeners_hear_of_every_change() -> None:
    journal = Journal()
    heard: list[tuple[int, bool]] = []
    journal.listeners.add(lambda record, opened: heard.append((record.received, opened)))
    record = journal.open("tcp", SRC, DST)
    journal.add(record, b"123")
    journal.close(record)
    assert heard == [(0, True), (3, False), (3, False)]
