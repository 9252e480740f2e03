"""`consentry setup`: the box's network, from what is found and what its owner says; and the keeper that holds it up."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firewall.cli.common import REFUSED, need_root
from firewall.settings import RUN, STATE, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firewall.box.choose import Choice, Found
    from firewall.box.install import File
    from firewall.box.plan import Plan, Wifi

PLAN_FILE = "/etc/consentry/gateway.toml"


@click.command()
@click.option("--mode", type=click.Choice(["ap", "inline", "one-armed"]), help="Default: what this box can do.")
@click.option("--radio", default="", help="Interface of the phones: the radio, or the wired one.")
@click.option("--uplink", default="", help="Interface to the internet. Default: auto, whoever has the default route.")
@click.option("--ssid", default="", help="Name of the Wi-Fi network.")
@click.option("--country", default="", help="Two letters, like DE: whose law says which channels may be used.")
@click.option("--band", type=click.Choice(["2.4", "5"]), help="GHz.")
@click.option("--channel", type=int, help="Default: a usual one. 0: the radio chooses.")
@click.option("--security", type=click.Choice(["wpa3-transition", "wpa2", "wpa3"]), help="Default: what the radio can.")
@click.option("--passphrase", default="", help="Default: a new one, shown once. -: a line of the standard input.")
@click.option("--subnet", default="", help="IPv4 network of the phones; auto: a free one.")
@click.option("--dhcp/--no-dhcp", default=None, help="Give the phones their addresses. Default: but in one-armed mode.")
@click.option("--watch/--enforce", default=None, help="Begin by recording only (the default), or by refusing.")
@click.option("--ssh", is_flag=True, help="Let the phones' side reach this box's ssh.")
@click.option("--service", is_flag=True, help="Start with the machine, by systemd.")
@click.option("--dry-run", is_flag=True, help="Write nothing: print every file, command and rule.")
@click.option("--json", "as_json", is_flag=True, help="Print what was decided as JSON.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--no-start", is_flag=True, help="Write the files only.")
@click.option("--plan", type=click.Path(path_type=Path), default=PLAN_FILE, show_default=True, help="File to write.")
@click.option("--run-dir", type=click.Path(path_type=Path), default=RUN, hidden=True)
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE, hidden=True)
@click.pass_context
def setup(ctx: click.Context, /, *, plan: Path, dry_run: bool, as_json: bool, yes: bool, service: bool, no_start: bool,
          run_dir: Path, state_dir: Path, **said: Any) -> None:  # noqa: ANN401
    """Make this box the phones' gateway: finds radios and uplinks, says what it takes and why, and starts.

    In a terminal, without flags, it asks on one screen. Passphrase and QR code are shown once, at the end. Take it all
    back with: consentry off --remove
    """
    if not dry_run:
        need_root("setup")
    from firewall.box import found, install  # noqa: PLC0415
    from firewall.box.choose import choose, wishes_from  # noqa: PLC0415
    from firewall.box.plan import PlanError  # noqa: PLC0415

    if said["passphrase"] == "-":  # noqa: S105  a word of ours
        said["passphrase"] = sys.stdin.readline().rstrip("\r\n")
    here = found.look()
    before = _before(plan)
    wishes = wishes_from({word: value for word, value in said.items() if value is not None})
    if not (yes or dry_run or as_json or _flags(said)) and sys.stdin.isatty() and sys.stdout.isatty():
        answers = _asked(here, before)
        if answers is None:
            click.echo("nothing was changed", err=True)
            ctx.exit(REFUSED)
        service = service or answers.pop("service", False)
        wishes = wishes_from(answers)
    try:
        choice = choose(here, wishes, os.urandom, before)
        _heard(choice.plan, said)
    except PlanError as error:
        click.echo(f"setup: {error}", err=True)
        ctx.exit(REFUSED)
    files = install.files(choice.plan, here.managers, plan)
    for sentence in choice.why:
        click.echo(sentence, err=True)
    if dry_run or as_json:
        files_too = [*files, *(_of_service(choice.plan) if service else ())]
        _show(choice, files_too, here.uplink, run_dir, state_dir, as_json=as_json)
    if dry_run:
        return
    try:
        install.write(files)
        click.echo(f"written: {', '.join(str(file.path) for file in files)}", err=True)
        if said_so := install.unblock(choice.plan, state_dir):
            click.echo(said_so, err=True)
        came_up = no_start or _begin(choice.plan, plan, before, run_dir, state_dir, service=service)
    except OSError as error:
        click.echo(f"setup: {error.filename or plan}: {error.strerror}", err=True)
        ctx.exit(REFUSED)
    except KeyboardInterrupt:
        click.echo("stopped half-way. Once more: sudo consentry setup; all back: sudo consentry off --remove", err=True)
        ctx.exit(REFUSED)
    if choice.plan.wifi is not None and not as_json:
        show_wifi(choice.plan.wifi)
    ctx.exit(0 if came_up else REFUSED)


def _flags(said: dict[str, Any]) -> list[str]:
    """What its owner said on the command line: --enforce and --channel 0 too."""
    return [word for word, value in said.items() if value not in {None, ""} and (word != "ssh" or value)]


def _heard(plan: Plan, said: dict[str, Any]) -> None:
    """Who names a network wants one. Raises PlanError where there will be none."""
    from firewall.box.plan import PlanError  # noqa: PLC0415

    words = [word for word in _flags(said) if word in {"ssid", "passphrase", "security", "band", "channel"}]
    if words and plan.wifi is None:
        raise PlanError(f"--{words[0]}: mode {plan.mode} makes no Wi-Fi of its own; --mode ap does, with a radio")


def _before(file: Path) -> Plan | None:
    """The plan that stands; one that cannot be read is written anew."""
    from firewall.box.machine import read_plan  # noqa: PLC0415
    from firewall.box.plan import PlanError  # noqa: PLC0415

    if not file.exists():
        return None
    try:
        return read_plan(file)
    except PlanError as error:
        click.echo(f"{error}; it is written anew", err=True)
        return None


def _asked(here: Found, before: Plan | None) -> dict[str, Any] | None:
    """The wizard is the TUI's: a program of its own, which gets what was found and gives answers."""
    from firewall.box.plan import render  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="consentry-setup-") as folder:
        told, answers = Path(folder, "found.json"), Path(folder, "answers.json")
        plan: dict[str, Any] = {}
        if before is not None:
            plan = {"plan": render(before), "mode": before.mode, "radio": before.port, "watch": before.watch}
        if before is not None and before.wifi is not None:
            wifi = before.wifi
            plan |= {"ssid": wifi.ssid, "country": wifi.country, "band": wifi.band, "channel": wifi.channel}
        told.write_text(json.dumps({"found": asdict(here), "before": plan}), "utf-8")
        subprocess.call([sys.executable, "-P", "-m", "tui.setup", str(told), str(answers)])
        found: dict[str, Any] | None = json.loads(answers.read_text("utf-8")) if answers.exists() else None
        return found


