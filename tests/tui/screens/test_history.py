from __future__ import annotations

import time


async def test_it_begins_with_what_was_refused_in_a_day(screen, gate, episode):
    rows = [episode(1, "a.example.com", verdict="block", count=3), episode(2, "b.example.com"), episode(3, "c.example.com", verdict="ask", at=time.time() - 90_000)]
    async with screen(*rows) as s:
        await s.press("3")
        await s.shows("a.example.com", "1 episode, 1 phone, 0.2 s", "first", "last", "█")
        assert gate.asked[0] == ("history", {"filter": "verdict:refused last:24h", "limit": 500})
        assert "b.example.com" not in s.text


async def test_another_filter_is_asked_with_enter(screen, gate, episode):
    async with screen(episode(1, "a.example.com")) as s:
        await s.press("3")
        await s.shows("Nothing in the history matches")
        await s.press("slash", "ctrl+u", *"name:example.com", "enter")
        await s.shows("a.example.com", "1 episode")
        assert ("history", {"filter": "name:example.com", "limit": 500}) in gate.asked
        await s.press("escape")
        await s.shows("verdict:refused last:24h", "0 episodes")
        await s.press("escape")
        await s.shows("time", "a.example.com")


async def test_a_wrong_filter_is_not_asked(screen, gate, episode):
    async with screen(episode(1, verdict="ask")) as s:
        await s.press("3")
        await s.shows("1 episode")
        await s.press("slash", *" nam:x", "enter")
        await s.shows("^^^ unknown term")
        assert {args["filter"] for _, args in gate.asked} == {"verdict:refused last:24h"}


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
        for _ in range(3):
            await s.press("G")
            await s.pilot.pause(0.2)
        await s.press("G")
        await s.shows("100 episodes", "n000")
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
        await s.shows("verdict:refused last:24h phone:phone1", "a.example.com", "b.example.com")
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


async def test_e_writes_what_the_filter_matches_and_never_over_a_file(screen, gate, episode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gate.page = 30
    async with screen(*(episode(n, f"n{n:03}.example.com", verdict="ask") for n in range(70))) as s:
        await s.press("3")
        await s.shows("the newest 30 episodes")
        await s.press("e")
        await s.shows("Write all rows")
        await s.press("ctrl+u", *"out.csv", "enter")
        await s.shows("written:")
        lines = (tmp_path / "out.csv").read_text().splitlines()
        assert len(lines) == 71
        assert lines[0].startswith("id,when,first,last,phone")
        await s.press("e", "ctrl+u", *"out.csv", "enter")
        await s.shows("is there already; choose another name")
        await s.press("e", "ctrl+u", *"out.txt", "enter")
        await s.shows("is wanted at its end")
        await s.press("e", "ctrl+u", *f"{'x' * 300}.csv", "enter")
        await s.shows("this can name no file")
        assert [file.name for file in tmp_path.iterdir() if file.suffix != ".sock"] == ["out.csv"]
