"""The command line (docs/cli.md). Lists are JSON Lines; exit status 0 done, 1 refused, 2 usage, 3 no gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firewall import control
from firewall.lab.cli import lab
from firewall.settings import RUN, STATE, Settings, typed_as_root
from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Callable

    from rules.policy import Policy

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


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("consentry"), prog_name="consentry")
@click.option("--socket", type=click.Path(path_type=Path), help="Control socket of the gateway to talk to.")
@click.pass_context
def main(ctx: click.Context, socket: Path | None) -> None:
    """A gatekeeper for phones: stops unconsented uploads, says why, and remembers.

    `sudo consentry run` is all it takes: without interfaces it builds a closed lab of two phones, a gateway and an
    internet to look at; with --lan and --wan it gates real ones.
    """
    ctx.obj = socket


def connect(ctx: click.Context) -> control.Client:
    return control.connect(ctx.obj or control.default_socket())


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        click.echo(f"{what} needs root, for it changes networks and firewall rules. Type: {typed_as_root()}", err=True)
        sys.exit(REFUSED)


def show(rows: list[dict[str, Any]], line: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else line(row))


# -- the gateway -------------------------------------------------------------------------------------------------------


@main.command()
@click.option("--lan", help="Interface of the phones. Without it: the lab.")
@click.option("--wan", help="Interface to the internet.")
@click.option("--rules", type=click.Path(path_type=Path), help="Rules to use instead of the owner's rules.toml.")
@click.option("--upstream", multiple=True, help="Resolver to ask (repeat for two). Default: those of /etc/resolv.conf.")
@click.option("--ssh", is_flag=True, help="Let the phones' side reach this box's ssh.")
@click.option("--headless", is_flag=True, help="No TUI: stay in the foreground (for services and benchmarks).")
@click.option("--run-dir", type=click.Path(path_type=Path), default=RUN, show_default=True, help="Sockets and pids.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE, show_default=True, help="Rules, history.")
@click.pass_context
def run(
    ctx: click.Context, *, lan: str | None, wan: str | None, rules: Path | None, upstream: tuple[str, ...], ssh: bool,
    headless: bool, run_dir: Path, state_dir: Path,
) -> None:
    """Start the gateway (if none runs) and show it.

    Without --lan and --wan this is the lab, and leaving the TUI (q, Ctrl-C) removes all of it. On real interfaces
    leaving the TUI leaves the gate closed and working; `consentry stop` and `consentry off --remove` end it.
    """
    need_root("run")
    if not lan and not wan:
        from firewall.lab.cli import demo  # noqa: PLC0415  the lab's libraries are slow to load

        sys.exit(demo(rules, headless=headless))
    if not lan or not wan or lan == wan:
        raise click.UsageError("a real gateway has two sides: --lan IF --wan IF, and they differ")
    settings = Settings(
        lan=lan, wan=wan, run_dir=str(run_dir), state_dir=str(state_dir), upstreams=upstream, ssh=ssh,
        rules=str(rules.resolve()) if rules else "",
    )
    from firewall import start  # noqa: PLC0415

    if headless:
        file = settings.write()
        os.execv(sys.executable, [sys.executable, "-P", "-m", "firewall.supervisor", str(file)])  # noqa: S606
    if start.status_of(settings.socket) is None:
        click.echo(f"starting the gate between {lan} (phones) and {wan} (internet) ...", err=True)
        try:
            status = start.start(settings)
        except start.NotStartedError as error:
            click.echo(f"the gateway did not start: {error}\nits log: {settings.log_file}", err=True)
            ctx.exit(REFUSED)
        click.echo(f"{status['state']}  rules: {status['rules']}", err=True)
    if not sys.stdout.isatty():
        click.echo("no terminal here, so no TUI; the gate goes on. Attach one with: sudo consentry tui", err=True)
        return
    show_tui(settings.socket)
    click.echo("the gate goes on. Again: consentry tui   lock: consentry stop   restore: consentry off --remove")


def show_tui(socket: Path, *, in_lab: bool = False) -> int:
    """The TUI is a program of its own: a crash of the one is nothing to the other."""
    return subprocess.call([sys.executable, "-P", "-m", "tui", "--socket", str(socket), *(["--lab"] if in_lab else [])])


@main.command()
@click.pass_context
def tui(ctx: click.Context) -> None:
    """Attach a TUI to the gateway that runs."""
    connect(ctx).close()
    ctx.exit(show_tui(ctx.obj or control.default_socket()))


@main.command()
@as_json
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> None:
    """Whether the gate is closed, since when, and how its queue does."""
    with connect(ctx) as client:
        seen = client.ask("status").done
    if as_json:
        click.echo(json.dumps(seen))
        return
    queue = seen["queue"]
    since = time.strftime("%a %H:%M", time.localtime(seen["since"]))
    click.echo(f"{seen['state']}  {inert(seen['reason'])}".rstrip() + f"  since {since}")
    click.echo(f"{seen['lan']} -> {seen['wan']}  {seen['phones']} phones  policy revision {seen['revision']}")
    click.echo(f"queue {queue['waiting']}  lost {queue['lost']}  ({queue['kind']})")
    click.echo(f"rules {seen['rules']}")
    if seen["trouble"]:
        click.echo(f"trouble: {inert(seen['trouble'])}")


@main.command()
@click.pass_context
def stop(ctx: click.Context) -> None:
    """Lock the gate: what was decided goes on, nothing undecided passes, until `resume`."""
    with connect(ctx) as client:
        click.echo(client.ask("stop").done["state"])


@main.command()
@click.pass_context
def resume(ctx: click.Context) -> None:
    """End what `stop` began."""
    with connect(ctx) as client:
        click.echo(client.ask("resume").done["state"])


@main.command()
@click.option("--remove", is_flag=True, required=True, help="Say that you mean it.")
@click.option("--run-dir", type=click.Path(path_type=Path), default=RUN, show_default=True)
def off(*, remove: bool, run_dir: Path) -> None:
    """End the gateway and put the box back as it was. The phones are then unfiltered."""
    need_root("off")
    from firewall import start  # noqa: PLC0415
    from firewall.backends import open_backend  # noqa: PLC0415

    file = run_dir / "settings.json"
    if not remove or not file.exists():
        click.echo(f"nothing to remove: {file} is not there", err=True)
        sys.exit(REFUSED)
    settings = Settings.read(file)
    start.end(settings)
    open_backend(settings).remove()
    file.unlink()
    click.echo(f"removed. Phones behind {settings.lan} are now unfiltered.")


# -- what happened, and why --------------------------------------------------------------------------------------------


@main.command()
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


@main.command()
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


@main.group()
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


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script: consentry completion bash > /etc/bash_completion.d/consentry"""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    cls = get_completion_class(shell)
    assert cls is not None
    click.echo(cls(main, {}, "consentry", "_CONSENTRY_COMPLETE").source())


main.add_command(lab)

if __name__ == "__main__":
    main(prog_name="consentry")