def _show(
    choice: Choice, files: list[File], uplink: str, run_dir: Path, state_dir: Path, *, as_json: bool
) -> None:
    """Everything that would be: files, what the keeper writes and runs, and the gate's own rules.

    `uplink`: who has the default route now.
    """
    from firewall.box import bridge, keeper  # noqa: PLC0415

    plan = choice.plan
    generated = keeper.configs(plan, run_dir, state_dir)
    if as_json:
        told = {part.name: getattr(plan, part.name) for part in fields(plan) if part.name != "wifi"}
        told |= {"subnet4": str(plan.subnet4), "subnet6": str(plan.subnet6)}
        wifi = asdict(plan.wifi) if plan.wifi else None
        click.echo(json.dumps({
            "plan": told | {"wifi": wifi}, "why": list(choice.why), "ip": bridge.make(plan),
            "files": {str(file.path): file.text for file in files} | generated,
            "sysctl": bridge.switches(plan), "nft": bridge.table(plan),
        }, ensure_ascii=False))
        return
    for file in files:
        click.echo(f"# {file.path} (mode {file.mode:04o})\n{file.text}")
    for name, text in generated.items():
        click.echo(f"# {name} (mode 0600, written at each start)\n{text}")
    click.echo("# commands\n" + "\n".join(f"ip {line}" for line in bridge.make(plan)))
    if plan.mode == "inline":
        click.echo("\n".join(f"ip {line}" for line in bridge.plug_in(plan, plan.port)))
    click.echo("\n# /proc/sys/net\n" + "\n".join(f"{name} = {value}" for name, value in bridge.switches(plan).items()))
    click.echo(f"\n# nft\n{bridge.table(plan)}")
    wan = uplink if plan.wan == "auto" and uplink else plan.wan
    click.echo(f"# the gate between {plan.lan} and the uplink ({wan})\n{_gate(plan, wan)}")


