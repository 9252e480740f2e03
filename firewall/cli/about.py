"""What this is, whose data it uses, and how old that is."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from firewall import control
from firewall.cli.common import as_json, connect
from firewall.geo import ATTRIBUTIONS, STALE_DAYS, Places
from firewall.settings import STATE
from firewall.text import inert

LICENCE = "Apache-2.0"


@click.command()
@as_json
@click.pass_context
def about(ctx: click.Context, *, as_json: bool) -> None:
    """Version, licences, whose data it uses, and how old the databases are."""
    told: dict[str, Any] = {
        "version": version("consentry"), "licence": LICENCE, "attributions": list(ATTRIBUTIONS), "places": _places(ctx)
    }
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(f"Consentry {told['version']}, {LICENCE}")
    click.echo("\nDatabases of places")
    for row in told["places"]:
        click.echo(inert(f"  {row['file']}: {row['what']}, {age(row)}"))
        if row["trouble"]:
            click.echo(inert(f"    {row['trouble']}"))
    click.echo("\nData of others")
    for line in ATTRIBUTIONS:
        click.echo(f"  {line}")


def age(row: dict[str, Any]) -> str:
    """How old one of the databases is."""
    if not row["built"]:
        return "missing"
    day = time.strftime("%d %b %Y", time.gmtime(row["built"]))
    warning = f", older than {STALE_DAYS} days: answers about clouds may be wrong" if row["stale"] else ""
    return f"data of {day} ({row['age_days']} days old{warning})"


def _places(ctx: click.Context) -> list[dict[str, Any]]:
    """Those of the gateway; without one, those that it would use."""
    try:
        with connect(ctx) as client:
            rows = client.ask("status").done.get("places")
    except control.NoGateway:
        rows = None
    return rows if rows is not None else Places(Path(STATE, "places")).status()


COMMANDS = (about,)
