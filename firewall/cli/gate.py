"""Starting, stopping and looking at the gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from firewall import control
from firewall.cli.box import PLAN_FILE, of_setup, put_network_back, with_network
from firewall.cli.common import REFUSED, as_json, connect, need_root
from firewall.phones import ENFORCE, WATCH
from firewall.settings import RUN, STATE, Settings
from firewall.state import State, StateError
from firewall.text import inert

LEFT = ("gateway.lock", "supervisor.lock", "supervisor.pid")  # of processes that have ended, in the run directory


@click.command()
@click.option("--lan", help="Interface of the phones. Without it: what `setup` made, else the lab.")
@click.option("--wan", help="Interface to the internet; auto: whoever has the default route.")
@click.option("--lab", is_flag=True, help="The lab, also where `setup` was used.")
@click.option("--plan", type=click.Path(path_type=Path), default=PLAN_FILE, show_default=True, help="What setup wrote.")
@click.option("--rules", type=click.Path(path_type=Path), help="Rules to use instead of the owner's rules.toml.")
@click.option("--upstream", multiple=True, help="Resolver to ask (repeat for two). Default: those of /etc/resolv.conf.")
@click.option("--watch/--enforce", default=None, help="Only record what would be refused, or refuse it.")
@click.option("--ssh", is_flag=True, help="Let the phones' side reach this box's ssh.")
@click.option("--headless", is_flag=True, help="No TUI: stay in the foreground (for services and benchmarks).")
@click.option("--run-dir", type=click.Path(path_type=Path), default=RUN, show_default=True, help="Sockets and pids.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE, show_default=True, help="Rules, history.")
@click.pass_context
def run(
    ctx: click.Context, *, lan: str | None, wan: str | None, lab: bool, plan: Path, rules: Path | None,
    upstream: tuple[str, ...], ssh: bool, watch: bool | None, headless: bool, run_dir: Path, state_dir: Path,
) -> None:
    """Start the gateway (if none runs) and show it.

    Without --lan and --wan it is the gateway that `consentry setup` has made. Where there is none, it is the lab, and
    leaving the TUI (q, Ctrl-C) removes all of it. On real interfaces leaving the TUI leaves the gate closed and
    working; `consentry stop` and `consentry off --remove` end it.
    """
    need_root("run")
    made = not (lan or wan or lab) and plan.exists()
    if not (lan or wan or made):
        from firewall.lab.cli import demo  # noqa: PLC0415  the lab's libraries are slow to load

        sys.exit(demo(rules, headless=headless))
    from firewall import start  # noqa: PLC0415

    more: dict[str, Any] = {"upstreams": upstream, "ssh": ssh, "rules": str(rules.resolve()) if rules else ""}
    if made:
        settings, watch = with_network(plan, run_dir, state_dir, more, watch=watch)
    elif not lan or not wan or lan == wan:
        raise click.UsageError("a real gateway has two sides: --lan IF --wan IF, and they differ")
    else:
        settings = Settings(lan=lan, wan=wan, run_dir=str(run_dir), state_dir=str(state_dir), **more)

    running = start.status_of(settings.socket) is not None
    if not running:
        choose_mode(state_dir, watch=watch)
    elif watch is not None:
        with control.connect(settings.socket) as client:
            client.ask("mode", mode=WATCH if watch else ENFORCE)
    if headless:
        file = settings.write()
        os.execv(sys.executable, [sys.executable, "-P", "-m", "firewall.supervisor", str(file)])  # noqa: S606
    if not running:
        click.echo(f"starting the gate between {settings.lan} (phones) and {settings.wan} (internet) ...", err=True)
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


def choose_mode(state_dir: Path, *, watch: bool | None) -> None:
    """What the gate begins with: its owner is asked once. Whoever cannot be asked gets a closed gate."""
    file = state_dir / "state.db"
    if watch is None and not file.exists() and sys.stdin.isatty() and sys.stdout.isatty():
        click.echo(
            "The first start. Watching lets everything pass and records what the rules would refuse, so that you see\n"
            "what your phones do before anything of theirs stops. Enforcing refuses from the first packet on: phones\n"
            "that you have not named yet may then do little. Change it at any time: consentry phones watch | enforce",
            err=True,
        )
        watch = click.prompt("watch or enforce", type=click.Choice([WATCH, ENFORCE]), default=WATCH) == WATCH
    if watch is None:
        return
    try:
        State(file).set_word("mode", WATCH if watch else ENFORCE)
    except StateError as error:
        click.echo(f"the choice cannot be stored: {error}", err=True)
        sys.exit(REFUSED)


def show_tui(socket: Path, *, in_lab: bool = False) -> int:
    """The TUI is a program of its own: a crash of the one is nothing to the other."""
    return subprocess.call([sys.executable, "-P", "-m", "tui", "--socket", str(socket), *(["--lab"] if in_lab else [])])


@click.command()
@click.pass_context
def tui(ctx: click.Context) -> None:
    """Attach a TUI to the gateway that runs.

    Its screens: 1 Live, 2 Asks, 3 History, 4 Rules, 5 Consents, 6 Phones. ? explains the screen that is shown, with all
    its keys; q leaves, and the gate goes on.
    """
    connect(ctx).close()
    ctx.exit(show_tui(ctx.obj or control.default_socket()))


@click.command()
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
    click.echo(f"{seen['asks']} questions wait, {seen['consents']} consents are in force")
    if not seen["clock"]:
        click.echo("the clock is not synchronised; if it is right: consentry clock trust")
    click.echo(f"rules {seen['rules']}")
    if seen["probe"]:
        click.echo(f"the gate does not answer its own probe: {seen['probe']}")
    for name, child in seen["children"].items():
        if child["state"] == "failed":
            click.echo(inert(f"{name} failed: {child['reason']}. {child['remedy']}"))
    if seen["trouble"]:
        click.echo(f"trouble: {inert(seen['trouble'])}")


@click.command()
@click.pass_context
def stop(ctx: click.Context) -> None:
    """Lock the gate: what was decided goes on, nothing undecided passes, until `resume`."""
    with connect(ctx) as client:
        click.echo(client.ask("stop").done["state"])


@click.command()
@click.pass_context
def resume(ctx: click.Context) -> None:
    """End what `stop` began."""
    with connect(ctx) as client:
        click.echo(client.ask("resume").done["state"])


@click.command()
@click.option("--remove", is_flag=True, required=True, help="Say that you mean it.")
@click.option("--run-dir", type=click.Path(path_type=Path), default=RUN, show_default=True)
@click.option("--plan", type=click.Path(path_type=Path), default=PLAN_FILE, hidden=True)
def off(*, remove: bool, run_dir: Path, plan: Path) -> None:
    """End the gateway and put the box back as it was. The phones are then unfiltered."""
    need_root("off")
    from firewall import start  # noqa: PLC0415
    from firewall.backends import open_backend  # noqa: PLC0415

    file = run_dir / "settings.json"
    settings = Settings.read(file) if file.exists() else of_setup(plan, run_dir)
    if not remove or settings is None:
        click.echo(f"nothing to remove: neither {file} nor {plan} is there", err=True)
        sys.exit(REFUSED)
    start.end(settings)
    if settings.plan:
        put_network_back(settings)
    else:
        open_backend(settings).remove()
    for left in (settings.memory_file, file, *(run_dir / name for name in LEFT)):
        left.unlink(missing_ok=True)
    with suppress(OSError):  # somebody's log or socket
        run_dir.rmdir()
    click.echo(f"removed. Phones behind {settings.lan} are now unfiltered.")


COMMANDS = (run, tui, status, stop, resume, off)
