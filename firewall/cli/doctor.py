"""Is this box fit to be the gate, and is the gate real?"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from firewall.cli.common import REFUSED, as_json
from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from firewall.doctor import Finding

SHAPES = {"pass": ("✔", "+", "green"), "warn": ("▲", "!", "yellow"), "fail": ("✖", "x", "red")}
MARGIN = 24  # columns of shape, state and name


@click.command()
@click.option("--run-dir", type=click.Path(path_type=Path), help="Of the gateway to look at.")
@as_json
@click.pass_context
def doctor(ctx: click.Context, *, run_dir: Path | None, as_json: bool) -> None:
    """Look at this box: what would keep the gate from working, and what helps.

    Exit status 1 if anything fails. Reads only; with root it sees more. A gateway need not run.
    """
    from firewall.doctor import examine  # noqa: PLC0415  the backend's libraries are slow to load
    from firewall.doctor.world import World  # noqa: PLC0415

    worst = 0
    for finding in examine(World.found(ctx.obj, run_dir)):
        click.echo(json.dumps(finding._asdict(), ensure_ascii=False) if as_json else shown(finding), color=coloured())
        sys.stdout.flush()
        worst = max(worst, finding.state == "fail")
    ctx.exit(REFUSED if worst else 0)


def coloured() -> bool | None:
    """As click decides (a terminal or not), unless somebody wants none (no-color.org)."""
    return False if os.environ.get("NO_COLOR") else None


def drawn(state: str, shapes: Mapping[str, tuple[str, str, str]]) -> str:
    """A state is a word, a shape and a colour."""
    shape, plain, colour = shapes[state]
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return click.style(f"{shape if utf8 else plain} {state}", fg=colour)


def shown(finding: Finding) -> str:
    width = max(shutil.get_terminal_size((100, 24)).columns, 60) - MARGIN
    says = textwrap.wrap(inert(finding.says), width) or [""]
    remedy = textwrap.wrap(inert(finding.remedy), width - 2) if finding.state != "pass" else []
    lines = [f" {drawn(finding.state, SHAPES)}  {finding.name:<14} {says[0]}"]
    lines += [" " * MARGIN + line for line in says[1:]]
    begin = " " * MARGIN + "> "
    for line in remedy:
        lines.append(begin + click.style(line, bold=True))
        begin = " " * len(begin)
    return "\n".join(lines)


COMMANDS = (doctor,)
