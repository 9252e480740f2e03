"""What happened, and why."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from firewall import export
from firewall.cli.common import REFUSED, as_json, connect
from firewall.cli.common import show as shown
from firewall.text import inert
from rules.observation import Sign

NEGATION = re.compile("-[^-h]|-h.")  # this part of the command line has no short options but -h
BY = ("phone", "service", "name", "operator", "country", "rule")

class Past(click.Group):
    """`history FILTER` is `history show FILTER`, unless it begins with one of the commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["show", *args]
        # a filter that begins with the - of a negation is no option; a space in front means nothing to a filter
        return super().parse_args(ctx, [f" {arg}" if NEGATION.match(arg) else arg for arg in args])


@click.group(cls=Past)
def history() -> None:
    """What was allowed and refused: `history 'phone:phone1 verdict:refused last:1h'`, newest first.

    The filter is in the rule language (docs/rules.md); a word finds the rows that have it: `history xiaomi last:1h`.
    Without a command it is shown: see `history show --help`.
    """


def complete_filter(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """With the words that the gateway knows, if one answers."""
    from rules.completion import Vocabulary, completions  # noqa: PLC0415  only a shell that completes needs it

    known = Vocabulary()
    with suppress(Exception), connect(ctx.find_root()) as client:  # who waits for TAB wants no complaints
        known = Vocabulary.from_json(client.ask("vocabulary").done)
    found = completions(incomplete, len(incomplete), known, rule=False)
    return [CompletionItem(incomplete[: one.start] + one.text, help=one.hint) for one in found]


def in_one(_ctx: click.Context, _param: click.Parameter, terms: tuple[str, ...]) -> str:
    """Terms that the shell has parted."""
    return " ".join(terms)


wanted = click.argument(
    "filter_text", metavar="[FILTER]", nargs=-1, callback=in_one, shell_complete=complete_filter
)


@history.command()
@wanted
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True)
@click.option("--before", metavar="MORE", help="Go on where an earlier page ended: what it said last.")
@click.option("--all", "everything", is_flag=True, help="All that match, however many.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@as_json
@click.pass_context
def show(
    ctx: click.Context, filter_text: str, limit: int, before: str | None, *, everything: bool, as_csv: bool,
    as_json: bool,
) -> None:
    """What was allowed and refused, newest first."""
    with connect(ctx) as client:
        pages = export.Pages(client, filter_text, None if everything else limit, before)
        if as_csv:
            export.write(pages, "csv", sys.stdout)
        else:
            for row in pages:
                click.echo(json.dumps(row, ensure_ascii=False) if as_json else history_line(row))
        if pages.more:
            click.echo(f"there are more: --before {pages.more}", err=True)


@history.command("export")
@click.argument("file", type=click.Path(allow_dash=True, dir_okay=False))
@wanted
@click.option("--format", "form", type=click.Choice(export.FORMS), help="Default: what FILE ends in; jsonl for -.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.pass_context
def export_rows(ctx: click.Context, file: str, filter_text: str, form: str | None, *, force: bool) -> None:
    """Write all rows that match to FILE.csv, FILE.json or FILE.jsonl; - is the standard output."""
    chosen = export.form_of(file, form)
    if chosen is None:
        raise click.UsageError(f"{file} ends in none of .csv .json .jsonl: choose with --format")
    with connect(ctx) as client:
        rows = export.counted(export.Pages(client, filter_text, None))
        if file == "-":
            export.write(rows, chosen, sys.stdout)
            return
        with export.begun(Path(file), force=force, remedy="--force replaces it") as out:
            export.write(rows, chosen, out)
    click.echo(f"written: {file}", err=True)


@history.command("groups")
@wanted
@click.option("--by", type=click.Choice(BY), default="service", show_default=True)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@as_json
@click.pass_context
def groups(ctx: click.Context, filter_text: str, by: str, limit: int, *, as_json: bool) -> None:
    """How often, grouped: the most frequent first."""
    with connect(ctx) as client:
        reply = client.ask("history.groups", filter=filter_text, by=by, limit=limit)
    shown(reply.items, group_line, as_json=as_json)
    incomplete(reply.done)


@history.command("hours")
@wanted
@click.option("--hours", type=click.IntRange(1, 24 * 366), default=24, show_default=True)
@as_json
@click.pass_context
def hours(ctx: click.Context, filter_text: str, hours: int, *, as_json: bool) -> None:
    """Tries in each hour by verdict, oldest first."""
    with connect(ctx) as client:
        reply = client.ask("history.hours", filter=filter_text, hours=hours)
    shown(reply.items, hour_line, as_json=as_json)
    incomplete(reply.done)


@history.command("notes")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@as_json
@click.pass_context
def notes(ctx: click.Context, limit: int, *, as_json: bool) -> None:
    """Edits, changes of mode and state, troubles, and who did it; newest first."""
    with connect(ctx) as client:
        shown(client.ask("history.notes", limit=limit).items, note_line, as_json=as_json)


@history.command("verify")
@click.option("--expect", metavar="SEAL", default="", help="A seal that you kept elsewhere: the chain must hold it.")
@as_json
@click.pass_context
def verify(ctx: click.Context, expect: str, *, as_json: bool) -> None:
    """Look whether anything was changed since it was sealed. Exit status 1 if so.

    A file that was emptied or replaced lacks seals, also if no gate ran then. Whoever may write all files of the gate
    can make chain and memory anew: that is found only by a seal that you kept on another machine (--expect).
    """
    with connect(ctx) as client:
        told = client.ask("history.verify", expect=expect).done
    if as_json:
        click.echo(json.dumps(told))
    else:
        for link in told["broken"]:
            click.echo(inert(f"BROKEN: seal {link['seal']}, {moment(link['minute'])}: {link['what']}"))
        sound = "broken" if told["broken"] else "whole"
        click.echo(f"{told['minutes']} seals, the chain is {sound}; the rows of {told['forgotten']} are forgotten, "
                   f"{told['unsealed']} rows are too new to be sealed")
        if not told["complete"]:
            click.echo("rows of an older version are still being moved; they are sealed afterwards")
        if told["seal"]:
            click.echo(f"newest seal: {told['seal']}")
        click.echo(told["says"])
    if told["broken"]:
        ctx.exit(REFUSED)


def incomplete(done: dict[str, Any]) -> None:
    if done["since"] is not None:
        click.echo(f"that took long: only what is newer than {moment(done['since'])} is in it", err=True)


def moment(at: float) -> str:
    return time.strftime("%d %b %H:%M:%S", time.localtime(at))


def group_line(group: dict[str, Any]) -> str:
    what = group["title"] or "(none)"
    return inert(
        f"{group['count']:>8}x  {group['refused']:>7} refused  {group['allowed']:>7} allowed  "
        f"{group['phones']:>3} phones  {moment(group['last'])}  {what}"
    )


def hour_line(hour: dict[str, Any]) -> str:
    at = time.strftime("%d %b %H:00", time.localtime(hour["hour"]))
    return "  ".join((at, *(f"{word} {hour[word]:>6}" for word in ("allow", "ask", "block", "consent", "watch"))))


def note_line(note: dict[str, Any]) -> str:
    who = f"  ({note['who']})" if note["who"] else ""
    return inert(f"{moment(note['at'])}  {note['kind']:<8} {note['text']}{who}")


def history_line(row: dict[str, Any]) -> str:
    at = time.strftime("%d %b %H:%M:%S", time.localtime(row["last"]))
    where = row["name"] or f"{row['dst']}:{row['dport']}"
    where += " (tunnel)" if Sign.TUNNEL in row["signs"] else ""
    times = f"{row['count']}x" if row["count"] > 1 else ""
    return inert(f"{at}  {row['phone']:<12} {row['verdict']:<6}{times:>6}  {where:<40} {row['rule']}")


@click.command()
@click.argument("phone")
@click.argument("what", metavar="NAME|ADDR[:PORT]")
@click.option("--revision", type=click.IntRange(1), help="By the rules as they were then (a row's `revision`).")
@as_json
@click.pass_context
def explain(ctx: click.Context, phone: str, what: str, *, revision: int | None, as_json: bool) -> None:
    """What would happen if PHONE went there now, by which rule, and what else would match."""
    with connect(ctx) as client:
        told = client.ask("explain", phone=phone, what=what, revision=revision).done
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(inert(f"{phone} -> {what}: {told['verdict']}"))
    click.echo(inert(f"  {told['reason']}"))
    for rule in told["matches"]:
        click.echo(inert(f"  {rule['answer']:<8} {rule['id']:<14} {rule['rule']}   ({rule['source']})"))
    for said in (told["caveat"], told.get("note", "") if told["addr"] is None else ""):
        if said:
            click.echo(inert(f"  ({said})"))


COMMANDS = (history, explain)
