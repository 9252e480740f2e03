"""`consentry lab ...` and the lab that `consentry run` shows: a closed little world with the real gateway in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firewall import start
from firewall.lab import story
from firewall.lab.lab import ENDLESS_SECONDS, Lab
from firewall.lab.topology import LAN_IF, RESOLVERS, WAN_IF, LabError
from firewall.settings import Settings, typed_as_root
from firewall.text import inert

if TYPE_CHECKING:
    from types import FrameType

REFUSED = 1


class LabGroup(click.Group):
    """Says what a lab cannot do in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  click's own signature
        if os.geteuid() != 0:
            click.echo(f"the lab needs root, for it is made of network namespaces. Type: {typed_as_root()}", err=True)
            ctx.exit(REFUSED)
        try:
            return super().invoke(ctx)
        except LabError as error:
            click.echo(str(error), err=True)
            ctx.exit(REFUSED)


@click.group(cls=LabGroup)
def lab() -> None:
    """Phones, a gateway and an internet in closed network namespaces, to look at and to test against.

    $CONSENTRY_LAB gives it another name, so that several can stand side by side.
    """


@lab.command()
@click.option("--phones", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--rules", type=click.Path(path_type=Path), help="Rules file in place of the owner's; packs stay.")
@click.option("--one-wire", is_flag=True, help="Do not lock the bridge's ports: phones can send with any MAC.")
@click.pass_context
def up(ctx: click.Context, phones: int, rules: Path | None, *, one_wire: bool) -> None:
    """Start lab and gateway in the background, with fresh state and quiet phones; return when both are ready."""
    built, status = bring_up(phones, rules, locked=not one_wire)
    if status["state"] == "LOCKED":
        click.echo(f"LOCKED: {inert(status['reason'])}", err=True)
        ctx.exit(REFUSED)
    click.echo(f"{status['state']}: lab {built.name} is up; look with: consentry tui", err=True)


def bring_up(phones: int, rules: Path | None, *, locked: bool = True) -> tuple[Lab, dict[str, Any]]:
    """A fresh lab with a gateway, and what the gateway says of itself. Raises LabError."""
    if rules is not None and not rules.exists():
        raise LabError(f"{rules}: no such file")
    built = Lab()
    before = settings_of(built)
    start.end(before)
    built.up(phones, locked=locked)
    settings = settings_of(built, rules)
    try:
        return built, start.start(settings, built.gateway_argv([]))
    except start.NotStartedError as error:
        built.down()
        raise LabError(f"the gateway did not start: {error}") from None


def settings_of(built: Lab, rules: Path | None = None) -> Settings:
    return Settings(
        lan=LAN_IF,
        wan=WAN_IF,
        run_dir=str(built.run_dir),
        state_dir=str(built.run_dir / "state"),
        rules=str(rules.resolve()) if rules else "",
        upstreams=RESOLVERS,
        phones=built.phone_names if built.is_up() else {},
        lab=True,
    )


@lab.command()
def down() -> None:
    """Remove everything that the lab is made of; nothing to do is fine."""
    take_down(Lab())


def take_down(built: Lab) -> None:
    start.end(settings_of(built))
    built.down()


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, as_json: bool) -> None:
    """Who and what is where, and whether the gate is closed."""
    built = Lab()
    told = built.status()
    nobody = {"state": "NO GATE", "reason": "no gateway answers", "pid": None}
    gateway = start.status_of(settings_of(built).socket) or nobody
    told |= {
        "state": gateway["state"] if told["up"] else "DOWN",
        "reason": gateway["reason"] if told["up"] else "",
        "gateway_pid": gateway["pid"],
        "socket": str(settings_of(built).socket),
    }
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(f"lab {told['name']}: {told['state']} {inert(told['reason'])}".rstrip())
    if told["up"]:
        spaces = told["namespaces"]
        click.echo(f"phones {', '.join(spaces['phones'])}\ngateway {spaces['gateway']}, pid {told['gateway_pid']}")


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("phone")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec(phone: str, command: tuple[str, ...]) -> None:  # noqa: A001  it is called so
    """Run a command as that phone: consentry lab exec phone1 -- curl http://example.com/"""
    built = Lab()
    argv = built.exec_argv(phone, command)
    os.execvpe(argv[0], argv, built.environment())  # noqa: S606  streams and exit status are the command's own


