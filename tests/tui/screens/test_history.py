from __future__ import annotations

import csv
import threading
import time
from dataclasses import replace

import pytest

from firewall import export
from firewall.control import Done, Verb
from rules.observation import Place
from tui import offers
from tui.glyphs import ASCII


async def test_it_begins_with_what_was_refused_in_a_day(screen, gate, episode):
    rows = [episode(1, "a.example.com", verdict="block", count=3), episode(2, "b.example.com"), episode(3, "c.example.com", verdict="ask", at=time.time() - 90_000)]
    async with screen(*rows) as s:
        await s.press("3")
        await s.shows("a.example.com", "1 episode, 1 phone, 0.2 s", "first", "last", "█", "? help  q quit")
        assert gate.asked[0] == ("history", {"filter": "verdict:refused,watch last:24h", "limit": 500, "before": None})
        assert "b.example.com" not in s.text


async def test_another_filter_is_asked_with_enter(screen, gate, episode):
    async with screen(episode(1, "a.example.com")) as s:
        await s.press("3")
        await s.shows("Nothing in the history matches")
        await s.press("slash", "ctrl+u", *"name:example.com", "enter")
        await s.shows("a.example.com", "1 episode")
        assert ("history", {"filter": "name:example.com", "limit": 500, "before": None}) in gate.asked
        await s.press("escape")
        await s.shows("verdict:refused,watch last:24h", "0 episodes")
        await s.press("escape")
        await s.shows("time", "a.example.com")


async def test_a_wrong_filter_is_not_asked(screen, gate, episode):
    async with screen(episode(1, verdict="ask")) as s:
        await s.press("3")
        await s.shows("1 episode")
        await s.press("slash", *" nam:x", "enter")
        await s.shows("^^^ unknown term")
        assert {args["filter"] for _, args in gate.asked} == {"verdict:refused,watch last:24h"}


async def test_without_a_gateway_it_says_so(screen, gate, episode):
    async with screen(episode(1)) as s:
        await gate.close()
        await s.shows("NO GATE")
        await s.press("3")
        await s.shows("no gateway answers: No such file or directory")


async def test_enter_tells_everything(screen, episode):
    async with screen(episode(1, "a.example.com", verdict="block")) as s:
        await s.press("3")
        await s.shows("1 episode")
        await s.press("enter")
        await s.shows("everything known", "a.example.com")


async def test_older_rows_come_as_one_scrolls_down(screen, gate, episode):
    gate.page = 30
    now = time.time()
    async with screen(*(episode(n, f"n{n:03}.example.com", verdict="ask", at=now - 200 + n) for n in range(100))) as s:
        await s.press("3")
        await s.shows("the newest 30 episodes", "n099")
        await s.press("G")
        await s.shows("the newest 60 episodes")
        await s.press("G")
        await s.shows("the newest 90 episodes")
        await s.press("G")
        await s.shows("100 episodes")
        await s.press("G")
        await s.shows("n000")
        assert "newest" not in s.text


async def test_what_is_held_is_bounded_and_g_goes_back_to_the_newest(screen, gate, episode, monkeypatch):
    monkeypatch.setattr("tui.screens.history.MOST_ROWS", 50)
    gate.page = 30
    now = time.time()
    async with screen(*(episode(n, f"n{n:03}.example.com", verdict="ask", at=now - 200 + n) for n in range(100))) as s:
        await s.press("3")
        await s.shows("the newest 30 episodes")
        await s.press("G")
        await s.shows("10 above: g", "50 episodes")
        await s.press("g")
        await s.shows("the newest 30 episodes", "n099")


async def test_s_groups_and_enter_narrows_to_one(screen, gate, episode):
    rows = [episode(1, "a.example.com", verdict="block", service="x", count=7), episode(2, "b.example.com", verdict="ask", service="y")]
    async with screen(*rows) as s:
        await s.press("3")
        await s.shows("2 episodes")
        await s.press("s")
        await s.shows("by service: 2 groups", "title of x", "█")
        await s.press("s")
        await s.shows("by phone: 1 group")
        await s.press("enter")
        await s.shows("verdict:refused,watch last:24h phone:phone1", "a.example.com", "b.example.com")
        await s.press("escape")
        await s.shows("2 episodes")


async def test_notes_tell_who_did_it(screen, gate):
    gate.notes = [{"at": time.time(), "kind": "rules", "text": "added [block] x", "who": "anna", "uid": 1000}]
    async with screen() as s:
        await s.press("3", "o")
        await s.shows("added [block] x", "anna")


