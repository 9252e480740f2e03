"""The command line's consents and questions, against a server with the real verbs, rules, state and edits."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from owners import ACCOUNT, XIAOMI, House

from firewall import control, granting
from firewall.cli import main
from firewall.cli.consents import LONGEST_FILE
from firewall.control_server import Server
from firewall.dryrun import DryRun
from firewall.edits import Edits, Known
from firewall.inputs import Author, PolicyReplaced
from firewall.verbs.consents import ConsentsVerbs
from firewall.verbs.rules import RulesVerbs
from rules.observation import Place, Source
from rules.store import compiled

NASTY = "\u202emoc.elpmaxe[red]\x1b[31m"


class Gate:
    """A house with a socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.house = House(path)
        self.recorded: list = []
        file = path / "rules.toml"
        file.write_text("")
        house = self.house
        edits = Edits(file, house.state, house.deliver, Known(list, set, set, set), DryRun(path / "history.db"))
        self.app = SimpleNamespace(
            gateway=house.gateway, granting=house.granting, inbox=house.inbox, now=house.now, edits=edits, believe_clock=self.believe,
            recorder=SimpleNamespace(record=self.recorded.extend, hits={}), settings=SimpleNamespace(rules_file=file),
        )
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(edits.load(Author("start")))
        self.server = Server(path / "s", ConsentsVerbs(self.app).verbs() | RulesVerbs(self.app).verbs(), "0", lambda _: [])
        self.loop.run_until_complete(self.server.start())
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def believe(self) -> None:
        self.house.state.set_word("clock", "b")
        self.house.time = self.house.time._replace(trusted=True)

    def run(self, *words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, ["--socket", str(self.path / "s"), *words], input=stdin)

    def rows(self, *words: str) -> list[dict]:
        told = self.run(*words, "--json")
        assert told.exit_code == 0, told.output
        return [json.loads(line) for line in told.stdout.splitlines()]

    def tries(self, *args, **more) -> None:
        self.loop.call_soon_threadsafe(lambda: self.house.tries(*args, **more))
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def gate(tmp_path: Path):
    made = Gate(tmp_path)
    yield made
    made.close()


def test_from_the_question_to_the_consent_and_back(gate: Gate) -> None:
    gate.tries("anna", ACCOUNT, addr=XIAOMI, times=3, place=Place("CN", "CN", 45_062, "Netease"), source=Source.HTTP)
    (asked,) = gate.rows("asks")
    assert (asked["phone"], asked["kind"], asked["what"], asked["title"]) == ("anna", "service", "xiaomi-account", "Xiaomi account and messaging")
    assert (asked["count"], asked["more"], asked["names"], asked["addr"], asked["readable"]) == (3, 0, [{"name": ACCOUNT, "count": 3}], XIAOMI, "cleartext HTTP")
    assert (asked["place"]["country"], asked["place"]["operator"], asked["put_off"]) == ("CN", "", None)
    assert [width["kind"] for width in asked["widths"]] == ["service", "name", "name", "addr"]
    assert "3x" in gate.run("asks").stdout
    told = gate.run("consents", "grant", "anna", "service:xiaomi-account", "--for", "1h", "--ask", str(asked["id"]))
    assert told.exit_code == 0, told.output
    assert told.stdout == "consent 1 opens service Xiaomi account and messaging for phone anna, for 1 hour\n"
    assert gate.rows("asks") == []
    (given,) = gate.rows("consents", "list")
    assert (given["id"], given["phone"], given["state"], given["life"], given["left"], given["screen"]) == (1, "anna", "active", "1h", 3_600.0, "cli")
    assert given["ends"] == gate.house.time.wall + 3_600
    assert given["uid"] == 0
    again = gate.run("consents", "grant", "anna", "service:xiaomi-account", "--for", "15m")
    assert (again.exit_code, "has consent 1" in again.stderr, "revoke 1" in again.stderr) == (1, True, True)
    assert "consent 1 is for that already, 60 min left: a later end prolongs it" in gate.run("consents", "grant", "anna", "service:xiaomi-account", "--for", "12h", "--preview").stdout
    longer = gate.run("consents", "grant", "anna", "service:xiaomi-account", "--for", "12h")
    assert longer.stdout == "consent 1 opens service Xiaomi account and messaging for phone anna, for 12 hours from now on: it was there already\n"
    assert [(row["id"], row["life"], row["left"]) for row in gate.rows("consents", "list")] == [(1, "12h", 43_200.0)]
    told = gate.run("consents", "revoke", "anna", "service:xiaomi-account")
    assert (told.exit_code, told.stderr) == (0, "0 live flows cut\n")
    assert gate.rows("consents", "list") == []
    (ended,) = gate.rows("consents", "list", "--ended")
    assert (ended["state"], ended["why"], ended["ended"]) == ("ended", f"revoked by {ended['ender']}", gate.house.time.wall)
    assert gate.run("consents", "revoke", "1").exit_code == 1
    gate.tries("anna", ACCOUNT, addr=XIAOMI)
    assert gate.rows("asks")[0]["count"] == 4


