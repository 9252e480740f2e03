"""The package's postinst with stand-ins for everything that would change this machine: which version's gate runs after it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

POSTINST = Path(__file__).parent.parent / "packaging/debian/postinst"
STAND_IN = """#!/bin/sh
# One script, many names. Every call is a line in calls; consentry speaks for the environment that is in its place.
root={root}
name=${{0##*/}}
case "$name $*" in
    "getent"*) exit 0 ;;
    "python3 -m venv "*) mkdir -p "$3/bin"; echo new >"$3/version"; cp "$0" "$3/bin/python"; touch "$3/pyvenv.cfg" ;;
    "systemctl is-active"*) [ -e "$root/active" ] ;;
    "consentry service install"*)
        version=$(cat "$root/lib/venv/version")
        echo "$version:$*" >>"$root/calls"
        [ ! -e "$root/$version-dies" ] || {{ echo "the gateway died" >"$root/locked"; exit 1; }} ;;
esac
"""


class Machine:
    """One on which version `old` stands, and a gate runs."""

    def __init__(self, root: Path) -> None:
        self.root, self.lib = root, root / "lib"
        (self.lib / "venv/bin").mkdir(parents=True)
        (self.lib / "venv/version").write_text("old\n")
        (root / "active").touch()
        tools = root / "tools"
        tools.mkdir()
        for name in ("getent", "groupadd", "systemctl", "consentry", "python3"):
            (tools / name).write_text(STAND_IN.format(root=root))
            (tools / name).chmod(0o755)
        text = POSTINST.read_text()
        for there, here in (("/usr/lib/consentry", "lib"), ("/var/lib/consentry/locked", "locked"), ("/etc/consentry", "etc"),
                            ("/usr/bin/python3", "tools/python3")):  # fmt: skip
            assert there in text, there
            text = text.replace(there, str(root / here))
        (root / "postinst").write_text(text)

    def configure(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", self.root / "postinst", "configure", "1"], env={"PATH": f"{self.root / 'tools'}:/usr/bin:/bin"},
            capture_output=True, text=True, check=False, timeout=60,
        )

    @property
    def version(self) -> str:
        return (self.lib / "venv/version").read_text().strip()

    @property
    def calls(self) -> list[str]:
        return [line.partition(":")[0] for line in (self.root / "calls").read_text().splitlines()]

    @property
    def beside(self) -> list[str]:
        return sorted(path.name for path in self.lib.iterdir() if path.name != "venv")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_new_version_takes_the_place_of_the_old_one(machine: Machine) -> None:
    done = machine.configure()
    assert (done.returncode, machine.version, machine.calls, machine.beside) == (0, "new", ["new"], []), done.stderr


def test_one_whose_gate_does_not_start_gives_its_place_back(machine: Machine) -> None:
    (machine.root / "new-dies").touch()
    done = machine.configure()
    assert (done.returncode, machine.version, machine.calls, machine.beside) == (1, "old", ["new", "old"], []), done.stderr
    assert "the version before runs again" in done.stderr
    assert not (machine.root / "locked").exists()  # by the new one's deaths: the old one would begin locked


def test_what_its_owner_has_locked_stays_locked(machine: Machine) -> None:
    (machine.root / "locked").write_text("stopped by anna")
    (machine.root / "new-dies").touch()
    machine.configure()
    assert (machine.root / "locked").exists()


def test_where_the_old_one_does_not_start_either_nobody_says_that_it_runs(machine: Machine) -> None:
    for version in ("new", "old"):
        (machine.root / f"{version}-dies").touch()
    done = machine.configure()
    assert (done.returncode, machine.version) == (1, "old")
    assert "no phone passes" in done.stderr
    assert "runs again" not in done.stderr


def test_a_gate_that_did_not_run_before_proves_nothing_against_the_new_version(machine: Machine) -> None:
    """No uplink yet, or its owner has stopped it: the old one would not start either."""
    (machine.root / "active").unlink()
    (machine.root / "new-dies").touch()
    done = machine.configure()
    assert (done.returncode, machine.version, machine.beside) == (0, "new", []), done.stderr
    assert "sudo consentry service install" in done.stdout


def test_what_a_power_cut_has_left_is_the_last_that_was_proved(machine: Machine) -> None:
    (machine.lib / "venv").rename(machine.lib / "venv.old")
    (machine.lib / "venv").mkdir()
    (machine.lib / "venv.gone").mkdir()
    (machine.root / "new-dies").touch()
    assert machine.configure().returncode == 1
    assert (machine.version, machine.beside) == ("old", [])
