"""Recordings played through the gate: what it would have said of every flow, without a phone and without a network."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firewall.cli.common import REFUSED, as_json
from firewall.text import inert

if TYPE_CHECKING:
    from firewall.backends.replay import Replay
    from firewall.capture import Capture

LONG_SECONDS = 2.0  # without a word; then progress is told


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--rules", type=click.Path(path_type=Path), help="Judge by this rules file and the packs, as the gate.")
@click.option("--group", default="home", help="The group that the phones in the recording are in.")
@click.option("--phone", "phones", multiple=True, metavar="MAC=NAME", help="The name of a phone in the recording.")
@as_json
def replay(files: tuple[Path, ...], *, rules: Path | None, group: str, phones: tuple[str, ...], as_json: bool) -> None:
    """Play captures (pcap, pcapng, also .gz) through the gate: one row for each flow.

    Without --rules the packs judge, and every name that is in the file is told, also what a refused flow would have
    said next. With --rules FILE a refused flow says nothing more, as it would be live.
    """
    from firewall.backends.model import Everybody  # noqa: PLC0415  no other command needs all of this
    from firewall.backends.replay import Replay  # noqa: PLC0415
    from firewall.capture import Capture, CaptureError  # noqa: PLC0415
    from firewall.dissect import link  # noqa: PLC0415
    from firewall.gateway import Gateway  # noqa: PLC0415
    from firewall.geo import Places  # noqa: PLC0415
    from rules import store  # noqa: PLC0415
    from rules.problem import RuleError  # noqa: PLC0415

    encode = json.JSONEncoder().encode  # in ASCII: a file's name may be in no encoding
    given = dict(map(_phone, phones))
    if rules is not None and not rules.exists():
        raise click.UsageError(f"{rules}: no such file")
    try:
        policy = store.load(rules, revision=1)
    except RuleError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(REFUSED)
    place = Places(None).look_up
    gc.freeze()  # what was loaded stays; rows make no cycles, and looking for some costs a sixth of the time
    gc.set_threshold(1_000_000, 50, 100)
    broken = False
    began, packets, size = time.monotonic(), 0, 0
    for path in files:
        capture = Capture(path)
        one = Replay(Gateway(Everybody(group, given), place), policy, all_names=rules is None)
        found = False
        try:
            for flow in one.play(capture.windows(), _Progress(capture, one)):
                found, row = True, flow.to_json(str(path))
                print(encode(row) if as_json else line(row))  # noqa: T201  thousands of rows: click.echo flushes each
        except CaptureError as error:
            broken = True
            click.echo(inert(str(error)), err=True)
        for kind in sorted(one.unknown_links):
            broken = True
            click.echo(inert(f"{path}: frames of link type {link.name(kind)} are not read"), err=True)
        if one.packets and not found and not one.unknown_links:
            click.echo(inert(f"{path}: {one.packets:,} frames, and no flow of IP in them"), err=True)
        if one.cut:
            click.echo(inert(f"{path}: its packets are cut off, names may be missing (tcpdump: -s 0)"), err=True)
        if torn := one.fragments.torn:
            click.echo(inert(f"{path}: of {torn:,} datagrams in fragments not all of them are there"), err=True)
        packets += one.packets
        size += capture.unpacked
    seconds = max(time.monotonic() - began, 1e-9)
    told = f"{packets:,} packets, {size / 1e6:,.1f} MB in {seconds:.2f} s"
    click.echo(f"{told}: {packets / seconds:,.0f} packets/s, {size / 1e6 / seconds:,.1f} MB/s", err=True)
    if broken:
        sys.exit(REFUSED)


class _Progress:
    """On stderr, now and then, if it takes longer than a breath."""

    def __init__(self, capture: Capture, replay: Replay) -> None:
        self._capture = capture
        self._replay = replay
        self._next = time.monotonic() + LONG_SECONDS

    def __call__(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LONG_SECONDS
        share = self._capture.position / max(self._capture.size, 1)
        click.echo(inert(f"{self._capture.path}: {share:.0%}, {self._replay.packets:,} packets"), err=True)


def _phone(text: str) -> tuple[bytes, str]:
    mac, _, name = text.partition("=")
    try:
        packed = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        packed = b""
    if len(packed) != 6 or not name:
        raise click.UsageError(f"{text!r} is no phone: 02:00:00:00:01:01=anna")
    return packed, name


def line(row: dict[str, Any]) -> str:
    """One row for people."""
    at = time.strftime("%H:%M:%S", time.localtime(row["first"]))
    to = f"[{row['dst']}]" if ":" in row["dst"] else row["dst"]
    to += f":{row['dport']}" if row["dport"] else ""
    name = row["name"] or ("several names" if row["via"] == "ambiguous" else "")
    hidden = " (the true name may be hidden)" if row["hidden"] else ""
    what = f"{name} via {row['via']}{hidden}" if name else f"via {row['via']}{hidden}"
    told = f"{at}  {row['verdict']:<7} {row['src']:<15} {row['proto']:<4} {to:<22} {what}"
    return inert(f"{told}  {row['bytes_up']:,} up, {row['bytes_down']:,} down  {row['rule']}").rstrip()


COMMANDS = (replay,)
