"""`make campaign`: every blow at length, in one lab after another; a quarter of an hour. Not part of `consentry test`.

Writes tests/campaign/results.json and results.md after every part, so that an end in the middle loses nothing.
Arguments: names of parts (none: all).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import blows
from judge import Lab, lab_up, wait_for

HERE = Path(__file__).parent
A_MINUTE = 12.0  # seconds between kills: five a minute are no reason to lock
MOST_RECOVERY = 15.0
Part = Callable[[Lab, Path, Path], blows.Report]


def say(text: str) -> None:
    print(f"{time.strftime('%T')} {text}", flush=True)


def kills(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    return blows.strike(lab, folder, "kill -9", [blows.kill(lab)] * 20, lambda: blows.answers(lab), pause=A_MINUTE, say=say)


def flushes(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    whole = blows.ruleset(lab)
    flush = lambda: lab.gateway("nft", "flush", "ruleset")  # noqa: E731
    return blows.strike(lab, folder, "nft flush ruleset", [flush] * 20, lambda: blows.ruleset(lab) == whole, pause=1.0, say=say)


def stops(lab: Lab, folder: Path, rules: Path) -> blows.Report:
    return blows.strike(lab, folder, "SIGSTOP 10 s and 30 s", [blows.stop_for(lab, 10), blows.stop_for(lab, 30)], lambda: blows.answers(lab), say=say)


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


def flood(kind: str, rate: int, what: str) -> Part:
    def part(lab: Lab, folder: Path, rules: Path) -> blows.Report:
        def blow() -> float:
            process = blows.as_phone(lab, "phone1", "flood.py", kind, rate, 60, stdout=subprocess.PIPE)
            say(f"{what}: sent {process.communicate(timeout=120)[0].strip()}")
            return time.monotonic()

        return blows.strike(lab, folder, what, [blow], lambda: blows.answers(lab), rate=10, other=20, say=say)

    return part


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
            lab.consentry("reload", check=False)
        wait_for(lambda: revision() >= before + 150, 60)
        return time.monotonic()

    report = blows.strike(lab, folder, "200 reloads at 300 flows/s", [two_hundred], lambda: blows.answers(lab), rate=300, patience=60, say=say)
    report.times = 200
    return report


PARTS: dict[str, Part] = {
    "tampered": tampered, "flushes": flushes, "stops": stops, "flaps": flaps, "recreated": recreated,
    "dns": flood("dns", 5_000, "5,000 DNS questions/s for 60 s"), "syn": flood("syn", 10_000, "10,000 SYN/s for 60 s"),
    "reloads": reloads, "kills": kills,
}


def main(chosen: list[str]) -> int:
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    told = {
        "commit": commit, "when": time.strftime("%F %H:%M"), "cores": os.cpu_count(), "kernel": os.uname().release,
        "load": [], "parts": [],
    }
    file = HERE / "results.json"
    if chosen and file.exists():  # some parts anew: the others stay
        told["parts"] = [row for row in json.loads(file.read_text())["parts"] if row["part"] not in chosen]
    failed = 0
    for name in chosen or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            rules = Path(folder, "rules.toml")
            rules.write_text("")
            began = time.monotonic()
            say(f"-- {name}")
            try:
                with lab_up(rules) as lab:
                    row = PARTS[name](lab, Path(folder), rules).row()
            except AssertionError as error:
                row = {"what": name, "failed": str(error).splitlines()[0][:200]}
        row |= {"part": name, "seconds": round(time.monotonic() - began), "load": round(os.getloadavg()[0], 1), "commit": commit}
        failed += "failed" in row or row["leaked"] > 0 or row["recovery_max"] > MOST_RECOVERY
        told["parts"].append(row)
        say(json.dumps(row))
        file.write_text(json.dumps(told, indent=1) + "\n")
        (HERE / "results.md").write_text(table(told))
    return 1 if failed else 0


def table(told: dict) -> str:
    lines = [
        "# What the campaign of blows measured",
        "",
        f"`make campaign` on {told['when']}, {told['cores']} cores, Linux {told['kernel']}. \"Load\" is the machine's own",
        "load average then: over the number of cores, other work ran beside it, and recovery took longer than it would alone.",
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
    sys.exit(main(sys.argv[1:]))
