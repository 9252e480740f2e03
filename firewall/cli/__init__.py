"""The command line (docs/cli.md). Lists are JSON Lines; exit status 0 done, 1 refused, 2 usage, 3 no gateway.

One file for each group of commands; a command is in the menu because it is in COMMANDS.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import click

from firewall.cli import about, box, consents, doctor, gate, past, phones, replay, rules, selftest, service
from firewall.cli.common import Cli
from firewall.lab.cli import lab


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("consentry"), prog_name="consentry")
@click.option("--socket", type=click.Path(path_type=Path), help="Control socket of the gateway to talk to.")
@click.pass_context
def main(ctx: click.Context, socket: Path | None) -> None:
    """A gatekeeper for phones: stops unconsented uploads, says why, and remembers.

    `sudo consentry setup` makes this box a gateway: an access point, or a gate in the wire. `sudo consentry run` starts
    it; before any setup it builds a closed lab of two phones, a gateway and an internet to look at.
    """
    ctx.obj = socket


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script: consentry completion bash > /etc/bash_completion.d/consentry"""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    cls = get_completion_class(shell)
    assert cls is not None
    click.echo(cls(main, {}, "consentry", "_CONSENTRY_COMPLETE").source())


COMMANDS = (
    *about.COMMANDS, *box.COMMANDS, *consents.COMMANDS, *doctor.COMMANDS, *gate.COMMANDS, *past.COMMANDS,
    *phones.COMMANDS, *replay.COMMANDS, *rules.COMMANDS, *selftest.COMMANDS, *service.COMMANDS, lab,
)
for command in COMMANDS:
    main.add_command(command)