async def test_verify_says_what_it_proves(screen, gate):
    async with screen() as s:
        await s.press("3", "v")
        await s.shows("The chain is whole.", "12 seals", "this proves little against root")
        await s.press("escape")
        gate.whole |= {"broken": [{"seal": 3, "minute": time.time(), "what": "a row was changed"}]}
        await s.press("v")
        await s.shows("BROKEN  seal 3", "a row was changed")
        assert "whole" not in s.text


async def test_behind_a_box_the_place_in_the_pages_is_kept(screen, gate, episode):
    gate.page = 30
    now = time.time()
    async with screen(*(episode(n, f"n{n:03}.example.com", verdict="ask", at=now - 200 + n) for n in range(100))) as s:
        await s.press("3")
        await s.shows("the newest 30 episodes")
        await s.press("G")
        await s.shows("the newest 60 episodes")
        asked = len(gate.asked)
        await s.press("enter")
        await s.shows("everything known")
        await s.press("escape")
        await s.hides("everything known")
        assert "the newest 60 episodes" in s.text
        assert [verb for verb, _ in gate.asked[asked:]] == ["explain"]
        await s.press("1", "3")
        await s.shows("the newest 30 episodes")


async def test_pages_that_came_empty_are_not_the_end(screen, gate, episode):
    asked = []

    async def in_pieces(_peer, args):
        asked.append(args["before"])
        if args["before"] != "3":
            yield Done({"count": 0, "seconds": 0.2, "more": str(int(args["before"] or 0) + 1)})
            return
        yield episode(1, "far.example.com", verdict="ask").to_json()
        yield Done({"count": 1, "seconds": 0.1, "more": None})

    gate._server._verbs["history"] = Verb(in_pieces)
    async with screen() as s:
        await s.press("3")
        await s.shows("far.example.com", "1 episode")
        assert asked == [None, "1", "2", "3"]


async def test_what_is_watched_is_reviewed_as_well(screen, episode):
    async with screen(episode(1, "w.example.com", verdict="watch")) as s:
        await s.press("3")
        await s.shows("w.example.com", "watch")


@pytest.mark.parametrize(("by", "asked"), [
    ("name", ["to:www.example.com", "to:192.0.2.7"]), ("operator", ["run-by:cnnic", 'run-by:"a ""big"" net, inc"', "run-by:none"]),
    ("service", ["service:x", "service:none"]), ("country", ["country:CN", "country:none"]), ("phone", ['phone:"tv upstairs"', "phone:phone1"]),
])
async def test_enter_on_a_group_leaves_its_rows_and_no_others(screen, episode, by, asked):
    rows = [
        replace(episode(1, "www.example.com", verdict="ask", service="x"), operator="cnnic", place=Place("CN", "CN", 24151, "CNNIC")),
        replace(episode(2, "a.www.example.com", verdict="ask", phone="tv upstairs"), place=Place("", "", 64_500, 'a "big" net, inc')),
        episode(3, dst="192.0.2.7", verdict="block"),
    ]
    async with screen(*rows) as s:
        await s.press("3")
        await s.shows("3 episodes")
        for term in asked:
            s.app.screen.look("verdict:refused", by)
            await s.shows("groups")
            keys = [offers.exactly(by, row["key"]) for row in s.app.screen.groups.rows]
            s.app.screen.groups.point(s.app.screen.groups.rows[keys.index(term)]["key"])
            count = s.app.screen.groups.pointed["count"]
            await s.press("enter")
            await s.shows(f"verdict:refused {term}", f"{count} episode")
            assert [offers.exactly(by, {"name": one.to, "operator": one.run_by, "country": one.place.country}.get(by, getattr(one, by, "")) or "") for one in s.app.screen.table.rows] == [term] * count


