"""What every command shares: the group that turns refusals into words, JSON, root's rights, the way to the gateway."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from firewall import control
from firewall.settings import typed_as_root

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED, NO_GATEWAY = 1, 3



class Cli(click.Group):
    """Turns what a gateway refuses, or that there is none, into words and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  click's own signature
        try:
            return super().invoke(ctx)
        except control.NoGateway as error:
            click.echo(f"no gateway answers: {error}. Start one with: sudo consentry run", err=True)
            ctx.exit(NO_GATEWAY)
        except control.Refused as error:
            click.echo(str(error), err=True)
            ctx.exit(error.status)
        except BrokenPipeError:  # `consentry history | head` is no mistake
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  for the interpreter's own last flush
            ctx.exit(0)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON: one object a line for lists.")


def connect(ctx: click.Context) -> control.Client:
    return control.connect(ctx.obj or control.default_socket())


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        click.echo(f"{what} needs root, for it changes networks and firewall rules. Type: {typed_as_root()}", err=True)
        sys.exit(REFUSED)


def show(rows: list[dict[str, Any]], line: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else line(row))
