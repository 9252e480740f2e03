"""Making a service of it: systemd's units and the lock that stands before the network."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from firewall.backends.linux import marks
from firewall.box import units
from firewall.box.machine import read_plan
from firewall.box.plan import BRIDGE, ONE_ARMED, Plan, PlanError
from firewall.box.service import Service, ServiceError
from firewall.cli.common import REFUSED, need_root


@click.group()
def service() -> None:
    """Let systemd start the gate at every boot, behind a lock that is there before the network is.

    The lock alone is put there while there is no plan (`consentry setup` writes one): it lets nothing of the phones
    pass that no gate has marked.
    """


@service.command()
@click.option("--lock-only", is_flag=True, help="The lock alone begins, also where there is a plan.")
def install(*, lock_only: bool) -> None:
    """Put the lock and the units there, and begin: the lock now, and with a plan the gate."""
    need_root("service install")
    plan = planned()
    try:
        Service(_tell).install(*sides(plan), start=plan is not None and not lock_only)
    except ServiceError as error:
        click.echo(str(error), err=True)
        sys.exit(REFUSED)
    if plan is None:
        click.echo("locked. No plan yet, so no gate: sudo consentry setup")


@service.command()
def remove() -> None:
    """End the services, forget them, and open the lock.

    What the gate has put into the kernel stays: consentry off --remove.
    """
    need_root("service remove")
    try:
        Service(_tell).remove()
    except ServiceError as error:
        click.echo(str(error), err=True)
        sys.exit(REFUSED)


@service.command("print")
@click.argument("name", required=False, type=click.Choice([*units.UNITS, "lock.sh"]))
def print_(name: str | None) -> None:
    """Show the units and the lock's script as they would be written. Nothing is done."""
    texts = units.units(str(Path(sys.prefix, "bin", "consentry")))
    texts["lock.sh"] = units.lock(marks.PERMIT, *sides(planned()))
    for each in [name] if name else texts:
        click.echo(texts[each] if name else f"# {each}\n{texts[each]}")


def planned() -> Plan | None:
    """The owner's plan; None if there is none. One that cannot be read ends the command."""
    file = Path(units.PLAN)
    try:
        return read_plan(file) if file.exists() else None
    except PlanError as error:
        click.echo(str(error), err=True)
        sys.exit(REFUSED)


def sides(plan: Plan | None) -> tuple[str, list[str]]:
    """The phones' side, and what is made part of it. One-armed, the wire is also the way out."""
    if plan is None:
        return BRIDGE, []
    return plan.lan, [] if plan.mode == ONE_ARMED else [plan.port]


def _tell(text: str) -> None:
    click.echo(text, err=True)


COMMANDS = (service,)