def _gate(plan: Plan, wan: str) -> str:
    from firewall.backends import BackendError  # noqa: PLC0415
    from firewall.backends.linux.preview import preview  # noqa: PLC0415

    try:
        return preview(plan.lan, wan, ssh=plan.ssh)
    except PermissionError:
        return "# its rules depend on what the kernel can: to see them, ask again as root"
    except (OSError, BackendError) as error:
        return f"# its rules cannot be told: {error}"


def _of_service(plan: Plan) -> Iterator[File]:
    """What `--service` writes besides."""
    from firewall.box.install import File  # noqa: PLC0415
    from firewall.box.service import Service  # noqa: PLC0415
    from firewall.cli.service import sides  # noqa: PLC0415

    for path, text, mode in Service(_tell).files(*sides(plan)):
        yield File(path, text, mode)


def _begin(plan: Plan, file: Path, before: Plan | None, run_dir: Path, state_dir: Path, *, service: bool) -> bool:
    """Start it all, or again; say what came up. Whether everything did."""
    from firewall import start  # noqa: PLC0415
    from firewall.box import starting  # noqa: PLC0415
    from firewall.box.machine import Network  # noqa: PLC0415
    from firewall.box.service import Service  # noqa: PLC0415
    from firewall.cli.gate import choose_mode  # noqa: PLC0415

    settings = starting.settings_of(plan, file, run_dir, state_dir)
    if not (state_dir / "state.db").exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        choose_mode(state_dir, watch=plan.watch)
    starting.end(run_dir)
    start.end(settings)
    if before is not None and before.network != plan.network:  # the gate's own rules stand, and are closed
        Network(before, run_dir).remove()
    if service or Service(_tell).installed:
        if subprocess.call([sys.executable, "-P", "-m", "firewall.cli", "service", "install"]):
            return False
        return _decides(start.status_of(settings.socket)) & starting.settled(run_dir, 20.0, _tell)
    try:
        starting.start(settings, plan.lan)
        status = start.start(settings)
    except (starting.NoNetworkError, start.NotStartedError) as error:
        click.echo(f"it did not come up: {error}", err=True)
        return False
    return _decides(status) & starting.settled(run_dir, 20.0, _tell)


def _decides(status: dict[str, Any] | None) -> bool:
    """Whether the gate does, and what helps: one that was locked before a removal still is."""
    told = status or {"state": "does not answer", "reason": ""}
    helps = "\n         look at the reason, then: sudo consentry resume" if told["state"] == "LOCKED" else ""
    _tell(f"gate     {told['state']} {told['reason']}".rstrip() + (helps if status else "; journalctl -u consentry"))
    return bool(status) and not helps


def _tell(line: str) -> None:
    click.echo(line, err=True)


