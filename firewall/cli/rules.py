"""The owner's rules: looked at, checked, tried and changed."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from firewall import control
from firewall.cli.common import REFUSED, as_json, connect
from firewall.settings import STATE
from firewall.text import inert

if TYPE_CHECKING:
    from rules.policy import Policy

DIVIDER = " -- packs " + "-" * 62


@click.group()
def rules() -> None:
    """The rules: what the owner wrote, and the packs."""


@rules.command("list")
@as_json
@click.pass_context
def rules_list(ctx: click.Context, *, as_json: bool) -> None:
    """Every rule in the order in which they are asked: yours, then the packs'."""
    with connect(ctx) as client:
        rows = client.ask("rules").items
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    if not any(row["mine"] for row in rows):
        click.echo("no rules of yours yet; the first: consentry rules add 'block name:tracker.example'")
    for row, before in zip(rows, [None, *rows], strict=False):
        if not row["mine"] and (before is None or before["mine"]):
            click.echo(DIVIDER)
        click.echo(rule_line(row))


def rule_line(row: dict[str, Any]) -> str:
    hits = f"{row['hits']}x {_when(row['last'])}" if row["hits"] else ""
    state = "" if row["enabled"] else "(disabled) "
    rule = f"{row['position']:>3}  {row['id']:<14} {state}{row['action']} {row['match']}"
    hidden = f"  never matches: {row['hidden_by']} does first" if row["hidden_by"] else ""
    note = f"  # {row['note']}" if row["mine"] and row["note"] else ""
    return inert(f"{rule:<60}  {hits:>11}  {row['source']}{note}{hidden}").rstrip()


def _when(at: float) -> str:
    """A time of today, or the day it was."""
    then = time.localtime(at)
    return time.strftime("%H:%M" if then[:3] == time.localtime()[:3] else "%d %b", then)


@rules.command("check")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@as_json
def rules_check(file: Path | None, *, as_json: bool) -> None:
    """Read a rules file (default: the owner's) without using it; say what is wrong, and where."""
    from rules import store  # noqa: PLC0415
    from rules.lint import lint  # noqa: PLC0415
    from rules.problem import RuleError  # noqa: PLC0415

    path = file or STATE / "rules.toml"
    if file is not None and not file.exists():
        click.echo(f"{file}: no such file", err=True)
        sys.exit(REFUSED)
    try:
        policy: Policy = store.load(path, revision=0)
    except RuleError as error:
        for problem in error.problems:
            click.echo(json.dumps(asdict(problem)) if as_json else str(problem), err=not as_json)
        sys.exit(REFUSED)
    for finding in lint(policy):
        click.echo(f"warning: {finding}", err=True)
    if as_json:
        return
    owner = sum(rule.source == "mine" for rule in policy.rules)
    click.echo(f"{path}: {owner} rules of yours, {len(policy.rules) - owner} of packs: fine")


@rules.command("reload")
@click.pass_context
def rules_reload(ctx: click.Context) -> None:
    """Read rules.toml now. (The gateway does so by itself within a second of a change.)"""
    with connect(ctx) as client:
        click.echo(f"revision {client.ask('reload').done['revision']}")


# -- editing -----------------------------------------------------------------------------------------------------------


