"""`make campaign`: every blow at length, each in a lab of its own; a quarter of an hour. Not part of `consentry test`.

Each part is a process of its own, so that one that fails, crashes or hangs costs no other its result. Those that mostly
wait (kills: five a minute) run beside the short ones; floods run alone. results.json and results.md are written after
every part. Arguments: names of parts (none: all).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import blows
import families
import judge
from judge import Lab, lab_up, wait_for

HERE = Path(__file__).parent
A_MINUTE = 12.0  # seconds from one kill to the next: five a minute are no reason to lock
MOST_RECOVERY = 15.0  # seconds
MOST_SECONDS = 480.0  # of a part: what takes longer hangs
YEAR = 365.25 * 86_400
Part = Callable[[Lab, Path, Path], blows.Report]


def say(text: str) -> None:
    print(f"{time.strftime('%T')} {text}", flush=True)


# -- the gateway's life --------------------------------------------------------------------------------------------------


def kills(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    kill, last = blows.kill(lab), [-A_MINUTE]

    def in_time() -> float:
        time.sleep(max(0.0, last[0] + A_MINUTE - time.monotonic()))
        last[0] = kill()
        return last[0]

    return blows.strike(lab, folder, "kill -9", [in_time] * 20, lambda: blows.answers(lab), say=say)


def stops(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    return blows.strike(lab, folder, "SIGSTOP 10 s", [blows.stop_for(lab, 10)], lambda: blows.answers(lab), say=say)


def memory(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    with blows.memory_group() as group:
        assert group is not None, "no writable memory cgroup here"
        before = blows.gateway_pid(lab)
        report = blows.strike(lab, folder, "killed for lack of memory", [blows.starve(lab, group)], lambda: blows.answers(lab, after=before), say=say)
    noted(lab, "for lack of memory")
    return report


def locked(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    """The sixth death within a minute: nothing undecided passes until its owner says so. The other phone waits as well."""

    def six() -> float:
        for _ in range(6):
            before = wait_for(lambda: blows.gateway_pid(lab), 15)
            blows.kill(lab)()
            wait_for(lambda was=before: blows.gateway_pid(lab) not in {None, was}, 15)
        wait_for(lambda: lab.state_is("LOCKED"), 15)
        time.sleep(3.0)
        lab.consentry("resume")
        return time.monotonic()

    report = blows.strike(lab, folder, "six deaths in a minute: LOCKED for 3 s, resumed", [six], lambda: blows.answers(lab), patience=40, say=say)
    noted(lab, "LOCKED: the gateway died 6 times")
    return report


def gateways(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    """A second one, of the same settings and of its own directories."""
    run, before = Path("/run/consentry", lab.name), blows.gateway_pid(lab)
    (folder / "settings.json").write_text(json.dumps(json.loads((run / "settings.json").read_text()) | {"run_dir": str(folder), "state_dir": str(folder)}))

    def second(settings: Path) -> float:
        done = lab.gateway(sys.executable, "-P", "-m", "firewall.supervisor", str(settings), check=False)
        assert done.returncode == 2, f"a second gateway: {done.returncode} {done.stderr}"
        return time.monotonic()

    both = [lambda at=at: second(at / "settings.json") for at in (run, folder)]
    return blows.strike(lab, folder, "two gateways started", both * 3, lambda: blows.gateway_pid(lab) == before and blows.answers(lab), say=say)


@contextmanager
def another_clock() -> Iterator[None]:
    """The lab that is built meanwhile has the clock of $CONSENTRY_TEST_CLOCK (tests/helpers/clock)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "clock").write_text("0")
        os.environ |= {"CONSENTRY_TEST_CLOCK": f"{folder}/clock", "PYTHONPATH": str(blows.HELPERS / "clock")}
        yield


