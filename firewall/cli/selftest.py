"""Is the gate real?"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click

from firewall import control, spaces
from firewall.cli.common import REFUSED, as_json, need_root
from firewall.cli.doctor import coloured, drawn
from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from firewall.selftest.verdict import Row

SHAPES = {
    "held": ("✔", "+", "green"), "seen": ("✔", "+", "green"), "open": ("◐", "~", "yellow"), "void": ("◌", ".", "white"),
    "through": ("✖", "x", "red"), "blind": ("✖", "x", "red"),
}


@click.command()
@click.option("--disrupt/--no-disrupt", default=None,
              help="Also kill the gateway, take its queue and flush its rules meanwhile. Default: in the lab only.")
@as_json
@click.pass_context
def selftest(ctx: click.Context, *, disrupt: bool | None, as_json: bool) -> None:
    """Try to get out past the gate, as a phone that nobody has named, and tell what got through.

    Exit status 0 only if nothing left that the rules refuse. It takes about ten seconds and leaves nothing but its rows
    in the history (phone:selftest). Addresses that are nobody's are tried, example.com and a public resolver.
    """
    need_root("selftest")
    from firewall.selftest.session import Gate, Session  # noqa: PLC0415  the backend's libraries are slow to load
    from firewall.selftest.side import SelfTestError  # noqa: PLC0415
    from firewall.selftest.verdict import passed  # noqa: PLC0415

    gate = Gate(ctx.obj or control.default_socket())
    status = gate.status()
    try:
        spaces.join(status["pid"])
        disrupt = bool(status["lab"]) if disrupt is None else disrupt
        session = Session(gate, disrupt=disrupt, say=lambda text: click.echo(text, err=True))
        rows = asyncio.run(session.run())
    except (SelfTestError, OSError) as error:
        click.echo(f"it cannot be told whether the gate is real: {inert(str(error))}", err=True)
        ctx.exit(REFUSED)
    for line in (json.dumps(row._asdict(), ensure_ascii=False) for row in rows) if as_json else table(rows):
        click.echo(line, color=coloured())
    sys.stdout.flush()
    if passed(rows):
        click.echo("nothing got through that the rules refuse", err=True)
        ctx.exit(0)
    through = sum(row.state == "through" for row in rows)
    click.echo(f"{through} got through" if through else "it cannot be judged: see the rows marked blind", err=True)
    ctx.exit(REFUSED)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """One line for each try, both families beside each other; what they say where they agree, and why where not."""
    yield f" {'what a phone tried':<32} {'IPv4':<10} {'IPv6':<10}".rstrip()
    for name in dict.fromkeys(row.name for row in rows):
        of_it = [row for row in rows if row.name == name]
        cells = {row.family: drawn(row.state, SHAPES) + " " * max(8 - len(row.state), 0) for row in of_it}
        both = " ".join(cells.get(family, " " * 10) for family in (4, 6))
        shown = cells[0] + " " * 11 if 0 in cells else both
        says = list(dict.fromkeys(row.says for row in of_it))
        words = says[0] if len(says) == 1 else "; ".join(f"IPv{row.family}: {row.says}" for row in of_it)
        yield f" {of_it[0].title:<32} {shown} {inert(words)}"


COMMANDS = (selftest,)
