"""What happened, and why."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from firewall.cli.common import as_json, connect, show
from firewall.text import inert


@click.command()
@click.argument("filter_text", metavar="[FILTER]", default="")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@as_json
@click.pass_context
def history(ctx: click.Context, filter_text: str, limit: int, *, as_json: bool) -> None:
    """What was allowed and refused, newest first.

    FILTER is in the rule language: consentry history 'phone:phone1 verdict:refused last:1h'
    """
    with connect(ctx) as client:
        reply = client.ask("history", filter=filter_text, limit=limit)
        show(reply.items, history_line, as_json=as_json)


def history_line(row: dict[str, Any]) -> str:
    at = time.strftime("%d %b %H:%M:%S", time.localtime(row["last"]))
    where = row["name"] or f"{row['dst']}:{row['dport']}"
    times = f"{row['count']}x" if row["count"] > 1 else ""
    return inert(f"{at}  {row['phone']:<12} {row['verdict']:<6}{times:>6}  {where:<40} {row['rule']}")


@click.command()
@click.argument("phone")
@click.argument("what", metavar="NAME|ADDR[:PORT]")
@as_json
@click.pass_context
def explain(ctx: click.Context, phone: str, what: str, *, as_json: bool) -> None:
    """What would happen if PHONE went there now, by which rule, and what else would match."""
    with connect(ctx) as client:
        told = client.ask("explain", phone=phone, what=what).done
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(inert(f"{phone} -> {what}: {told['verdict']}"))
    click.echo(inert(f"  {told['reason']}"))
    for rule in told["matches"]:
        click.echo(inert(f"  {rule['answer']:<8} {rule['id']:<14} {rule['rule']}   ({rule['source']})"))


COMMANDS = (history, explain)
