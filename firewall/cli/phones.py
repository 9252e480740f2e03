"""The phones: who they are, what they are called, and whether the gate only watches them."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from firewall.cli.common import as_json, connect, show
from firewall.text import inert

PHONE = click.argument("phone")


@click.group(invoke_without_command=True)
@click.pass_context
def phones(ctx: click.Context) -> None:
    """The phones behind the gate. Without a command: the list.

    A phone is known by its MAC. One that nobody has named is a stranger of group `strict`, for which every answer that
    no rule gives is a question; a random MAC is a new phone until it is joined to an old one.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(phones_list, as_json=False)


@phones.command("list")
@as_json
@click.pass_context
def phones_list(ctx: click.Context, *, as_json: bool) -> None:
    """Every phone that is known, by name."""
    with connect(ctx) as client:
        rows = client.ask("phones").items
    if not rows and not as_json:
        click.echo("no phone has been seen yet", err=True)
    show(rows, phone_line, as_json=as_json)


def phone_line(row: dict[str, Any]) -> str:
    """NAME GROUP MODE, when it was last seen, its vendor or that it has made its MAC up, MACs and addresses."""
    last = time.strftime("%d %b %H:%M", time.localtime(row["last"])) if row["last"] else "-"
    card = "random MAC" if row.get("random") else row.get("vendor", "")
    where = " ".join([*row["macs"], *row["addresses"]])
    return inert(f"{row['name']:<20} {row['group']:<10} {row['mode'] or '-':<8} {last:<13} {card:<24} {where}".rstrip())


def _changed(ctx: click.Context, verb: str, *, as_json: bool, **args: str | bool) -> None:
    """Ask for a change, and show the phone as it is now."""
    with connect(ctx) as client:
        phone = client.ask(verb, **args).done
    click.echo(json.dumps(phone, ensure_ascii=False) if as_json else phone_line(phone))
    if phone.get("rules") and not as_json:
        click.echo(inert(phone["rules"]), err=True)


@phones.command("name")
@PHONE
@click.argument("name")
@click.option("--keep-rules", is_flag=True, help="Leave rules that name it as they are: about nobody then.")
@as_json
@click.pass_context
def phones_name(ctx: click.Context, phone: str, name: str, *, keep_rules: bool, as_json: bool) -> None:
    """Call PHONE by another NAME from now on, in your rules as well; `rules undo` takes back both.

    What happened before stays under the old name: consentry history 'phone:OLD,NEW'
    """
    _changed(ctx, "phones.set", phone=phone, name=name, rules=not keep_rules, as_json=as_json)


@phones.command("group")
@PHONE
@click.argument("group")
@as_json
@click.pass_context
def phones_group(ctx: click.Context, phone: str, group: str, *, as_json: bool) -> None:
    """Put PHONE into GROUP, whose rules then are its own. `strict` is the group of strangers."""
    _changed(ctx, "phones.set", phone=phone, group=group, as_json=as_json)


@phones.command("join")
@PHONE
@click.argument("into")
@click.option("--without-consents", is_flag=True, help="What PHONE may by consent ends; else INTO may it as well.")
@as_json
@click.pass_context
def phones_join(ctx: click.Context, phone: str, into: str, *, without_consents: bool, as_json: bool) -> None:
    """PHONE is INTO under another MAC (a random one, say): from now on they are one phone, called INTO."""
    _changed(ctx, "phones.join", phone=phone, into=into, consents=not without_consents, as_json=as_json)


@phones.command("forget")
@PHONE
@as_json
@click.pass_context
def phones_forget(ctx: click.Context, phone: str, *, as_json: bool) -> None:
    """Forget PHONE: its name, group and addresses. If it comes back it is a stranger."""
    with connect(ctx) as client:
        client.ask("phones.forget", phone=phone)
    click.echo(json.dumps({"forgotten": phone}, ensure_ascii=False) if as_json else inert(f"{phone} is forgotten"))


@phones.command("watch")
@click.argument("phone", required=False)
@as_json
@click.pass_context
def phones_watch(ctx: click.Context, phone: str | None, *, as_json: bool) -> None:
    """Only record what would be refused to PHONE, or to all phones without a mode of their own, and let it pass."""
    _mode(ctx, "watch", phone, as_json=as_json)


@phones.command("enforce")
@click.argument("phone", required=False)
@as_json
@click.pass_context
def phones_enforce(ctx: click.Context, phone: str | None, *, as_json: bool) -> None:
    """Refuse what the rules refuse, to PHONE or to all phones without a mode of their own."""
    _mode(ctx, "enforce", phone, as_json=as_json)


@phones.command("as-all")
@PHONE
@as_json
@click.pass_context
def phones_as_all(ctx: click.Context, phone: str, *, as_json: bool) -> None:
    """Let PHONE have no mode of its own: it is watched when all are, and refused what all are refused."""
    _changed(ctx, "phones.set", phone=phone, mode="", as_json=as_json)


def _mode(ctx: click.Context, mode: str, phone: str | None, *, as_json: bool) -> None:
    if phone is not None:
        _changed(ctx, "phones.set", phone=phone, mode=mode, as_json=as_json)
        return
    with connect(ctx) as client:
        done = client.ask("mode", mode=mode).done
        own = [row["name"] for row in client.ask("phones").items if row["mode"] not in {"", mode}]
    if as_json:
        click.echo(json.dumps(done))
        return
    watches = "the gate only watches: nothing is refused but what phones send each other"
    click.echo(watches if mode == "watch" else "what the rules refuse is refused")
    if own:
        click.echo(inert(f"but these phones have a mode of their own: {', '.join(own)}"), err=True)


COMMANDS = (phones,)
