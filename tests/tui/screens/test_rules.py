from __future__ import annotations

import time


def rule(position, name, action="ask", match="service:x", source="xiaomi 2026-11-21", *, hits=0, note="", enabled=True):
    return {"position": position, "id": name, "action": action, "match": match, "note": note, "source": source, "enabled": enabled, "hits": hits, "last": time.time() if hits else None}


async def test_rules_in_their_order_with_hits_and_source(screen, gate):
    gate.rules = [rule(1, "k3f7", "allow", "", "mine", note="as agreed"), rule(2, "xiaomi/1", hits=1204), rule(3, "off/1", "block", "port:853", enabled=False)]
    async with screen() as s:
        await s.press("4")
        await s.shows("3 rules, revision 3")
        assert s.row("1 ✔ allow").split()[3:] == ["everything", "0", "mine"]
        assert s.row("2 ? ask").split()[3:5] == ["service:x", "1.2k"]
        await s.shows("as agreed", "source mine")
        await s.press("down", "down")
        await s.shows("off/1  block port:853  (off)")


async def test_notes_are_shown_where_there_is_room(screen, gate):
    gate.rules = [rule(1, "k3f7", note="a note of some length")]
    async with screen(size=(160, 30)) as s:
        await s.press("4")
        await s.shows("1 rule, revision 3")
        assert "a note of some length" in s.row("1 ? ask")


async def test_no_rules_and_no_gateway(screen, gate):
    async with screen() as s:
        await s.press("4")
        await s.shows("There are no rules: everything is allowed.")
        await s.press("escape")
        await gate.close()
        await s.shows("NO GATE")
        await s.press("4")
        await s.shows("no gateway answers: No such file or directory")