async def test_e_writes_what_the_filter_matches_and_never_over_a_file(screen, gate, episode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gate.page = 30
    async with screen(*(episode(n, f"n{n:03}.example.com", verdict="ask") for n in range(70))) as s:
        await s.press("3")
        await s.shows("the newest 30 episodes")
        await s.press("e")
        await s.shows("Write all rows", time.strftime("consentry-%Y-%m-%d"))
        await s.press("ctrl+u", *"out.csv", "enter")
        await s.shows("70 rows written:")
        rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
        assert [row["name"] for row in rows] == [f"n{n:03}.example.com" for n in reversed(range(70))]
        assert gate.asked[-1][1]["filter"] == "verdict:refused,watch last:24h"
        await s.press("e", "ctrl+u", *"out.csv", "enter")
        await s.shows("is there already; choose another name", "Write all rows")
        await s.press("ctrl+u", *"out.txt", "enter")
        await s.shows("is wanted at its end")
        await s.press("escape")
        await s.hides("Write all rows")
        assert [file.name for file in tmp_path.iterdir() if file.suffix != ".sock"] == ["out.csv"]


@pytest.mark.parametrize(("name", "why"), [("~nobody-at-all/a.csv", "can name no file"), ("x" * 300 + ".csv", "can name no file"), ("", "is wanted at its end"), ("no/such/a.csv", "No such file")])
async def test_a_name_that_cannot_be_is_said(screen, episode, tmp_path, monkeypatch, name, why):
    monkeypatch.chdir(tmp_path)
    async with screen(episode(1, verdict="ask")) as s:
        await s.press("3", "e", "ctrl+u")
        s.app.screen.prompt.box.value = name
        await s.press("enter")
        await s.shows(why)


async def test_esc_gives_a_long_export_up(screen, gate, episode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, "PAGE", 1)
    halted, go_on = threading.Event(), threading.Event()
    real = export.write

    def slow(rows, form, file):
        def halting():
            for number, row in enumerate(rows):
                if number == 3:
                    halted.set()
                    go_on.wait(5)
                yield row

        real(halting(), form, file)

    monkeypatch.setattr(export, "write", slow)
    async with screen(*(episode(n, f"n{n}.example.com", verdict="ask") for n in range(10))) as s:
        await s.press("3")
        await s.shows("10 episodes")
        await s.press("e", "enter")
        await s.until(halted.is_set)
        await s.shows("rows so far", "esc gives up")
        await s.press("e")
        await s.shows("one file is still being written")
        await s.press("escape")
        go_on.set()
        await s.shows("given up; nothing was written")
        assert not [path for path in tmp_path.iterdir() if path.name != "gateway.sock"]


async def test_it_is_read_without_unicode_and_hostile_names_are_text(screen, gate, episode):
    row = episode(1, "[red]\u202ex\x1b[31m.example.com", verdict="block", phone="[b]p[/]", rule="\x07r")
    gate.notes = [{"at": 0.0, "kind": "rules", "text": "\u202e[red]y", "who": "[b]", "uid": 0}]
    async with screen(row, look=ASCII, size=(160, 30)) as s:
        await s.press("3")
        await s.shows("[red]‹U+202E", "[b]p[/]", "x block")
        for key, words in (("s", "by service"), ("s", "by phone"), ("s", "by operator"), ("s", "by country"), ("s", "by name"), ("s", "by rule")):
            await s.press(key)
            await s.shows(words)
            assert "\u202e" not in s.text
            assert "\x1b" not in s.text
        await s.press("o")
        await s.shows("‹U+202E›[red]y  [b]")


async def test_e_writes_only_what_is_marked(screen, gate, episode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with screen(*(episode(n, f"n{n}.example.com", verdict="ask") for n in range(5))) as s:
        await s.press("3")
        await s.shows("5 episodes")
        await s.press("space", "down", "space")
        await s.shows("▸ 2 marked", "phone1: n4.example.com, phone1: n2.example.com", "e export   y copy; esc lets go of all")
        await s.press("e")
        await s.shows("the 2 rows that you marked")
        await s.press("ctrl+u", *"out.csv", "enter")
        await s.shows("2 rows written:")
        assert [row["name"] for row in csv.DictReader((tmp_path / "out.csv").read_text().splitlines())] == ["n4.example.com", "n2.example.com"]
        await s.hush()
        await s.press("s")
        await s.hides("marked")  # groups have no marks
        await s.press("s", "s", "s", "s", "s", "s")
        await s.shows("2 marked")
        await s.press("escape")
        await s.hides("marked")
        assert s.app.current_mode == "history"


async def test_a_word_is_asked_for_with_enter(screen, gate, episode):
    async with screen(episode(1, "a.example.com", verdict="ask", service="xiaomi-cloud"), episode(2, "b.example.com", verdict="ask")) as s:
        await s.press("3")
        await s.shows("2 episodes")
        await s.press("slash", *" xiaomi", "enter")
        await s.shows("1 episode,", "a.example.com")
        assert gate.asked[-1][1]["filter"] == "verdict:refused,watch last:24h xiaomi"
