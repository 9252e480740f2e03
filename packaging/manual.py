"""The manual page consentry(1), in man(7)'s language, from what each command's --help says."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from inspect import cleandoc
from typing import TYPE_CHECKING

import click

from firewall.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
.TH CONSENTRY 1 "" "consentry {version}" "User Commands"
.SH NAME
consentry \\- gatekeeper for phones
.SH SYNOPSIS
.B consentry
[\\-\\-socket PATH] COMMAND [ARGS...]
.SH DESCRIPTION
"""
TAIL = """\
.SH FILES
.TP
.I /etc/consentry/gateway.toml
What \\fBconsentry setup\\fR decided: interfaces, networks, the access point.
.TP
.I /etc/consentry/lock.sh
The lock that systemd loads before the network comes up.
.TP
.I /var/lib/consentry
Rules (rules.toml), consents and phones (state.db), history (history.db).
.TP
.I /run/consentry
Sockets and process ids.
.SH EXIT STATUS
0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage, 3 no gateway answers.
.SH SEE ALSO
.BR nft (8),
.BR hostapd (8),
.BR dnsmasq (8),
.BR journalctl (1),
/usr/share/doc/consentry/docs
"""


def quoted(text: str) -> str:
    """As man(7) shows it: no line of a text is a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("\b\n", "")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def paragraphs(text: str) -> str:
    """A docstring's."""
    return "\n.PP\n".join(quoted(part) for part in cleandoc(text).split("\n\n"))


Named = tuple[str, click.Command, click.Context]


def commands(group: click.Group, context: click.Context, before: str = "") -> Iterator[Named]:
    """(name as it is typed, command, its context), those that are shown."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield f"{before}{name}", command, inner
        if isinstance(command, click.Group):
            yield from commands(command, inner, f"{before}{name} ")


def page() -> Iterator[str]:
    """The page, line by line."""
    context = click.Context(main, info_name="consentry")
    yield HEAD.format(version=version("consentry"))
    yield paragraphs(main.help or "")
    yield ".SH COMMANDS"
    for name, command, inner in commands(main, context):
        usage = " ".join(command.collect_usage_pieces(inner))
        yield f".SS {quoted(f'consentry {name} {usage}'.strip())}"
        yield paragraphs(command.help or "")
        for parameter in command.get_params(inner):
            record = parameter.get_help_record(inner)
            if record is not None and "--help" not in record[0]:
                yield f".TP\n.B {quoted(record[0])}\n{quoted(record[1])}"
    yield TAIL


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()) + "\n")