def with_network(
    file: Path, run_dir: Path, state_dir: Path, more: dict[str, Any], *, watch: bool | None
) -> tuple[Settings, bool | None]:
    """The settings of the gateway that setup made, with its network up; and how it begins at its first start."""
    from firewall.box import starting  # noqa: PLC0415
    from firewall.box.machine import read_plan  # noqa: PLC0415
    from firewall.box.plan import PlanError  # noqa: PLC0415

    try:
        plan = read_plan(file)
        settings = starting.settings_of(plan, file, run_dir, state_dir, **more)
        if "NOTIFY_SOCKET" not in os.environ:  # to systemd the keeper is a service of its own
            starting.start(settings, plan.lan)
    except (PlanError, starting.NoNetworkError) as error:
        click.echo(f"the phones' network does not come up: {error}", err=True)
        sys.exit(REFUSED)
    if watch is None and not (state_dir / "state.db").exists():
        watch = plan.watch
    return settings, watch


def of_setup(file: Path, run_dir: Path) -> Settings | None:
    """The settings of the gateway that setup made and nobody has started since the machine has; None without setup."""
    from firewall.box import starting  # noqa: PLC0415
    from firewall.box.machine import read_plan  # noqa: PLC0415
    from firewall.box.plan import PlanError  # noqa: PLC0415

    try:
        return starting.settings_of(read_plan(file), file, run_dir, STATE) if file.exists() else None
    except PlanError as error:
        click.echo(str(error), err=True)
        sys.exit(REFUSED)


def put_network_back(settings: Settings) -> None:
    """Forwarding and the gate's rules first, then what the keeper made, then the files of setup."""
    from firewall.backends import BackendError, open_backend  # noqa: PLC0415
    from firewall.box import install, starting  # noqa: PLC0415
    from firewall.box.machine import Network, read_plan  # noqa: PLC0415
    from firewall.box.places import IN_FORCE  # noqa: PLC0415
    from firewall.box.plan import PlanError  # noqa: PLC0415
    from firewall.box.service import Service  # noqa: PLC0415

    run_dir, file = Path(settings.run_dir), Path(settings.plan)
    if Service(_tell).installed:
        subprocess.call([sys.executable, "-P", "-m", "firewall.cli", "service", "remove"])
    starting.end(run_dir)
    network = None
    for written in (run_dir / IN_FORCE, file):  # the plan that stands; the other may have been edited since
        with suppress(PlanError):
            network = network or Network(read_plan(written), run_dir)
    if network is None:
        click.echo(f"{file} cannot be read; what the network was before may not come back", err=True)
    try:
        open_backend(settings).remove()
    except BackendError as error:
        click.echo(str(error), err=True)
    if network is not None:
        network.remove()
    starting.tidy(run_dir)
    install.block_again(Path(settings.state_dir))
    for path in install.remove(file):
        click.echo(f"removed {path}", err=True)


def show_wifi(wifi: Wifi) -> None:
    """Once, on the terminal of whoever set it up: the code last and small, for a camera needs all of it on 24 lines."""
    import segno  # noqa: PLC0415

    from firewall.box.hostapd import qr_text  # noqa: PLC0415

    picture = io.StringIO()
    segno.make(qr_text(wifi), error="l").terminal(out=picture, border=2, compact=True)
    click.echo(f"\nnetwork     {wifi.ssid}\npassphrase  {wifi.passphrase}\n{picture.getvalue().rstrip()}")


@click.command(hidden=True)
@click.option("--plan", type=click.Path(path_type=Path), default=PLAN_FILE)
@click.option("--run-dir", type=click.Path(path_type=Path), default=RUN)
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE)
def keeper(*, plan: Path, run_dir: Path, state_dir: Path) -> None:
    """Hold the phones' network up, in the foreground (for services)."""
    need_root("keeper")
    words = ["-P", "-m", "firewall.box.keeper", str(plan), str(run_dir), str(state_dir)]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606  a name of its own in the list of processes


COMMANDS = (setup, keeper)