@pytest.mark.parametrize(("words", "status", "said"), [
    (["consents", "grant", "nobody", "name:a.example", "--for", "1h"], 1, "there is no phone 'nobody'; there are: anna, guest, tv"),
    (["consents", "grant", "group:hoem", "name:a.example", "--for", "1h"], 1, "did you mean home?"),
    (["consents", "grant", "anna", "service:xiaomi-acount", "--for", "1h"], 1, "did you mean xiaomi-account?"),
    (["consents", "grant", "anna", "name:*.example", "--for", "1h"], 2, "is written 'example' here"),
    (["consents", "grant", "anna", "xiaomi", "--for", "1h"], 2, "write service:ID"),
    (["consents", "grant", "anna", "addr:1.2.3.4/24", "--for", "1h"], 2, "did you mean 1.2.3.0/24?"),
    (["consents", "grant", "anna", "name:a.example", "--for", "ever"], 2, "is not one of 'once', '15m'"),
    (["consents", "grant", "anna", "name:a.example", "--for", "1h", "--ask", "9"], 1, "no question 9"),
    (["consents", "revoke", "9"], 1, "no consent 9 in force"),
    (["consents", "revoke", "anna", "name:a.example"], 1, "no consent of that phone or group is for name:a.example"),
    (["consents", "revoke", "a", "b", "c"], 2, "the ID of a consent, or PHONE and SUBJECT"),
    (["asks", "later", "9"], 1, "no question 9"), (["asks", "never", "9"], 1, "no question 9"), (["asks", "never", "x"], 2, "not a valid integer"),
])
def test_what_cannot_be_is_said_with_its_remedy_and_changes_nothing(gate: Gate, words: list[str], status: int, said: str) -> None:
    told = gate.run(*words)
    assert (told.exit_code, said in told.stderr) == (status, True), told.output
    assert gate.rows("consents", "list", "--ended") == []
    assert gate.house.state.consents() == ()


def test_the_preview_says_what_it_includes_and_what_would_still_refuse(gate: Gate) -> None:
    assert gate.run("consents", "grant", "anna", "name:a.example", "--for", "once", "--preview").stdout.startswith("opens a.example and everything below for phone anna; no rule asks")
    asyncio.run_coroutine_threadsafe(gate.app.edits.edit({"act": "add", "text": "block country:CN"}, Author("anna")), gate.loop).result(60)
    wide = gate.run("consents", "grant", "anna", "addr:0.0.0.0/0", "--for", "once", "--preview").stdout
    assert "no rule asks about all of it, but it answers each that asks about some" in wide
    told = gate.run("consents", "grant", "anna", "service:xiaomi-account", "--for", "1h", "--preview")
    assert "api.account.xiaomi.com and everything below" in told.stdout
    assert "Account and messaging share these hosts" in told.stdout
    assert "(block country:CN) still refuses everything in China" in told.stdout
    assert gate.rows("consents", "list") == []
    told = gate.run("consents", "grant", "anna", "service:xiaomi-account", "--for", "1h")
    assert "(block country:CN) still refuses everything in China" in told.stderr


