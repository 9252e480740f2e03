"""The owner's rules: looked at, checked, and changed."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firewall.cli.common import REFUSED, as_json, connect, show
from firewall.settings import STATE

if TYPE_CHECKING:
    from rules.policy import Policy


@click.group()
def rules() -> None:
    """The rules: what the owner wrote, and the packs."""


@rules.command("list")
@as_json
@click.pass_context
def rules_list(ctx: click.Context, *, as_json: bool) -> None:
    """Every rule in the order in which they are asked."""
    with connect(ctx) as client:
        show(client.ask("rules").items, rule_line, as_json=as_json)


def rule_line(row: dict[str, Any]) -> str:
    state = "" if row["enabled"] else "(disabled) "
    rule = f"{row['position']:>3}  {row['id']:<14} {state}{row['action']} {row['match']}"
    return f"{rule:<60}  {row['source']}"


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


COMMANDS = (rules,)
