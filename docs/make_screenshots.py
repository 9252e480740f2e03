# ruff: noqa: INP001  a script beside the documents, not a package
"""The pictures of the documents: the real screen, driven by its keys, before a gateway.

    python docs/make_screenshots.py                    a scripted gateway, always the same story
    python docs/make_screenshots.py --socket PATH      a real one, for instance the lab's (consentry lab status --json)

Writes SVG into docs/img; `rsvg-convert` (librsvg2-bin) makes PNG of it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "tui")]

import printed  # noqa: E402
from askkeeper import consent, question  # noqa: E402  found beside the tests
from gatekeeper import Gatekeeper, episode  # noqa: E402
from pastkeeper import phone  # noqa: E402

from rules.observation import NOWHERE, Place  # noqa: E402
from tui.app import Consentry  # noqa: E402
from tui.widgets.table import Table  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from firewall.episode import Episode

FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # fetched from elsewhere; the reader's own monospace font will do
CELL = 12.2  # width of a character in Rich's SVG
TEXT = re.compile(
    r'(?P<head><text class="[^"]*") x="(?P<x>[0-9.]+)"(?P<y> y="[0-9.]+") textLength="(?P<length>[0-9.]+)"'
    r"(?P<tail>[^>]*>)(?P<before>(?:&#160;)*)(?P<text>[^<]*?)(?P<after>(?:&#160;)*)</text>"
)
SMALL, LARGE = (80, 24), (140, 36)
PICTURES: tuple[tuple[tuple[int, int], str, *tuple[str, ...]], ...] = (
    (SMALL, "live"),
    (LARGE, "live"),
    (SMALL, "asks", "2"),
    (SMALL, "question", "2", "enter"),
    (SMALL, "consents", "5"),
    (SMALL, "filter", "slash", *"verdict:refused nam:x"),
    (LARGE, "detail", "enter"),
    (SMALL, "history", "3"),
    (SMALL, "groups", "3", "s"),
    (LARGE, "groups", "3", "s", "s", "s"),
    (SMALL, "notes", "3", "o"),
    (SMALL, "phones", "6"),
    (LARGE, "phones", "6", "down"),
    (LARGE, "rules", "4", "down", "down", "down"),
    (SMALL, "edit", "4", "n", *"block country:CN -service:xiaomi-acc", "tab"),
    (SMALL, "wrong", "4", "e", *" port:99999"),
    (SMALL, "block", "b"),
    (SMALL, "help", "question_mark"),
)
ACCOUNT = {
    "rule": "xiaomi/2", "service": "xiaomi-account",
    "reason": "rule xiaomi/2 (xiaomi 2026-11) asks for service Xiaomi account and messaging: api.account.xiaomi.com",
}
INVENTORY = {
    "rule": "xiaomi/1", "service": "xiaomi-app-inventory",
    "reason": "rule xiaomi/1 (xiaomi 2026-11) asks for service Xiaomi app inventory: policy.app.xiaomi.com",
}
NETWORK = {
    "rule": "cnnic-own/1", "reason": "rule cnnic-own/1 (cnnic-own 2026-11) blocks service CNNIC's own network",
    "service": "cnnic-own",
}
PRIVATE_DNS = {
    "rule": "baseline/1", "service": "", "reason": "rule baseline/1 (baseline 2026-11) blocks proto:tcp port:853",
}
STANDS = {
    "42.62.48.181": Place("CN", "CN", 63_855, "Xiaomi"), "1.2.4.8": Place("CN", "CN", 24_151, "CNNIC"),
    "54.179.140.66": Place("SG", "US", 16_509, "Amazon.com"), "8.8.8.8": Place("US", "US", 15_169, "Google LLC"),
    "142.250.74.78": Place("US", "US", 15_169, "Google LLC"), "142.250.74.86": Place("US", "US", 15_169, "Google LLC"),
    "185.70.42.37": Place("CH", "CH", 62_371, "Proton AG"), "203.0.113.9": Place("DE", "DE", 64_496, "Example"),
    "2001:67c:2564:a119::77": Place("NL", "NL", 1_133, "University of Twente"),
    "2620:0:862:ed1a::1": Place("NL", "US", 14_907, "Wikimedia Foundation"),
}
RUN_BY = {"42.62.48.181": "xiaomi", "1.2.4.8": "cnnic"}
BURST = {0: 1, 6: 1, 7: 2, 20: 1, 31: 3, 40: 4}


def story(now: float) -> list[Episode]:
    """Oldest first: an ordinary morning, and a phone of 2014 among it."""
    rows = [
        episode(1, "connectivitycheck.gstatic.com", phone="phone2", via="http", port=80, up=310, down=204, at=now - 95),
        episode(2, "time.android.com", proto="udp", via="dns", port=123, up=430, down=430, count=9, at=now - 80),
        episode(3, "dns.google", phone="phone2", dst="8.8.8.8", port=853, verdict="block", via="dns", at=now - 71,
                count=3, **PRIVATE_DNS),
        episode(4, "mail.proton.me", phone="phone2", dst="185.70.42.37", up=9800, down=61_000, count=2, at=now - 60),
        episode(5, "www.debian.org", dst="2001:67c:2564:a119::77", phone="phone2", up=2_100, down=48_000, at=now - 44),
        episode(6, "", dst="203.0.113.9", verdict="held", rule="", via="none", at=now - 37,
                reason="it depends on a name that is still to come"),
        episode(7, "", dst="1.2.4.8", via="none", verdict="block", count=2, at=now - 30, first=now - 34, **NETWORK),
        episode(8, "policy.app.xiaomi.com", dst="54.179.140.66", port=443, verdict="ask", count=2, at=now - 26,
                first=now - 29, **INVENTORY),
        episode(9, "i.ytimg.com", phone="phone2", dst="142.250.74.86", up=6_200, down=3_400_000, count=4, at=now - 18),
        episode(10, "en.wikipedia.org", phone="phone2", dst="2620:0:862:ed1a::1", up=1_240, down=88_000, at=now - 11),
        episode(11, "", dst="42.62.48.181", port=5222, via="none", verdict="ask", count=3, at=now - 9, first=now - 33,
                **ACCOUNT | {"reason": ACCOUNT["reason"].removesuffix(": api.account.xiaomi.com")}),
        episode(12, "upload.wikimedia.org", phone="phone2", up=3_300, down=510_000, count=6, at=now - 6),
        episode(13, "api.account.xiaomi.com", dst="42.62.48.181", port=80, via="http", verdict="ask", count=12,
                first=now - 42, at=now - 1, tries=BURST, **ACCOUNT),
    ]
    rows = [*(_earlier(now, hour) for hour in (2, 3, 5, 6, 7, 11, 12, 13, 14, 20, 21)), *rows]
    return [
        replace(row, place=STANDS.get(row.dst, NOWHERE), operator=RUN_BY.get(row.dst, ""), group="family")
        for row in rows
    ]


def _earlier(now: float, hour: int) -> Episode:
    facts: dict[str, Any] = INVENTORY if hour % 3 else ACCOUNT
    name = "policy.app.xiaomi.com" if hour % 3 else "api.account.xiaomi.com"
    at = now - hour * 3_600
    tries = 3 + hour * 7 % 17
    return episode(100 + hour, name, verdict="ask", count=tries, first=at - 40, at=at, dst="42.62.48.181", **facts)


def rule(position: int, id_: str, action: str, match: str, source: str, hits: int, note: str = "") -> dict[str, Any]:
    last = time.time() - 60 * position if hits else None
    return {"position": position, "id": id_, "action": action, "match": match, "note": note, "source": source,
            "enabled": True, "hits": hits, "last": last, "mine": source == "mine", "hidden_by": ""}


RULES = [
    rule(1, "k3f7", "allow", "phone:phone2 service:xiaomi-cloud", "mine", 4, "agreed in May"),
    rule(2, "m2p9", "block", "name:ads.example.com", "mine", 91),
    rule(3, "baseline/1", "block", "proto:tcp port:853", "baseline 2026-11", 3, "DNS that we cannot see (DoT)"),
    rule(4, "xiaomi/2", "ask", "service:xiaomi-account", "xiaomi 2026-11", 208,
         "look-ups send the IMEI and contacts' numbers (F-Secure, 2014-08-07)"),
    rule(5, "xiaomi/1", "ask", "service:xiaomi-app-inventory", "xiaomi 2026-11", 14, "the list of installed apps"),
    rule(6, "cnnic-own/1", "block", "service:cnnic-own", "cnnic-own 2026-11", 2, "CNNIC's own servers"),
]
EXPLAINED = {
    "verdict": "ask", "rule": "xiaomi/2", "reason": ACCOUNT["reason"], "source": "xiaomi 2026-11", "revision": 3,
    "service": "xiaomi-account", "service_title": "Xiaomi account and messaging", "names": [],
    "matches": [
        {"id": "xiaomi/2", "rule": "ask service:xiaomi-account", "answer": "matches", "source": "xiaomi 2026-11",
         "note": "look-ups send the IMEI and contacts' numbers (F-Secure, 2014-08-07)"},
        {"id": "m9x2", "rule": "block addr:42.62.48.0/24", "answer": "matches", "source": "mine", "note": ""},
    ],
}


VOCABULARY = {
    "services": [{"id": "xiaomi-account", "title": "Xiaomi account and messaging"},
                 {"id": "xiaomi-cloud", "title": "Xiaomi cloud"},
                 {"id": "xiaomi-app-inventory", "title": "Xiaomi app inventory"},
                 {"id": "cnnic-own", "title": "CNNIC's own network"}],
    "operators": [], "phones": ["phone1", "phone2"], "groups": ["home", "strict"],
}
DRY_RUN = {
    "changed": 14, "of": 2_210, "cut": 2, "live": 31, "seconds": 0.2, "warnings": [],
    "examples": [{"phone": "phone2", "what": "i.ytimg.com", "before": "allow", "after": "block", "last": 0.0}],
}

PHONES = [
    phone(10, "phone1", group="family", vendor="Xiaomi Communications", allow=41, ask=208, block=2),
    phone(11, "phone2", group="family", vendor="Google", allow=1_204, block=3),
    phone(12, "phone-4f", group="strict", named=False, random=True, vendor="", ask=6),
]


def notes(now: float) -> list[dict[str, Any]]:
    """Newest first."""
    told = (
        (40, "edit", "added block name:ads.example.com at 2; revision 3", "anna", 1000),
        (900, "phones", "phone-4e was called phone2", "anna", 1000),
        (5_000, "mode", "enforce", "root", 0),
        (5_100, "state", "ENFORCING", "", None),
    )
    return [{"at": now - back, **dict(zip(("kind", "text", "who", "uid"), rest, strict=True))} for back, *rest in told]


@asynccontextmanager
async def gateway(socket: Path | None) -> AsyncIterator[Path]:
    """The one at `socket`, or a scripted one."""
    if socket is not None:
        yield socket
        return
    with tempfile.TemporaryDirectory() as directory:
        scripted = Gatekeeper(Path(directory, "gateway.sock"))
        scripted.rows, scripted.rules, scripted.explained = story(time.time()), RULES, EXPLAINED
        scripted.vocabulary, scripted.dry_run = VOCABULARY, DRY_RUN
        scripted.phones, scripted.notes = PHONES, notes(time.time())
        scripted.questions = [
            question(1, "phone1", at=time.time() - 1),
            question(2, "phone1", "xiaomi-app-inventory", names={"policy.app.xiaomi.com": 2}, addr="54.179.140.66",
                     country="SG", at=time.time() - 26),
        ]
        scripted.consents = [
            consent(7, "phone1", "xiaomi-cloud", who="anna"),
            consent(6, "phone2", "time.example", kind="name", life="12h", left=30_000.0, who="anna", flows=1, up=96),
            consent(5, "phone1", life="15m", left=None, state="ended", why="its time is up", who="anna"),
        ]
        scripted.status |= {"phones": len(PHONES), "asks": 2, "consents": 2, "clock": True}
        await scripted.open()
        speaking = asyncio.ensure_future(_speak(scripted))
        try:
            yield scripted.path
        finally:
            speaking.cancel()
            await scripted.close()


async def _speak(scripted: Gatekeeper) -> None:
    while True:
        scripted.say()
        await asyncio.sleep(1)


async def take(socket: Path, size: tuple[int, int], name: str, out: Path, *keys: str) -> None:
    """Press the keys, wait until the screen is calm, and keep it."""
    app = Consentry(socket, lab=True)
    async with app.run_test(size=size) as pilot:
        for _ in range(100):
            await pilot.pause(0.1)
            if app.screen.query_one(Table).rows and app.pulse.status(time.monotonic()):
                break
        rows = app.screen.query_one(Table).rows
        refused = (at for at, row in enumerate(rows) if getattr(row, "verdict", "") in {"ask", "block"})
        await pilot.press(*["down"] * next(refused, 0), *keys)  # the row that people came to see
        await pilot.pause(1.5)  # the dry run waits for a pause of the keys
        keep(out / f"{name}-{size[0]}x{size[1]}.svg", app.export_screenshot(title="consentry"))


async def take_others(out: Path) -> None:
    """What is no screen of a gateway: the wizard, and what two commands print."""
    wizard = printed.wizard()
    async with wizard.run_test(size=SMALL) as pilot:
        await pilot.pause(0.5)
        keep(out / "setup-80x24.svg", wizard.export_screenshot(title="consentry setup"))
    keep(out / "doctor.svg", printed.drawn("doctor", printed.doctor()))
    keep(out / "selftest.svg", printed.drawn("selftest --disrupt", printed.selftest()))


def keep(file: Path, svg: str) -> None:
    file.write_text(TEXT.sub(_trim, FONT.sub("", svg)), "utf-8")


def _trim(text: re.Match[str]) -> str:
    """Spaces at the ends as a place and a length: some renderers leave them out and stretch what remains."""
    before, after = (text[end].count("&#160;") for end in ("before", "after"))
    x, length = float(text["x"]) + before * CELL, float(text["length"]) - (before + after) * CELL
    return f'{text["head"]} x="{x:g}"{text["y"]} textLength="{length:g}"{text["tail"]}{text["text"]}</text>'


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=Path, help="control socket of a gateway that runs")
    parser.add_argument("--out", type=Path, default=HERE / "img")
    arguments = parser.parse_args()
    arguments.out.mkdir(exist_ok=True)
    await take_others(arguments.out)
    async with gateway(arguments.socket) as socket:
        for size, name, *keys in PICTURES:
            await take(socket, size, name, arguments.out, *keys)


if __name__ == "__main__":
    asyncio.run(main())