def test_what_is_given_to_the_unnamed_says_whose_it_is(gate: Gate) -> None:
    for more in (["--preview"], []):
        told = gate.run("consents", "grant", "group:strict", "name:c.example", "--for", "15m", *more).stdout
        assert "for group strict (every phone that nobody has named, and those to come)" in told
    assert "(every phone" not in gate.run("consents", "grant", "group:home", "name:c.example", "--for", "15m").stdout


def test_the_answer_to_a_question_is_for_its_phone(gate: Gate) -> None:
    gate.tries("anna", ACCOUNT)
    for whom in ("tv", "group:strict"):
        told = gate.run("consents", "grant", whom, "service:xiaomi-account", "--for", "1h", "--ask", "1")
        assert (told.exit_code, "question 1 is of phone anna, not of" in told.stderr) == (1, True)
    assert gate.run("consents", "grant", "anna", "name:a.example", "--for", "1h", "--ask", "1").exit_code == 0
    assert len(gate.rows("asks")) == 1  # that is no answer to it
    assert gate.run("consents", "grant", "group:home", "name:xiaomi.com", "--for", "1h", "--ask", "1").exit_code == 0
    assert gate.rows("asks") == []


def test_what_was_tried_last_is_tried_with_each_answer_and_one_that_is_enough_is_offered_first(gate: Gate) -> None:
    """The phone claims a name over a listed address: a consent for that name would not do (decisions.md 2)."""
    edit = gate.app.edits.edit({"act": "add", "text": f"ask addr:{XIAOMI}"}, Author("anna"))
    asyncio.run_coroutine_threadsafe(edit, gate.loop).result(60)
    gate.tries("anna", "claimed.example", addr=XIAOMI, answered=False)
    (asked,) = gate.rows("asks")
    assert asked["widths"][0] == {"kind": "addr", "what": XIAOMI, "title": XIAOMI}
    told = gate.run("consents", "grant", "anna", "name:claimed.example", "--for", "1h", "--preview", "--json")
    assert "unproven: what question 1 tried last is still refused" in json.loads(told.stdout)["refused"][-1]
    assert json.loads(gate.run("consents", "grant", "anna", f"addr:{XIAOMI}", "--for", "1h", "--preview", "--json").stdout)["refused"] == []


def test_not_now(gate: Gate) -> None:
    gate.tries("anna", ACCOUNT)
    told = gate.run("asks", "later", "1", "--for", "15m", "--json")
    assert json.loads(told.stdout) == {"put_off": gate.house.time.wall + 900}
    assert gate.rows("asks") == []
    assert gate.rows("asks", "--all")[0]["put_off"] == gate.house.time.wall + 900
    assert gate.recorded[-1].text == "put off question 1 for 15 min: anna wants service Xiaomi account and messaging"
    gate.tries("anna", ACCOUNT)
    assert gate.rows("asks") == []  # trying on does not bring it back
    gate.house.start()  # nor does a restart
    assert gate.house.waiting == []
    gate.house.wait(900)
    assert len(gate.house.waiting) == 1


