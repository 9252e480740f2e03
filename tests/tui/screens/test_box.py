"""Detail and help."""

from __future__ import annotations

from dataclasses import replace

from rules.observation import Place


async def test_everything_known_tells_where_it_stands_and_who_runs_it(screen, episode):
    row = replace(episode(1, "api.example", verdict="ask", dst="42.62.48.9"), place=Place("CN", "CN", 4808, "China Unicom"), operator="xiaomi")
    async with screen(row, size=(100, 40)) as s:
        await s.press("enter")
        await s.shows("everything known", "place      China, Xiaomi, AS4808 China Unicom, registered in China")


async def test_detail_asks_what_else_would_match(screen, gate, episode):
    gate.explained = {
        "verdict": "ask", "rule": "xiaomi/1", "reason": "asks for X", "service_title": "Title", "revision": 3,
        "matches": [{"id": "m1", "rule": "block addr:42.62.48.0/24", "answer": "matches", "source": "mine", "note": ""}],
    }
    async with screen(episode(1, "api.account.xiaomi.com", verdict="ask", port=80), size=(100, 40)) as s:
        await s.press("enter")
        await s.shows("Would also match", "m1  block addr:42.62.48.0/24")
        assert gate.asked == [("explain", {"phone": "phone1", "what": "api.account.xiaomi.com:80", "proto": "tcp"})]
        await s.press("escape")
        await s.hides("Would also match")


async def test_detail_tells_the_rule_as_it_was_then(screen, gate, episode):
    """The row was judged by revision 1, and today revision 3 has another rule by that id."""
    then = {"id": "xiaomi/1", "rule": "ask name:old.example", "answer": "matches", "source": "mine", "note": "[b]why[/b]"}
    gate.explained = {
        "verdict": "allow", "rule": "m2", "reason": "allowed now", "service_title": "", "revision": 3, "caveat": "the packs have changed",
        "was": then, "matches": [then | {"rule": "ask name:new.example"}],
    }
    async with screen(replace(episode(1, "old.example", verdict="ask", rule="xiaomi/1"), revision=1), size=(100, 40)) as s:
        await s.press("enter")
        await s.shows("xiaomi/1  ask name:old.example", "[b]why[/b]", "(the packs have changed)", "allow: allowed now")
        await s.hides("ask name:new.example")
        assert gate.asked[1] == ("explain", {"phone": "phone1", "what": "old.example:443", "proto": "tcp", "revision": 1, "rule": "xiaomi/1"})


async def test_detail_of_an_address_of_ipv6(screen, gate, episode):
    async with screen(episode(1, dst="2001:db8::1", via="none", proto="udp"), size=(100, 40)) as s:
        await s.press("enter")
        await s.shows("the gateway cannot say: there is no policy")
        assert (gate.asked[0][1]["what"], gate.asked[0][1]["proto"]) == ("[2001:db8::1]:443", "udp")


async def test_detail_of_a_question_that_was_refused(screen, gate, episode):
    async with screen(episode(1, "a.example", verdict="block", via="dns", proto="dns", dst="", port=0), size=(100, 40)) as s:
        await s.press("enter")
        await s.shows("the gateway cannot say: there is no policy")
        assert gate.asked[0][1] == {"phone": "phone1", "what": "a.example"}


async def test_the_header_does_not_lie_behind_a_box(screen, gate, episode):
    async with screen(episode(1)) as s:
        await s.press("enter")
        await s.shows("everything known")
        gate.say(state="LOCKED", reason="the owner has closed it")
        await s.shows("LOCKED   the owner has closed it")


async def test_help_is_about_the_screen_it_was_called_from(screen, gate):
    async with screen(size=(100, 40)) as s:
        await s.press("question_mark")
        await s.shows("help: Live", "refused by a rule", "gateway pid 4242", "revision 3", "q leaves, the gate goes on")
        await s.press("question_mark", "4")
        await s.hides("help: Live")
        await s.press("question_mark")
        await s.shows("help: Rules")


async def test_q_does_nothing_while_a_box_is_open(screen):
    async with screen() as s:
        await s.press("question_mark", "q")
        await s.shows("help: Live")


async def test_u_takes_back_also_out_of_a_box(screen, gate, episode):
    gate.past.append(("added block port:22 at 1", []))
    async with screen(episode(1)) as s:
        await s.press("enter", "u")
        await s.shows("took back: added block port:22 at 1; revision 4", "everything known")


async def test_help_tells_how_old_the_databases_are(screen, gate):
    base = {"what": "where an address stands", "file": "x.mmdb (ours)", "built": 1.0, "age_days": 173, "stale": True, "trouble": ""}
    gate.status["places"] = [base, base | {"what": "AS number", "file": "asn\u202e.mmdb", "stale": False, "built": 0.0, "trouble": "[red]cannot be read"}]
    async with screen(size=(100, 60)) as s:
        await s.press("question_mark")
        await s.shows("where an address stands: 173 days old: clouds may have moved  x.mmdb (ours)", "AS number: missing; [red]cannot be read  asn‹U+202E›.mmdb", "consentry about")