def complete_rules(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of rules for the shell; none while no gateway answers."""
    try:
        with connect(ctx.find_root()) as client:
            rows = client.ask("rules").items
    except (control.NoGateway, control.Refused):
        return []
    return [
        CompletionItem(row["id"], help=inert(f"{row['action']} {row['match']}"))
        for row in rows if row["id"].startswith(incomplete)
    ]


which = click.argument("rule", metavar="N|ID", shell_complete=complete_rules)
several = click.argument("chosen", metavar="N|ID...", nargs=-1, required=True, shell_complete=complete_rules)
note_option = click.option("--note", help="Why, for whoever reads this later; '' takes it away.")


def change(ctx: click.Context, *, as_json: bool, **args: object) -> None:
    """One edit, and what it did."""
    with connect(ctx) as client:
        done = client.ask("rules.edit", **{key: value for key, value in args.items() if value is not None}).done
    if as_json:
        click.echo(json.dumps(done, ensure_ascii=False))
        return
    cut = f"; {done['cut']} live flow{'s' * (done['cut'] != 1)} cut" if done["cut"] else ""
    click.echo(inert(f"{done['words']}{cut}  (revision {done['revision']})"))


@rules.command("add")
@click.argument("text", metavar="RULE")
@click.option("--at", type=int, help="Position among your rules; without it on top.")
@note_option
@as_json
@click.pass_context
def rules_add(ctx: click.Context, *, text: str, at: int | None, note: str | None, as_json: bool) -> None:
    """Add a rule: consentry rules add 'block name:example.com phone:phone1'"""
    change(ctx, as_json=as_json, act="add", text=text, at=at, note=note)


@rules.command("edit")
@which
@click.argument("text", metavar="[RULE]", required=False)
@note_option
@as_json
@click.pass_context
def rules_edit(ctx: click.Context, *, rule: str, text: str | None, note: str | None, as_json: bool) -> None:
    """Change what a rule says, or its note. Its id stays: consentry rules edit 2 'ask name:example.com'"""
    if text is None and note is None:
        raise click.UsageError("say what shall change: the rule, or --note TEXT")
    change(ctx, as_json=as_json, act="change", rule=rule, text=text, note=note)


@rules.command("move")
@which
@click.argument("at", type=int, metavar="TO")
@as_json
@click.pass_context
def rules_move(ctx: click.Context, *, rule: str, at: int, as_json: bool) -> None:
    """Move a rule of yours to another position: consentry rules move 3 1"""
    change(ctx, as_json=as_json, act="move", rule=rule, at=at)


def _switch(act: str, text: str) -> click.Command:
    @rules.command(act, help=text)
    @several
    @as_json
    @click.pass_context
    def command(ctx: click.Context, *, chosen: tuple[str, ...], as_json: bool) -> None:
        for rule in named(ctx, chosen):
            change(ctx, as_json=as_json, act=act, rule=rule)

    return command


def named(ctx: click.Context, chosen: tuple[str, ...]) -> list[str]:
    """Ids in place of positions, which would mean others after the first edit."""
    if len(chosen) == 1:
        return list(chosen)
    with connect(ctx) as client:
        at = {str(row["position"]): row["id"] for row in client.ask("rules").items}
    return [at.get(one, one) for one in chosen]


_switch("enable", "Ask these rules again. Also for a pack (tiktok) or one of its rules (xiaomi/2).")
_switch("disable", "Keep these rules without asking them. Also for a pack or one of its rules.")
_switch("remove", "Remove rules of yours with the comments above them. `rules undo` brings them back.")


@rules.command("undo")
@as_json
@click.pass_context
def rules_undo(ctx: click.Context, *, as_json: bool) -> None:
    """Take back the last edit, whoever made it; the file is then as it was, byte for byte."""
    change(ctx, as_json=as_json, act="undo")


@rules.command("redo")
@as_json
@click.pass_context
def rules_redo(ctx: click.Context, *, as_json: bool) -> None:
    """Do again what `undo` took back."""
    change(ctx, as_json=as_json, act="redo")


@rules.command("test")
@click.argument("text", metavar="RULE")
@click.option("--at", type=int, help="Position among your rules; without it on top.")
@as_json
@click.pass_context
def rules_test(ctx: click.Context, *, text: str, at: int | None, as_json: bool) -> None:
    """What a rule would change: decisions of the last 24 hours, and live flows. Nothing is done."""
    with connect(ctx) as client:
        done = client.ask("rules.test", act="add", text=text, **({} if at is None else {"at": at})).done
    if as_json:
        click.echo(json.dumps(done, ensure_ascii=False))
        return
    for line in trial_lines(done):
        click.echo(inert(line))


def trial_lines(done: dict[str, Any]) -> list[str]:
    """The answer of `rules.test` in words."""
    past = f"{done['changed']:,} of {done['of']:,} decisions of the last 24 h would change"
    lines = [f"{past}; {done['cut']} of {done['live']} live flows would be cut"]
    lines += [f"  ({done['trouble']})"] if done.get("trouble") else []
    for one in done["examples"]:
        at = time.strftime("%d %b %H:%M", time.localtime(one["last"]))
        change = f"{one['before']} -> {one['after']}"
        lines.append(f"  {at}  {one['phone']:<12} {change:<14} {one['count']:>5}x  {one['what']}")
    return lines + [f"warning: {one}" for one in done["warnings"]]


COMMANDS = (rules,)
