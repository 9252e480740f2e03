"""`consentry replay`: rows on stdout, words on stderr, an exit status that scripts can use."""

import json
import os
from pathlib import Path

import captures
import pytest
from click.testing import CliRunner, Result

from firewall.capture import Capture
from firewall.cli import main

FIELDS = [
    "file", "proto", "src", "sport", "dst", "dport", "name", "via", "names", "hidden", "verdict", "rule", "reason",
    "bytes_up", "bytes_down", "first", "last",
]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["replay", *map(str, args)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "two.pcap"
    path.write_bytes(captures.CASES["ports-used-again"][0])
    return path


def test_json_is_one_object_a_flow_and_the_speed_is_said_aside(file: Path) -> None:
    done = run(file, "--json")
    assert done.exit_code == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(row) for row in rows] == [FIELDS, FIELDS]
    assert [row["name"] for row in rows] == ["one.example", "two.example"]
    assert rows[0] | {"file": "", "names": []} == {
        "file": "", "proto": "tcp", "src": captures.PHONE, "sport": 40000, "dst": captures.FAR, "dport": 443,
        "name": "one.example", "via": "sni", "names": [], "hidden": False, "verdict": "allow", "rule": "default",
        "reason": "no rule speaks of it; the default allows it", "bytes_up": rows[0]["bytes_up"], "bytes_down": 220,
        "first": captures.START, "last": pytest.approx(captures.START + 0.006),
    }
    assert "packets/s" in done.stderr
    assert "MB/s" in done.stderr


def test_people_get_lines(file: Path) -> None:
    done = run(file)
    first, second = done.stdout.splitlines()
    assert "allow" in first
    assert "one.example via sni" in first
    assert "two.example" in second


def test_rules_judge_as_the_gate_would_and_a_refused_flow_says_nothing_more(tmp_path: Path) -> None:
    capture, rules = tmp_path / "x.pcap", tmp_path / "rules.toml"
    talk = captures.Talk(dport=80).shake().say(captures.get("one.example")).answer().say(captures.get("two.example"))
    capture.write_bytes(captures.pcap(captures.on("ethernet", talk.packets)))
    rules.write_text('[[rule]]\naction = "block"\nmatch = "name:one.example phone:anna"\n')
    (row,) = map(json.loads, run(capture, "--json", "--rules", rules, "--phone", "02:00:00:00:01:01=anna").stdout.splitlines())
    assert row["verdict"] == "block"
    assert [name["name"] for name in row["names"]] == ["one.example"]
    (row,) = map(json.loads, run(capture, "--json", "--rules", rules).stdout.splitlines())
    assert row["verdict"] == "allow"
    (row,) = map(json.loads, run(capture, "--json", "--group", "strict").stdout.splitlines())
    assert (row["verdict"], row["rule"]) == ("ask", "strict/1")


def test_what_the_bytes_show_can_be_ruled_on(tmp_path: Path) -> None:
    capture, rules = tmp_path / "x.pcap", tmp_path / "rules.toml"
    rules.write_text('[[rule]]\naction = "block"\nmatch = "via:tunnel"\n')
    for case in ("ssh", "wireguard"):
        capture.write_bytes(captures.CASES[case][0])
        (row,) = map(json.loads, run(capture, "--json", "--rules", rules).stdout.splitlines())
        assert (row["verdict"], row["via"]) == ("block", "tunnel")
        (row,) = map(json.loads, run(capture, "--json").stdout.splitlines())
        assert row["verdict"] == "allow"


def test_several_files_and_a_broken_one(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(file.read_bytes()[:-10])
    done = run(broken, file, "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["file"] for row in rows] == [str(broken)] * 2 + [str(file)] * 2
    assert done.exit_code == 1
    assert f"{broken}: is cut off within a packet" in done.stderr
    whole = len(list(Capture(file)))
    assert f"\n{2 * whole - 1} packets" in done.stderr


def test_a_file_whose_name_no_encoding_has_gives_rows_that_are_json(file: Path) -> None:
    named = file.parent / os.fsdecode("\N{SNOWMAN}".encode() + b"\xff.pcap")
    named.write_bytes(file.read_bytes())
    done = run(named, "--json")
    assert done.exit_code == 0
    assert [json.loads(line)["file"] for line in done.stdout_bytes.decode("ascii").splitlines()] == [str(named)] * 2


def test_long_files_tell_how_far_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.cli.replay.LONG_SECONDS", 0.0)
    long = tmp_path / "long.pcap"
    packet = captures.LINKS["ethernet"][1](captures.udp(captures.PHONE, 1, captures.FAR, 2, b"x" * 40))
    long.write_bytes(captures.pcap([(captures.START + n / 1_000, packet) for n in range(40_000)]))
    done = run(long, "--json")
    assert json.loads(done.stdout)["bytes_up"] == 40_000 * 68
    assert "16,384 packets" in done.stderr
    assert "32,768 packets" in done.stderr
    assert "40,000 packets" in done.stderr


def test_what_cannot_be_is_said(file: Path, tmp_path: Path) -> None:
    assert run().exit_code == 2
    assert run(file, "--rules", tmp_path / "absent.toml").exit_code == 2
    assert run(file, "--phone", "anna").exit_code == 2
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[rule]]\naction = "block"\nmatch = "nmae:x"\n')
    done = run(file, "--rules", wrong)
    assert done.exit_code == 1
    assert "nmae" in done.stderr
    strange = tmp_path / "strange.pcap"
    strange.write_bytes(captures.pcap([(1.0, bytes(60))], link=9_999))
    done = run(strange)
    assert done.exit_code == 1
    assert "link type 9999 (see tcpdump.org/linktypes.html)" in done.stderr
    strange.write_bytes(captures.pcap([(1.0, bytes(60))], link=249))
    assert "link type 249 (USBPcap)" in run(strange).stderr


def test_what_a_recording_lacks_is_said(tmp_path: Path) -> None:
    """Packets cut off when they were recorded, with their whole length counted; frames under a wrong link type."""
    said = captures.on("ethernet", captures._tls())
    short = tmp_path / "short.pcap"
    short.write_bytes(captures.pcap([(time, frame[:70]) for time, frame in said]))
    done = run(short, "--json")
    assert done.exit_code == 0
    assert "cut off" in done.stderr
    row = json.loads(done.stdout)
    assert (row["bytes_up"], row["name"]) == (sum(len(frame) - 14 for _, frame in said if frame[:6] == captures.THEIR_MAC), "")
    torn = tmp_path / "torn.pcap"
    first, _ = captures.fragments(captures.udp(captures.PHONE, 1, captures.FAR, 2, bytes(900)), 512)
    torn.write_bytes(captures.pcap(captures.on("raw", [(1.0, first)]), link=101))
    assert "of 1 datagrams in fragments not all of them are there" in run(torn).stderr
    wrong = tmp_path / "wrong.pcap"
    wrong.write_bytes(captures.pcap([(time, b"\0" + frame) for time, frame in said], link=101))
    done = run(wrong)
    assert "no flow of IP" in done.stderr
    assert "cut off" not in done.stderr