@pytest.mark.parametrize(("more", "rule"), [
    ([], "block service:xiaomi-account phone:anna"), (["--for", "group"], "block service:xiaomi-account group:home"), (["--for", "all"], "block service:xiaomi-account"),
    ([f"name:{ACCOUNT}"], f"block name:{ACCOUNT} phone:anna"), (["addr:198.51.100.9", "--for", "all"], "block addr:198.51.100.9"),
])
def test_never(gate: Gate, more: list[str], rule: str) -> None:
    gate.tries("anna", ACCOUNT)
    told = gate.run("asks", "never", "1", *more, "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["revision"] == 2
    (mine,) = [f"{row['action']} {row['match']}" for row in gate.rows("rules", "list") if row["mine"]]
    assert mine == rule
    assert gate.rows("asks", "--all") == []
    assert "has been answered already: rule" in gate.run("asks", "later", "1").stderr
    gate.tries("anna", ACCOUNT)
    assert gate.rows("asks") == []  # blocked, not asked


def test_never_of_a_name_that_no_rule_can_have(gate: Gate) -> None:
    """Phones may say such a thing."""
    policy = compiled("rules.toml", '[[rule]]\naction = "ask"\nmatch = "addr:198.51.100.9"\n', 2)
    gate.loop.call_soon_threadsafe(lambda: gate.house.deliver((PolicyReplaced(policy, Author("anna")),)))
    gate.tries("anna", "a.-evil.com")
    told = gate.run("asks", "never", "1")
    assert told.exit_code == 1, told.output
    assert "no rule can be about name:" in told.stderr
    assert len(gate.rows("asks")) == 1


# -- carried from one gate to another ----------------------------------------------------------------------------------


def granted(gate: Gate) -> None:
    for words in (["anna", "service:xiaomi-account", "--for", "1h"], ["tv", f"addr:{XIAOMI}", "--for", "revoked"], ["group:strict", "name:a.example", "--for", "tomorrow"], ["tv", "name:b.example", "--for", "once"]):
        assert gate.run("consents", "grant", *words).exit_code == 0


def test_what_is_exported_is_imported(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> None:
    granted(gate)
    out = tmp_path_factory.mktemp("out") / "consents.jsonl"
    assert gate.run("consents", "export", str(out)).exit_code == 0
    assert gate.run("consents", "export", str(out)).exit_code == 1  # not over it
    assert gate.run("consents", "export", "--json").stdout == gate.run("consents", "export").stdout == out.read_text()
    assert json.loads(gate.run("consents", "export", str(out), "--force", "--json").stdout) == {"written": str(out), "count": 3}
    told = gate.run("consents", "import", str(out))
    assert (told.exit_code, told.stdout) == (0, "")
    assert [line.partition(": ")[0] for line in told.stderr.splitlines()] == ["line 1", "line 2", "line 3"]  # all there already
    other = Gate(tmp_path_factory.mktemp("other"))
    try:
        other.house.wait(600)
        rows = other.rows("consents", "import", str(out))
        assert [(row["phone"], row["group"], row["kind"], row["life"], row["left"], row["screen"]) for row in rows] == [
            ("anna", "", "service", "1h", 3_000.0, "import"), ("tv", "", "addr", "revoked", None, "import"), ("", "strict", "name", "tomorrow", rows[2]["left"], "import"),
        ]
    finally:
        other.close()


GOOD = '{"phone": "anna", "subject": "name:a.example", "life": "revoked", "ends": null}'


@pytest.mark.parametrize(("text", "said"), [
    (f"{GOOD}\nnot json", "line 2: Expecting value"), (f"{GOOD}\n[]", "line 2: an object reads"), (f"{GOOD}\n" + "[" * 4_000, "line 2: "),
    (f"{GOOD}\n" + '{"phone": "anna"}', "line 2: an object reads"), (f"{GOOD}\n\n{GOOD}", "line 2: "), (f"{GOOD}\n" + "x" * 5_000, "line 2: longer than 4096 bytes"),
    (GOOD.replace("name:a", "name:a..b"), "line 1: 'a..b.example' is no host name"), (GOOD.replace('"name:a.example"', "7"), "line 1: subject: a text is wanted"),
    (GOOD.replace("revoked", "ever"), "line 1: life: one of"), (GOOD.replace("revoked", "once"), "line 1: once is not carried over"), (GOOD.replace("revoked", "1h"), "line 1: ends: the time"),
    (GOOD.replace("revoked", "1h").replace("null", "NaN"), "line 1: ends: the time"), (GOOD.replace("revoked", "1h").replace("null", "1" + "0" * 400), "line 1: ends: the time"),
    (GOOD.replace('"phone"', '"group": "home", "phone"'), "line 1: phone or group"), (GOOD.replace('"anna"', "[1]"), "line 1: phone: a text is wanted"),
    ("\udcff\udcfe", "line 1: "), ("\0" * 100, "line 1: "), ("x" * (LONGEST_FILE + 1), "larger than 1 MiB"), (f"{GOOD}\n" * 2_000 + "{", "line 2001: "),
])
def test_garbage_is_said_with_its_line_and_nothing_is_imported(gate: Gate, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    told = gate.run("consents", "import", str(file))
    assert told.exit_code in {1, 2}, told.output
    assert said in told.stderr
    assert "nothing was imported" in told.stderr
    assert gate.rows("consents", "list", "--ended") == []
    assert gate.house.state.consents() == ()


def test_an_import_gives_one_phone_no_more_than_it_may_have(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granting, "MOST_OF_ONE", 2)
    lines = [GOOD.replace("a.example", f"{n}.example") for n in "abc"] + [GOOD.replace("anna", "tv")]
    told = gate.run("consents", "import", "-", "--json", stdin="\n".join(lines))
    assert told.exit_code == 0, told.output
    assert [json.loads(line)["phone"] for line in told.stdout.splitlines()] == ["anna", "anna", "tv"]
    assert told.stderr == "line 3: not granted: phone anna has 2 consents already; revoke some\n"


def test_what_is_sound_and_cannot_be_given_here_is_passed_over(gate: Gate) -> None:
    lines = [
        GOOD, GOOD, GOOD.replace("anna", "stranger-2"), GOOD.replace("name:a.example", "service:of-another-gate"),
        GOOD.replace("revoked", "12h").replace("null", str(gate.house.time.wall - 1)).replace("anna", "tv"),
        GOOD.replace("revoked", "15m").replace("null", "99999999999").replace("anna", "guest"),
    ]
    told = gate.run("consents", "import", "-", "--json", stdin="\n".join(lines))
    assert told.exit_code == 0, told.output
    assert [(json.loads(line)["phone"], json.loads(line)["left"]) for line in told.stdout.splitlines()] == [("anna", None), ("guest", 900.0)]  # no longer than its life
    assert [line.partition(";")[0] for line in told.stderr.splitlines()] == [
        "line 2: the same stands above", "line 3: there is no phone 'stranger-2'", "line 4: no pack has a service 'of-another-gate'", "line 5: its time is up",
    ]


def test_a_file_that_is_not_there(gate: Gate) -> None:
    assert "No such file" in gate.run("consents", "import", "/nowhere/at/all").stderr


# -- others ------------------------------------------------------------------------------------------------------------


def test_owners_at_once_from_several_shells(gate: Gate) -> None:
    """Real connections, in threads: exactly one consent, all others are told by whom."""
    def answer(life: str) -> str:
        with control.connect(gate.path / "s") as client:
            try:
                client.ask("consents.grant", phone="anna", subject="service:xiaomi-account", life=life, screen="cli")
            except control.Refused as error:
                return str(error)
            return "granted"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(answer, ["revoked"] * 16))
    assert said.count("granted") == 1
    assert all("phone anna has consent 1 for service Xiaomi account and messaging already" in one for one in said if one != "granted")
    assert len(gate.house.state.consents()) == 1


def test_markup_escapes_and_bidi_in_names_are_inert(gate: Gate) -> None:
    gate.tries("anna", NASTY, addr=XIAOMI)
    gate.tries("guest", "[bold]x[/].example", source=Source.HTTP)
    gate.house.phones.change(replace(gate.house.phones.named("anna"), name="[blink]\u202eanna"))
    for words in (["asks"], ["asks", "--all"]):
        told = gate.run(*words)
        assert told.exit_code == 0, told.output
        assert told.stdout.replace("\n", "").isprintable()
    assert "‹U+202E›" in gate.run("asks").stdout
    granted = gate.run("consents", "grant", "[blink]\u202eanna", "service:xiaomi-account", "--for", "1h")
    assert granted.exit_code == 0, granted.output
    for told in (granted, gate.run("consents", "list"), gate.run("consents", "revoke", "1")):
        assert told.stdout.replace("\n", "").isprintable()
    for screen in ("tui\x1b[2J\u202e", "x" * 10_000):
        with control.connect(gate.path / "s") as client:
            done = client.ask("consents.grant", phone="tv", subject="service:xiaomi-account", life="1h", screen=screen).done
            assert done["screen"].isprintable()
            assert len(done["screen"]) <= 40
            client.ask("consents.revoke", id=done["id"])


def test_the_clock_is_trusted_because_its_owner_says_so(gate: Gate) -> None:
    gate.house.time = gate.house.time._replace(trusted=False)
    told = gate.run("consents", "grant", "anna", "name:a.example", "--for", "tomorrow")
    assert (told.exit_code, "clock trust" in told.stderr) == (1, True)
    told = gate.run("clock", "trust")
    assert told.exit_code == 0, told.output
    assert "and that is believed" in told.stdout
    assert (gate.recorded[-1].kind, gate.recorded[-1].who.uid) == ("clock", 0)
    assert gate.run("consents", "grant", "anna", "name:a.example", "--for", "tomorrow").exit_code == 0


@pytest.mark.parametrize(("line", "offered"), [
    ("consents grant ", ["anna", "group:home", "group:strict", "guest", "tv"]), ("consents grant gr", ["group:home", "group:strict"]),
    ("consents grant anna service:xiaomi-a", ["service:xiaomi-account", "service:xiaomi-ads", "service:xiaomi-app-inventory"]), ("consents grant anna name:api", [f"name:{ACCOUNT}"]),
    ("consents revoke ", ["1"]), ("asks later ", ["1"]), ("consents grant anna name:x --for ", ["once", "15m", "1h", "12h", "tomorrow", "revoked"]),
])
def test_the_shell_completes(gate: Gate, line: str, offered: list[str]) -> None:
    gate.tries("anna", ACCOUNT)
    assert gate.run("consents", "grant", "guest", "name:a.example", "--for", "1h").exit_code == 0
    variables = {"_CONSENTRY_COMPLETE": "bash_complete", "COMP_WORDS": f"consentry {line}", "COMP_CWORD": str(len(f"consentry {line}".split(" ")) - 1), "CONSENTRY_SOCKET": str(gate.path / "s")}
    told = CliRunner(env=variables).invoke(main, [], prog_name="consentry")
    assert sorted(one.partition(",")[2] for one in told.stdout.split()) == sorted(offered)


def test_every_verb_survives_whatever_is_sent(gate: Gate) -> None:
    """Arguments of every wrong kind get an answer that is no failure of the gateway's."""
    values = [None, True, -1, 0, 1, 1 << 70, 1.5, "", "x" * 300, NASTY, [], [[]], {}, {"id": 1}]
    gate.tries("anna", ACCOUNT)
    began = time.monotonic()
    with control.connect(gate.path / "s") as client:
        for verb in ConsentsVerbs(gate.app).verbs():
            for key in ("id", "ask", "phone", "group", "subject", "life", "seconds", "for", "objects", "line", "all", "ended", "check", "screen"):
                for value in values:
                    usual = {"phone": "anna", "subject": "name:a.example", "life": "1h", "id": 1, "objects": [json.loads(GOOD)], "check": True} if verb != "asks.never" else {"id": 99}
                    try:
                        client.ask(verb, **(usual | {key: value}))
                    except control.Refused as error:
                        assert "failed" not in str(error), (verb, key, value, error)  # noqa: PT017
    assert time.monotonic() - began < 100
