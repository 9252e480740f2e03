"""The mission: what a Redmi sent in 2014 does not leave, ordinary traffic does, and everybody is told why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from judge import Lab, wait_for

pytestmark = pytest.mark.lab

UPLOADS = ("redmi-1s-2014", "redmi-1s-2014-moved", "redmi-1s-2014-bare", "redmi-note-2014")


def split(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    return [row for row in rows if row["upload"]], [row for row in rows if not row["upload"]]


def named(rows: list[dict], name: str) -> list[dict]:
    """All of them, once one has this name."""
    return rows if any(row["name"] == name for row in rows) else []


@pytest.mark.parametrize("scenario", UPLOADS)
def test_not_one_byte_of_the_uploads_reaches_anybody(lab: Lab, tmp_path: Path, scenario: str) -> None:
    with lab.capture(tmp_path / "wan.pcap") as pcap:
        rows = lab.play(scenario)
    uploads, ordinary = split(rows)
    assert uploads
    raw = pcap.read_bytes()
    payloads = "\n".join(row["payload"] for row in lab.sinks())
    leaked = [row for row in uploads if row["token"] in payloads or row["token"].encode() in raw]
    assert leaked == []
    assert not any(row["ok"] for row in uploads)
    failed = [row for row in ordinary if not row["ok"]]
    assert failed == []
    if scenario == "redmi-1s-2014":
        assert len(ordinary) >= 200


def test_history_and_explain_say_which_phone_what_where_which_rule_and_why(lab: Lab) -> None:
    lab.play("redmi-1s-2014")
    account = wait_for(lambda: named(lab.history("phone:phone1 verdict:refused service:xiaomi-account last:1h"), "api.account.xiaomi.com"), 3)
    inventory = wait_for(lambda: lab.history("phone:phone1 verdict:refused service:xiaomi-app-inventory last:1h"), 3)
    for row in account + inventory:
        assert row["phone"] == "phone1"
        assert row["verdict"] == "ask"
        assert row["rule"].startswith("xiaomi/")
        assert "Xiaomi" in row["reason"]
        assert row["revision"] >= 1
        assert row["bytes_up"] == 0
    lab.play("redmi-1s-2014-bare")
    bare = wait_for(lambda: lab.history("addr:42.62.48.0/24 verdict:refused"), 3)
    assert all(row["service"].startswith("xiaomi-") for row in bare)  # names learnt meanwhile tell which of its services
    told = json.loads(lab.consentry("explain", "phone1", "api.account.xiaomi.com", "--json").stdout)
    assert (told["verdict"], told["rule"], told["service"]) == ("ask", "xiaomi/2", "xiaomi-account")
    assert told["matches"][0]["source"].startswith("xiaomi")
    assert "F-Secure" in told["note"]
    assert told["caveat"] == ""
    assert "no phone is called phone-1: " in lab.consentry("explain", "phone-1", "en.wikipedia.org").stdout


def test_an_episode_is_in_the_history_within_two_seconds(lab: Lab) -> None:
    assert lab.fetch("http://tracking.miui.com/", seconds=3) == {False}
    wait_for(lambda: lab.history("name:tracking.miui.com verdict:refused last:1m"), 2.5)


def test_many_tries_are_one_episode_with_a_count(lab: Lab) -> None:
    for _ in range(4):
        lab.fetch("http://data.mistat.xiaomi.com/", seconds=3)
    rows = wait_for(lambda: [r for r in lab.history("name:data.mistat.xiaomi.com") if r["count"] >= 7], 5)
    assert len(rows) == 1


@pytest.mark.parametrize("scenario", UPLOADS)
def test_positive_control_every_token_arrives_where_everything_is_allowed(open_lab: Lab, scenario: str) -> None:
    uploads, ordinary = split(open_lab.play(scenario))
    payloads = "\n".join(row["payload"] for row in open_lab.sinks())
    assert [row for row in uploads if row["token"] not in payloads] == []
    assert all(row["ok"] for row in ordinary)