def clock(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    file = Path(os.environ.pop("CONSENTRY_TEST_CLOCK"))

    def leap(years: float) -> None:
        file.write_text(str(years * YEAR))
        time.sleep(3.0)

    leaps = [lambda years=years: leap(years) for years in (1, -10, 0)]
    return blows.strike(lab, folder, "clock +1 year, -10 years, right again", leaps, lambda: blows.answers(lab), say=say)


# -- the kernel and its tables -------------------------------------------------------------------------------------------


def flushes(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    whole = blows.ruleset(lab)
    flush = lambda: lab.gateway("nft", "flush", "ruleset")  # noqa: E731
    return blows.strike(lab, folder, "nft flush ruleset", [flush] * 20, lambda: blows.ruleset(lab) == whole, pause=1.0, say=say)


def flaps(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    flap = {name: blows.flap(lab, name, 0.05) for name in ("lan0", "wan0")}

    def hundred() -> float:
        for n in range(100):
            over = flap["lan0" if n % 2 else "wan0"]()
        return over

    report = blows.strike(lab, folder, "100 interface flaps", [hundred], lambda: blows.answers(lab), patience=40, say=say)
    report.times = 100
    return report


def recreated(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    return blows.strike(lab, folder, "phones' bridge deleted and made anew", [blows.recreate_lan(lab)] * 5, lambda: blows.answers(lab), pause=3, say=say)


def tampered(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    whole = blows.ruleset(lab)
    strokes = [
        "flush chain inet consentry seal; delete chain inet consentry seal",
        "insert rule inet consentry decide accept",
        "delete element inet consentry refused4 { 42.62.48.0/24 }",
        "flush chain inet consentry permit",
        "flush map inet consentry slots4",
    ]
    blow = [lambda stroke=stroke: lab.gateway("nft", stroke) for stroke in strokes * 4]
    return blows.strike(lab, folder, "chain, rule or element changed by nft", blow, lambda: blows.ruleset(lab) == whole, pause=1.0, say=say)


def conntrack(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    report = blows.strike(lab, folder, "connection table full for 5 s", [blows.fill_conntrack(lab, 5.0)], lambda: blows.answers(lab), patience=30, say=say)
    noted(lab, "the connection table is full")
    return report


def deaf(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    whole = blows.ruleset(lab)
    assert blows.hard_of_hearing(lab), "the gateway listens to nothing"
    blow = [blows.too_much_to_hear(lab)] * 5
    report = blows.strike(lab, folder, "ENOBUFS: changes that cannot all be told, one is a rule before ours", blow, lambda: blows.ruleset(lab) == whole, say=say)
    noted(lab, "somebody who made many changes")
    return report


def noted(lab: Lab, words: str) -> None:
    wait_for(lambda: any(words in text for text in blows.troubles(lab)), 5)


# -- other phones --------------------------------------------------------------------------------------------------------


def flood(kind: str, rate: int, what: str) -> Part:
    def part(lab: Lab, folder: Path, rules: Path) -> blows.Report:
        return blows.strike(lab, folder, what, [blows.flood(lab, kind, rate, 60, say)], lambda: blows.answers(lab), rate=10, other=20, say=say)

    return part


def hostile(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    before = blows.gateway_pid(lab)

    def blow() -> float:
        process = blows.as_phone(lab, "phone1", "hostile_dns.py", 20, stdout=subprocess.PIPE)
        said = process.communicate(timeout=120)[0].splitlines()
        assert process.returncode == 0, "a good question found no answer"
        say(f"hostile bytes: {len(said)} rounds, the slowest good answer in {max(float(line.split()[-2]) for line in said):.0f} ms")
        return time.monotonic()

    report = blows.strike(lab, folder, "hostile DNS bytes (b58 to b69) for 20 s", [blow], lambda: blows.answers(lab), rate=30, say=say)
    assert blows.gateway_pid(lab) == before, "the gateway died of it"
    assert "Traceback" not in Path("/run/consentry", lab.name, "state", "gateway.log").read_text()
    return report


def reloads(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    def revision() -> int:
        return json.loads(lab.consentry("status", "--json").stdout)["revision"]

    def two_hundred() -> float:
        before = revision()
        for n in range(200):
            text = f'[[rule]]\naction = "block"\nmatch = "name:reload{n}.example"\n'
            new = rules.with_suffix(".new")
            new.write_text(text)
            new.replace(rules)
            lab.consentry("rules", "reload")
        assert revision() >= before + 200
        return time.monotonic()

    report = blows.strike(lab, folder, "200 reloads at 300 flows/s", [two_hundred], lambda: blows.answers(lab), rate=300, patience=60, say=say)
    report.times = 200
    return report


PARTS: dict[str, Part] = {
    "tampered": tampered, "flushes": flushes, "stops": stops, "memory": memory, "locked": locked, "gateways": gateways, "clock": clock,
    "conntrack": conntrack, "deaf": deaf, "flaps": flaps, "recreated": recreated, "hostile": hostile,
    "dns": flood("dns", 5_000, "5,000 DNS questions/s for 60 s"), "syn": flood("syn", 10_000, "10,000 SYN/s for 60 s"),
    "reloads": reloads, "kills": kills,
}
MEANWHILE = "kills"  # runs beside the others until those come that load the machine
ALONE = ("dns", "syn", "reloads")
LEAST = dict.fromkeys(("tampered", "gateways", "clock", "hostile", "dns", "syn", "reloads"), 0.99)  # of the other phone's tries


def one(name: str) -> dict:
    """A part, here and now."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder, "rules.toml")
        rules.write_text("")
        try:
            with another_clock() if name == "clock" else nullcontext(), lab_up(rules) as lab:
                row = PARTS[name](lab, Path(folder), rules).row()
                assert families.crossed() == {4, 6}, "only one IP version was tried"
                return row
        except Exception as error:  # noqa: BLE001  a part that fails is a result
            return {"what": name, "failed": f"{type(error).__name__}: {str(error).strip() or '?'}".splitlines()[0][:200]}


class Running:
    """A part, in a process of its own."""

    def __init__(self, name: str, folder: str) -> None:
        self.name, self._file, self._began = name, Path(folder, name), time.monotonic()
        say(f"-- {name}")
        self._process = subprocess.Popen([sys.executable, __file__, "--one", name, str(self._file)], stdin=subprocess.DEVNULL)

    def row(self) -> dict:
        left = self._began + MOST_SECONDS - time.monotonic()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(1.0, left))
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            found = {"what": self.name, "failed": f"took longer than {MOST_SECONDS:.0f} s"}
        elif self._file.exists():
            found = json.loads(self._file.read_text())
        else:
            found = {"what": self.name, "failed": f"its process ended with {self._process.returncode}"}
        judge.sweep()  # what a part that was killed has left
        return found | {"part": self.name, "seconds": round(time.monotonic() - self._began), "load": round(os.getloadavg()[0], 1)}


def failed(row: dict) -> bool:
    return "failed" in row or row["leaked"] > 0 or row["recovery_max"] > MOST_RECOVERY or row["other_success"] < LEAST.get(row["part"], 0.0)


def main(chosen: list[str]) -> int:
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    told = {"when": time.strftime("%F %H:%M"), "cores": os.cpu_count(), "kernel": os.uname().release, "parts": []}
    file = HERE / "results.json"
    if chosen and file.exists():  # some parts anew: the others stay
        told["parts"] = [row for row in json.loads(file.read_text())["parts"] if row["part"] not in chosen and row["part"] in PARTS]
    bad = []

    def keep(running: Running) -> None:
        row = running.row() | {"commit": commit}
        bad.extend([running.name] if failed(row) else [])
        say(json.dumps(row))
        told["parts"] = sorted([*told["parts"], row], key=lambda one: list(PARTS).index(one["part"]))
        file.write_text(json.dumps(told, indent=1) + "\n")
        (HERE / "results.md").write_text(table(told))

    wanted, began = chosen or list(PARTS), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        beside = Running(MEANWHILE, folder) if MEANWHILE in wanted else None
        for name in (name for name in wanted if name not in (*ALONE, MEANWHILE)):
            keep(Running(name, folder))
        if beside is not None:
            keep(beside)
        for name in (name for name in wanted if name in ALONE):
            keep(Running(name, folder))
    say(f"{len(wanted)} parts in {(time.monotonic() - began) / 60:.0f} minutes; " + (f"FAILED: {', '.join(bad)}" if bad else "all held"))
    return 1 if bad else 0


def table(told: dict) -> str:
    lines = [
        "# What the campaign of blows measured",
        "",
        f"`make campaign` on {told['when']}, {told['cores']} cores, Linux {told['kernel']}. \"Load\" is the machine's own",
        "load average at the end of a part: over the number of cores, other work ran beside it, and recovery took longer than it would alone.",
        "",
        "Uploads are tried over IPv4 and IPv6 in turn, and what arrived is looked for outside. \"Other phone\" looks up a new name and",
        "fetches a page, ten or twenty times a second, over IPv4 and IPv6 in turn. What it must not feel is a flood, a hostile phone,",
        "a reload or a hand on the rules (>= 99 %). It does feel what stops the gate or its links: while the gateway is dead or stopped new flows wait, by",
        "design, and fail after three seconds without a name or six without a page; while an interface is down nothing passes; and a question",
        "asked while the rules are flushed is refused, as is the same socket's next try.",
        "",
        "| blow | times | uploads tried (while hurt) | tokens leaked | recovery p50 / max (s) | other phone | load | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in told["parts"]:
        if "failed" in row:
            lines.append(f"| {row['what']} | | | | FAILED: {row['failed']} | | {row['load']} | {row['commit']} |")
            continue
        lines.append(
            f"| {row['what']} | {row['times']} | {row['tried']} ({row['tried_while_hurt'] or 'not measured'}) | {row['leaked']} | "
            f"{row['recovery_p50']} / {row['recovery_max']} | {row['other_success']:.2%} of {row['other_tried']} | {row['load']} | {row['commit']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        Path(sys.argv[3]).write_text(json.dumps(one(sys.argv[2])))
    else:
        sys.exit(main(sys.argv[1:]))