@lab.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})  # -1h is a time
@click.argument("step", required=False)
@click.option("--wall", "wall_only", is_flag=True, help="The wall clock only, as when somebody sets it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def time(step: str | None, *, wall_only: bool, as_json: bool) -> None:
    """Tell the gateway's time: +10m (or s, h, d, w, y) is later, by all its clocks; -1y earlier; reset: right again.

    Going back and `reset` are for its wall clock only: the one that durations run on never goes back.
    """
    try:
        ahead = Lab().time(step, wall_only=wall_only)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps({"boot": ahead.boot, "wall": ahead.wall}))
    else:
        click.echo(f"the gateway's wall clock is {ahead.wall:+.0f} s off, {ahead.boot:.0f} s have been passed over")


@lab.command()
@click.argument("scenario")
@click.option("--for", "seconds", type=click.FloatRange(0, min_open=True), default=ENDLESS_SECONDS, show_default=True,
              help="Seconds that a scenario without an end (everyday) is played.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each step, and one for the whole.")
def play(scenario: str, *, seconds: float, as_json: bool) -> None:
    """Play a scenario or a story by its name, or a scenario file, and say what came of each step."""

    def tell(row: dict[str, Any]) -> None:
        if as_json:
            click.echo(json.dumps(row))
        elif "owner" in row:
            click.echo(inert(f"  consentry {row['owner']}"))
        elif "step" not in row:
            click.echo(inert(f"-- {row['chapter']}"))
        elif row["upload"] or not row["ok"]:
            outcome = "went out" if row["ok"] else f"stopped ({row['error']})"
            click.echo(inert(f"{row['phone']:<8} {row['step']:<28} {outcome}"))

    built = Lab()
    if scenario in story.names():
        told = story.Telling(built, settings_of(built).socket, tell).tell(story.load(scenario))
        if as_json:
            click.echo(json.dumps(told))
        return
    summary = built.play(scenario, on_result=tell, seconds=seconds)
    if as_json:
        click.echo(json.dumps(summary))
        return
    click.echo(
        f"{summary['uploads_ok']} of {summary['uploads']} uploads went out, {summary['ordinary_ok']} of "
        f"{summary['ordinary']} ordinary requests were answered, in {summary['seconds']} s",
        err=True,
    )


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines, payloads with them.")
@click.option("--follow", is_flag=True, help="Go on: a line when a connection opens, and when it has changed.")
def sinks(*, as_json: bool, follow: bool) -> None:
    """What reached the internet side."""
    for row in Lab().sinks(follow=follow):
        if as_json:
            click.echo(json.dumps(row))
        else:
            name = row["name"] or row["dst"]
            click.echo(inert(f"{row['src']} -> {name}:{row['dport']}/{row['proto']}  {row['bytes']} bytes"))
        if follow:
            sys.stdout.flush()


def demo(rules: Path | None, *, headless: bool) -> int:
    """What `consentry run` shows without interfaces: the lab with phones that act, and the TUI until it is left."""
    leave = _Leave()
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    built = Lab()
    try:
        click.echo("building the lab: two phones, a gateway, an internet, in closed network namespaces ...", err=True)
        built, status = bring_up(2, rules)
        click.echo(f"{status['state']} {inert(status['reason'])}".rstrip(), err=True)
        built.start_everyday()
        if headless or not sys.stdout.isatty():
            return _follow_as_text(built)
        socket = settings_of(built).socket
        return subprocess.call([sys.executable, "-P", "-m", "tui", "--socket", str(socket), "--lab"])
    except LabError as error:
        click.echo(str(error), err=True)
        return REFUSED
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half a lab behind
        click.echo("removing the lab ...", err=True)
        take_down(built)


def _follow_as_text(built: Lab) -> int:
    """Without a terminal: one line a decision, until SIGINT or SIGTERM."""
    from firewall.cli.past import history_line  # noqa: PLC0415  the main command imports this file
    from firewall.control import NoGateway, connect  # noqa: PLC0415

    try:
        with connect(settings_of(built).socket) as client:
            for item in client.follow():
                if "episode" in item:
                    click.echo(history_line(item["episode"]))
                    sys.stdout.flush()
    except NoGateway as error:
        click.echo(f"the gateway went away: {error}", err=True)
        return REFUSED
    return 0


class _Leave:
    """Ends this process as Ctrl-C does. pyroute2 forks to look into a namespace and ends its child with SIGTERM: that
    one must not unwind into our `finally` and take the lab down while it is being built.
    """

    def __init__(self) -> None:
        self._of = os.getpid()

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._of:
            os._exit(128 + number)
        raise KeyboardInterrupt
