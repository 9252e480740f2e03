from __future__ import annotations

import pytest


@pytest.fixture
def phones(gate, phone):
    gate.phones = [
        phone(10, "anna-pixel", allow=1200, ask=3, block=40), phone(11, "phone-0b", group="strict", named=False, random=True, vendor="", ask=6),
    ]
    return gate.phones


async def test_who_they_are_and_what_they_did_today(screen, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("anna-pixel", "2 phones, 1 unknown: n names", "1.2k", "today: 1,200 allowed, 3 asked, 40 blocked")
        assert "Xiaomi" in s.row(" home    enforce")
        assert "random" in s.row("phone-0b")
        assert all(len(line) == 80 for line in s.lines)
        await s.press("down")
        await s.shows("unknown: nobody has named it", "invents its address")


async def test_no_phone_teaches(screen):
    async with screen() as s:
        await s.press("6")
        await s.shows("No phone has joined yet. Connect one to the network behind lan0")


async def test_n_names_an_unknown_phone(screen, gate, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("phone-0b")
        await s.press("down", "n")
        await s.shows("Call phone-0b")
        await s.press("ctrl+u", *"kid6w", "enter")
        await s.shows("phone-0b is called kid6w now, of group home", "2 phones")
        assert gate.asked == [("phones.set", {"phone": "phone-0b", "name": "kid6w"})]
        await s.hides("unknown")


async def test_a_name_that_cannot_be_is_refused_in_words(screen, gate, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("anna-pixel")
        await s.press("n", "ctrl+u", "enter")
        await s.shows("'' cannot be a name")


async def test_p_puts_into_a_group_and_completes_what_is_begun(screen, gate, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("anna-pixel")
        await s.press("p")
        await s.shows("Known: home, strict; another word makes one")
        await s.press("s", "t")
        await s.until(lambda: s.app.screen.prompt.box._suggestion == "strict")
        await s.press("right", "enter")
        await s.shows("anna-pixel is of group strict now")


async def test_w_watches_a_phone_and_enforces_again(screen, gate, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("anna-pixel")
        await s.press("w")
        await s.shows("anna-pixel is watched: nothing of it is blocked", "◐ watch")
        await s.press("w")
        await s.shows("enforcing on anna-pixel")
        assert [args["mode"] for _, args in gate.asked] == ["watch", ""]


async def test_the_whole_gate_watches_only_after_it_was_said_what_that_does(screen, gate, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("anna-pixel")
        await s.press("W")
        await s.shows("from then on nothing is blocked", "enter does it, esc leaves")
        await s.press("escape")
        await s.hides("enter does it")
        assert gate.asked == []
        await s.press("W", "enter")
        await s.shows("WATCHING   nothing is blocked", "watching: nothing is blocked but phone to phone")
        await s.press("W")
        await s.shows("Enforce on the whole gate")
        await s.press("enter")
        await s.shows("● ENFORCING", "the rules block again")


async def test_j_joins_and_x_forgets(screen, gate, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("anna-pixel")
        await s.press("down", "j", *"anna-pixel", "enter")
        await s.shows("phone-0b is anna-pixel now", "1 phone")
        await s.press("x")
        await s.shows("Forget anna-pixel")
        assert len(gate.phones) == 1
        await s.press("enter")
        await s.shows("anna-pixel is forgotten", "No phone has joined yet")


async def test_enter_shows_what_it_did(screen, gate, phones, episode):
    async with screen(episode(1, "a.example.com", phone="anna-pixel", service="x"), episode(2, "b.example.com", phone="phone-0b", service="y")) as s:
        await s.press("6")
        await s.shows("today: 1,200 allowed")
        await s.press("enter")
        await s.shows("phone:anna-pixel last:24h", "title of x")
        assert "title of y" not in s.text
        await s.press("enter")
        await s.shows("phone:anna-pixel last:24h service:x", "a.example.com")


async def test_what_a_phone_calls_itself_is_inert(screen, gate, phone):
    gate.phones = [phone(10, "[red]\u202ex", vendor="[bold]v")]
    async with screen(size=(120, 30)) as s:
        await s.press("6")
        await s.shows("[red]‹U+202E›x", "[bold]v")


async def test_rows_never_contradict_the_header_and_the_keys_fit(screen, gate, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("enter today  n name", "? help  q quit")
        assert "enforce" in s.row("anna-pixel   home")
        asked = len(gate.asked)
        gate.say(mode="watch", watching=["anna-pixel", "phone-0b"])  # somebody else did it
        await s.shows("WATCHING   nothing is blocked")
        await s.until(lambda: "◐ watch" in s.row("anna-pixel   home"))
        assert len(gate.asked) == asked


async def test_what_a_phone_calls_itself_and_how_well_it_is_heard(screen, gate, phone):
    gate.phones = [phone(10, "anna-pixel") | {"host": "Pixel[b]\u202e", "joined": True, "signal": -52}]
    async with screen(size=(140, 30)) as s:
        await s.press("6")
        await s.shows("calls itself Pixel[b]‹U+202E›", "joined, -52 dBm")


async def test_a_filter_leaves_the_bars_and_what_can_be_completed(screen, gate, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("anna-pixel   home", "▄   3")  # against the phone with most of it
        await s.press("slash", *"addr:10.77.0.10 xiaomi", "enter")
        await s.shows("filtered, 1 of 2: / addr:10.77.0.10 xiaomi")
        await s.hides("phone-0b")
        phones[0]["group"] = "kids"
        await s.shows("anna-pixel   kids", "▄   3")
        await s.press("p")
        await s.shows("Known: home, kids, strict")


async def test_what_is_done_with_one_phone_is_done_with_all_that_are_marked(screen, gate, phones, phone):
    gate.phones.append(phone(12, "[b]tv", mode="watch"))
    async with screen() as s:
        await s.press("6")
        await s.shows("3 phones")
        await s.press("space", "space", "w")
        await s.shows("anna-pixel, phone-0b are watched: nothing of them is blocked")
        assert gate.asked == [("phones.set", {"phone": name, "mode": "watch"}) for name in ("anna-pixel", "phone-0b")]
        await s.press("g", "space", "space", "space")
        await s.shows("3 marked", "anna-pixel, phone-0b, [b]tv", "w enforces on them")
        assert "n name" not in s.lines[-1]  # a name is for one
        await s.press("p")
        await s.shows("Put anna-pixel, phone-0b, [b]tv into a group")
        await s.press(*"kids", "enter")
        await s.shows("anna-pixel, phone-0b, [b]tv are of group kids now")
        assert [one["group"] for one in gate.phones] == ["kids"] * 3
        await s.press("g", "space", "space", "x")
        await s.shows("Forget anna-pixel, phone-0b: their names")
        await s.press("enter")
        await s.shows("anna-pixel, phone-0b are forgotten", "1 phone")


async def test_enter_shows_what_all_that_are_marked_did(screen, phones):
    async with screen() as s:
        await s.press("6")
        await s.shows("2 phones")
        await s.press("space", "space", "enter")
        await s.shows("phone:anna-pixel,phone-0b last:24h")
