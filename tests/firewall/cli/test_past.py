"""The command line's view of the past, against a server with the real verbs and a real history."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from judge import wait_for
from samples import NOW, row

from firewall.cli import main
from firewall.control_server import Server
from firewall.events import OwnerActed
from firewall.history import History
from firewall.inputs import Author
from firewall.verbs.past import PastVerbs
from rules.observation import Place

NASTY = '=HYPERLINK("http://evil.example","x")'


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory):
    """The verbs of the past on a socket, over 5,000 rows, two of them odd."""
    path = tmp_path_factory.mktemp("gate")
    store = History(path / "history.db")
    rows = [row(n, last=NOW - n / 100, verdict="ask" if n % 2 else "allow", place=Place("CN", "CN", 45_062, "Netease")) for n in range(1, 5_001)]
    rows[7].name = rows[7].service = NASTY
    store.append(rows, [OwnerActed(NOW, "mode", "watch: all", Author("anna", 1000))], closed=5_000)
    app = SimpleNamespace(history=store, gateway=SimpleNamespace(policy=None), settings=SimpleNamespace(history_file=path / "history.db"))
    loop = asyncio.new_event_loop()
    server = Server(path / "s", PastVerbs(app).verbs(), "0", lambda _: [])
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield path
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    store.close()


def run(gate: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--socket", str(gate / "s"), "history", *words])


def test_a_word_is_a_filter_and_what_the_shell_parts_is_one(gate: Path) -> None:
    told = run(gate, "HYPERlink", "-nobody", "last:1h", "--json")
    assert [json.loads(line)["id"] for line in told.stdout.splitlines()] == [8], told.output
    assert run(gate, "-hyperlink netease", "--json", "--limit", "1").stdout.startswith('{"id": 1,')  # a negation is no option
    assert run(gate, "export", "-", "hyperlink").stdout.count("\n") == 1
    assert "show" in run(gate, "-h").stdout
    assert run(gate, "nobody:x").exit_code == 1


def test_a_filter_alone_is_shown_as_ever(gate: Path) -> None:
    told = run(gate, "verdict:refused last:1h", "--json", "--limit", "3")
    assert told.exit_code == 0, told.output
    assert [json.loads(line)["id"] for line in told.stdout.splitlines()] == [1, 3, 5]
    assert json.loads(told.stdout.splitlines()[0])["place"] == {"country": "CN", "operator_country": "CN", "asn": 45_062, "organisation": "Netease", "operator": ""}
    assert run(gate, "-verdict:allow", "--json", "--limit", "3").stdout == told.stdout  # a negation is no option
    more = told.stderr.split()[-1]
    assert [json.loads(line)["id"] for line in run(gate, "verdict:refused", "--json", "--limit", "2", "--before", more).stdout.splitlines()] == [7, 9]
    assert run(gate, "nam:x").exit_code == 1
    assert run(gate, "--before", "rubbish").exit_code == 2


def test_all_means_all(gate: Path) -> None:
    assert len(run(gate, "--all", "--json").stdout.splitlines()) == 5_000


def test_export(gate: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    assert run(gate, "export", str(out), "verdict:allow").exit_code == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == 2_500
    assert rows[3]["name"] == f"'{NASTY}"
    assert (rows[0]["country"], rows[0]["asn"], rows[0]["names"]) == ("CN", "45062", "http:a.example")
    assert out.stat().st_mode & 0o077 == 0
    again = run(gate, "export", str(out), "name:nothing.example")
    assert (again.exit_code, "--force" in again.output) == (1, True)
    assert len(out.read_text().splitlines()) == 2_501
    assert run(gate, "export", str(out), "name:nothing.example", "--force").exit_code == 0
    assert len(out.read_text().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert run(gate, "export", str(tmp_path / "rows.json"), "verdict:ask").exit_code == 0
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 2_500
    assert run(gate, "export", str(tmp_path / "rows.xls")).exit_code == 2
    assert run(gate, "export", str(tmp_path / "no" / "rows.csv")).exit_code == 1
    assert len(run(gate, "export", "-", "verdict:ask").stdout.splitlines()) == 2_500


def test_hours_groups_notes(gate: Path) -> None:
    def counted() -> list[dict]:
        return [json.loads(line) for line in run(gate, "groups", "--by", "operator", "--json").stdout.splitlines()]

    groups = wait_for(lambda: (found := counted()) and found[0]["count"] >= 5_000 and found)
    assert [(group["key"], group["count"], group["refused"]) for group in groups] == [("Netease", 5_000, 2_500)]
    hours = [json.loads(line) for line in run(gate, "hours", "phone:phone1", "--json").stdout.splitlines()]
    assert len(hours) == 24
    assert sum(hour["ask"] for hour in hours) == 2_500
    notes = [json.loads(line) for line in run(gate, "notes", "--json").stdout.splitlines()]
    assert [(note["kind"], note["text"], note["who"], note["uid"]) for note in notes] == [("mode", "watch: all", "anna", 1000)]


def test_verify(gate: Path) -> None:
    told = run(gate, "verify", "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["broken"] == []
    assert run(gate, "verify", "--expect", "00" * 32).exit_code == 1
    assert run(gate, "verify", "--expect", "x").exit_code == 2
