"""From the row of a flow to the consent that let it through, and back to closed."""

from __future__ import annotations

import pytest

from tui.glyphs import ASCII


@pytest.fixture
def row(episode):
    return episode(
        1, "api.account.xiaomi.com", phone="redmi-1s", service="xiaomi-account", verdict="consent", consent=7, up=1_200, down=900,
        reason="consent 7 for service Xiaomi account and messaging answers rule xiaomi/1",
    )


async def test_a_consented_row_has_a_word_a_shape_and_a_colour(screen, another, row):
    async with screen(row) as s:
        assert s.lines[3].split()[1:] == ["redmi-1s", "◆", "consent", "api.account.xiaomi.com", "1.2k"]
        await s.shows("consent 7 for service Xiaomi account and messaging answers rule xiaomi/1", "1.2k up, 900 down")
        colour = s.app.screen.table.get_component_rich_style("table--consent").color
        assert colour not in {s.app.screen.table.get_component_rich_style(f"table--{word}").color for word in ("allow", "ask", "block", "watch", "held")}
        async with another(size=(140, 36)) as wide:
            await wide.shows("◆ consent 7  c shows it")


async def test_without_unicode_it_has_a_shape_too(screen, row):
    async with screen(row, look=ASCII) as s:
        assert "= consent" in s.lines[3]


async def test_c_tells_the_consent_and_x_takes_it_back(screen, gate, row, consent):
    gate.consents = [consent(7), consent(8, "tv")]
    async with screen(row) as s:
        await s.press("c")
        await s.shows("consent 7", "redmi-1s may reach Xiaomi account and messaging", "given by anna on tui: asks", "33 min left", "x revokes it now", "ENFORCING")
        await s.press("x")
        await s.shows("revoked: 2 running flows were reset")
        assert [args for verb, args in gate.asked if verb == "consents.revoke"] == [{"id": 7}]
        await s.press("c")
        await s.shows("ended ", "revoked by root")
        assert "x revoke" not in s.text


async def test_from_the_detail(screen, gate, row, consent):
    gate.consents = [consent(7)]
    async with screen(row) as s:
        await s.press("enter")
        await s.shows("everything known", "◆ consent 7  c shows it, and takes it back")
        await s.press("c")
        await s.shows("redmi-1s may reach")
        await s.press("x")
        await s.shows("revoked: 2 running flows were reset", "everything known")


async def test_a_consent_that_is_not_remembered(screen, row):
    async with screen(row) as s:
        await s.press("c")
        await s.shows("the gateway does not remember this consent any more")
        await s.press("x", "escape")
        await s.hides("does not remember")


async def test_without_a_gateway(screen, gate, row, consent):
    gate.consents = [consent(7)]
    async with screen(row) as s:
        await s.press("c")
        await s.shows("redmi-1s may reach")
        await gate.close()
        await s.press("x")
        await s.shows("no gateway answers", "redmi-1s may reach")
