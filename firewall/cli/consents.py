"""What the phones ask for, and what their owners let them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from firewall import control
from firewall.cli.common import as_json, connect, show
from firewall.consents import Life
from firewall.export import begun
from firewall.lives import WORDS
from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SPANS = {"15m": 900, "1h": 3_600, "4h": 14_400, "12h": 43_200, "1d": 86_400, "7d": 7 * 86_400}
LONGEST_FILE = 1 << 20  # bytes
LONGEST_LINE = 4_096  # characters
AT_ONCE = 100  # consents of one request


def complete_phones(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of phones, and `group:NAME`, for the shell; none while no gateway answers."""
    told = _told(ctx, "vocabulary").done
    words = [*told.get("phones", ()), *(f"group:{group}" for group in told.get("groups", ()))]
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def complete_subjects(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What is asked for now first, then every service."""
    asked = [width for row in _told(ctx, "asks").items for width in row["widths"]]
    services = [{"kind": "service", "what": one["id"], "title": one["title"]} for one in _services(ctx)]
    found = {f"{one['kind']}:{one['what']}": one["title"] for one in [*asked, *services]}
    return [CompletionItem(word, help=inert(title)) for word, title in found.items() if word.startswith(incomplete)]


def complete_asks(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _numbered(_told(ctx, "asks"), incomplete)


def complete_consents(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _numbered(_told(ctx, "consents"), incomplete) or complete_phones(ctx, _param, incomplete)


def _numbered(reply: control.Reply, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(str(row["id"]), help=inert(f"{row['phone']}: {row['title']}"))
        for row in reply.items if str(row["id"]).startswith(incomplete)
    ]


def _services(ctx: click.Context) -> Sequence[dict[str, Any]]:
    return list(_told(ctx, "vocabulary").done.get("services", ()))


def _told(ctx: click.Context, verb: str) -> control.Reply:
    """Who waits for TAB wants no complaints."""
    try:
        with connect(ctx.find_root()) as client:
            return client.ask(verb)
    except (control.NoGateway, control.Refused):
        return control.Reply([], {})


who = click.argument("phone", metavar="PHONE|group:NAME", shell_complete=complete_phones)
subject_argument = click.argument("subject", metavar="service:ID|name:HOST|addr:ADDR", shell_complete=complete_subjects)
question = click.argument("number", metavar="ID", type=int, shell_complete=complete_asks)


# -- questions ---------------------------------------------------------------------------------------------------------


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Also those that were put off.")
@as_json
@click.pass_context
def asks(ctx: click.Context, *, everything: bool, as_json: bool) -> None:
    """What phones tried, rules refused, and nobody has answered; the newest first.

    Answer with `consents grant PHONE SUBJECT`, `asks later ID` or `asks never ID`. What nobody answers stays refused.
    """
    if ctx.invoked_subcommand is not None:
        return
    with connect(ctx) as client:
        reply = client.ask("asks", all=everything)
    show(reply.items, ask_line, as_json=as_json)
    if not reply.items and not as_json:
        click.echo("nothing is asked", err=True)
    if reply.done["uncounted"]:
        click.echo(f"and {reply.done['uncounted']} tries for which there is no place among the questions", err=True)


def ask_line(row: dict[str, Any]) -> str:
    at = time.strftime("%d %b %H:%M", time.localtime(row["last"]))
    names = ", ".join(f"{one['name']} {one['count']}x" for one in row["names"][:3]) or row["addr"]
    more = f" and {row['more']} more" if row["more"] else ""
    country = row["place"]["country"] or "--"
    later = "  (put off)" if row["put_off"] else ""
    return inert(
        f"{row['id']:>4}  {at}  {row['phone']:<14} {row['count']:>6}x  {row['kind']}:{row['what']:<28} {country:<3}"
        f"{row['readable']:<22} {names}{more}{later}"
    )


@asks.command("later")
@question
@click.option("--for", "span", type=click.Choice(list(SPANS)), default="1h", show_default=True)
@as_json
@click.pass_context
def asks_later(ctx: click.Context, number: int, span: str, *, as_json: bool) -> None:
    """Not now: the question comes back, and what it is about stays refused until then."""
    with connect(ctx) as client:
        done = client.ask("asks.later", id=number, seconds=SPANS[span]).done
    click.echo(json.dumps(done) if as_json else f"question {number} comes back at {_moment(done['put_off'])}")


@asks.command("never")
@question
@click.argument("subject", metavar="[SUBJECT]", required=False, shell_complete=complete_subjects)
@click.option("--for", "whom", type=click.Choice(("phone", "group", "all")), default="phone", show_default=True)
@as_json
@click.pass_context
def asks_never(ctx: click.Context, number: int, subject: str | None, whom: str, *, as_json: bool) -> None:
    """Block it by a rule of yours: no question any more. `rules undo` takes that back."""
    with connect(ctx) as client:
        done = client.ask("asks.never", id=number, **{"for": whom}, **({"subject": subject} if subject else {})).done
    click.echo(json.dumps(done, ensure_ascii=False) if as_json else inert(f"{done['words']}  (rule {done['id']})"))


# -- consents ----------------------------------------------------------------------------------------------------------


@click.group(invoke_without_command=True)
@click.pass_context
def consents(ctx: click.Context) -> None:
    """What phones may for a while because their owner said so: given, seen, taken back. Without a command: the list."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(consents_list, ended=False, as_json=False)


@consents.command("list")
@click.option("--ended", is_flag=True, help="Also those that are over: when, why, and by whom.")
@as_json
@click.pass_context
def consents_list(ctx: click.Context, *, ended: bool, as_json: bool) -> None:
    """Those in force, with what is left of them."""
    with connect(ctx) as client:
        rows = client.ask("consents", ended=ended).items
    if not rows and not as_json:
        click.echo("no consent is in force", err=True)
    show(rows, consent_line, as_json=as_json)


def consent_line(row: dict[str, Any]) -> str:
    whose = row["phone"] if row["slot"] else f"group:{row['group']}"
    by = f"{row['who']}, {_moment(row['given'])}"
    return inert(
        f"{row['id']:>4}  {whose:<14} {row['kind']}:{row['what']:<28} {row['life']:<9} {_left(row):<22}"
        f"{row['flows']:>5} flows {row['up']:>10,} B up  {by}"
    )


def _left(row: dict[str, Any]) -> str:
    if row["state"] == "ended":
        return f"ended: {row['why']}"
    if row["state"] == "suspended":
        return "suspended"
    if row["left"] is None:
        return "until revoked" if row["life"] == "revoked" else "while its flow lasts"
    minutes, seconds = divmod(int(row["left"]), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min left" if hours else f"{minutes} min {seconds:02} s left"


@consents.command("grant")
@who
@subject_argument
@click.option("--for", "life", type=click.Choice([str(life) for life in Life]), required=True, help="; ".join(
    f"{life}: {words}" for life, words in WORDS.items() if str(life) not in words
))
@click.option("--ask", type=int, metavar="ID", help="The question that this answers.", shell_complete=complete_asks)
@click.option("--preview", is_flag=True, help="Say what it would open, and what would still be refused; give nothing.")
@as_json
@click.pass_context
def consents_grant(
    ctx: click.Context, phone: str, subject: str, life: str, ask: int | None, *, preview: bool, as_json: bool
) -> None:
    """Let PHONE do what rules ask about: consentry consents grant phone1 service:xiaomi-account --for 1h

    It answers `ask`, never `block`; rules that would still refuse some of it are said.
    """
    args: dict[str, Any] = _whose(phone) | {"subject": subject} | ({} if ask is None else {"ask": ask})
    with connect(ctx) as client:
        seen = client.ask("consents.preview", **args).done
        done = seen if preview else client.ask("consents.grant", **args, life=life, screen="cli").done
    if as_json:
        click.echo(json.dumps(done, ensure_ascii=False))
        return
    click.echo(inert(done["words"]))
    if preview:
        for line in seen["includes"]:
            click.echo(inert(f"  {line}"))
    for line in seen["refused"]:
        click.echo(inert(f"  but {line}"), err=not preview)


@consents.command("revoke")
@click.argument("which", metavar="ID | PHONE SUBJECT", nargs=-1, required=True, shell_complete=complete_consents)
@as_json
@click.pass_context
def consents_revoke(ctx: click.Context, which: tuple[str, ...], *, as_json: bool) -> None:
    """Take a consent back: what passes because of it is cut at once."""
    args: dict[str, Any]
    if len(which) == 1 and which[0].isdecimal():
        args = {"id": int(which[0])}
    elif len(which) == 2:
        args = _whose(which[0]) | {"subject": which[1]}
    else:
        raise click.UsageError("the ID of a consent, or PHONE and SUBJECT")
    with connect(ctx) as client:
        reply = client.ask("consents.revoke", **args)
    show(reply.items, consent_line, as_json=as_json)
    if not as_json:
        cut = reply.done["cut"]
        click.echo(f"{cut} live flow{'s' * (cut != 1)} cut", err=True)
    if reply.done["trouble"]:
        click.echo(reply.done["trouble"], err=True)


@consents.command("export")
@click.argument("file", type=click.Path(allow_dash=True, dir_okay=False), default="-")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@as_json
@click.pass_context
def consents_export(ctx: click.Context, file: str, *, force: bool, as_json: bool) -> None:
    """Write those in force as JSON Lines, for `consents import` here or on another gate; - is the standard output."""
    with connect(ctx) as client:
        rows = client.ask("consents.export").items
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if file == "-":
        click.echo(lines, nl=False)
        return
    with begun(Path(file), force=force) as out:
        out.write(lines)
    if as_json:
        click.echo(json.dumps({"written": file, "count": len(rows)}))
    else:
        click.echo(f"written: {file}, {len(rows)} consents", err=True)


@consents.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@as_json
@click.pass_context
def consents_import(ctx: click.Context, file: Path, *, as_json: bool) -> None:
    """Give what an export holds: all of it that can be given, or nothing if FILE is no export."""
    objects = _read(file)
    chunks = [(at, objects[at : at + AT_ONCE]) for at in range(0, len(objects), AT_ONCE)]
    with connect(ctx) as client:
        for at, some in chunks:
            client.ask("consents.import", objects=some, line=at + 1, check=True)
        replies = [client.ask("consents.import", objects=some, line=at + 1) for at, some in chunks]
    show([row for reply in replies for row in reply.items], consent_line, as_json=as_json)
    for reply in replies:
        for line in reply.done["refused"]:
            click.echo(inert(line), err=True)


def _read(file: Path) -> list[Any]:
    """Raises Refused."""
    try:
        with click.open_file(str(file), "rb") as opened:
            data = opened.read(LONGEST_FILE + 1)
    except OSError as error:
        raise control.Refused(f"{file}: {error.strerror}") from None
    if len(data) > LONGEST_FILE:
        raise control.Refused(f"{file}: larger than {LONGEST_FILE >> 20} MiB is no export; nothing was imported")
    return list(_objects(file, data))


def _objects(file: Path, data: bytes) -> Iterator[Any]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            if len(line) > LONGEST_LINE:
                raise ValueError(f"longer than {LONGEST_LINE} bytes")
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            what = f"{file}, line {number}: {error}"
            remedy = "an export has one JSON object a line: consentry consents export"
            raise control.Refused(inert(f"{what}; nothing was imported ({remedy})")) from None


def _whose(word: str) -> dict[str, Any]:
    return {"group": word.removeprefix("group:")} if word.startswith("group:") else {"phone": word}


def _moment(at: float) -> str:
    return time.strftime("%d %b %H:%M", time.localtime(at))


# -- the clock ---------------------------------------------------------------------------------------------------------


@click.group()
def clock() -> None:
    """The gate's clock: durations that were running when the machine was switched off need one that is right."""


@clock.command("trust")
@as_json
@click.pass_context
def clock_trust(ctx: click.Context, *, as_json: bool) -> None:
    """Say that the clock is right, until the machine starts again: suspended consents go on, or are over."""
    with connect(ctx) as client:
        done = client.ask("clock.trust").done
    if as_json:
        click.echo(json.dumps(done))
        return
    click.echo(f"it is {time.strftime('%a %d %b %Y %H:%M:%S', time.localtime(done['wall']))}, and that is believed")
    if done["resumed"]:
        click.echo(f"{done['resumed']} suspended consents are counted on")


COMMANDS = (asks, consents, clock)
