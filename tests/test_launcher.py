"""The launcher `./consentry`, with stand-ins for everything that would change this machine or ask the network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STAND_IN = """#!/bin/sh
# One script, many names. Every call is a line in calls; files in stage/ say what goes wrong.
stage={stage}
name=${{0##*/}}
echo "$name $*" >>"$stage/calls"
case "$name $*" in
    "id -u") if [ -f "$stage/not-root" ]; then echo 1000; else echo 0; fi ;;
    dpkg-query*) for package; do :; done; if [ -f "$stage/has-$package" ]; then printf installed; else exit 1; fi ;;
    apt-get*--simulate*) [ ! -f "$stage/no-lists" ] ;;
    apt-get*" update") rm -f "$stage/no-lists" ;;
    apt-get*" install "*) [ ! -f "$stage/no-network" ] || exit 100
        for word; do touch "$stage/has-$word"; done ;;
    getent*) [ -f "$stage/group-$2" ] ;;
    groupadd*) touch "$stage/group-$2" ;;
    "python3 -c"*) [ ! -f "$stage/old-python" ] ;;
    "python3 --version") echo Python 3.10.12 ;;
    "python3 -m venv --clear "*) rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; cp "$0" "$4/bin/python3" ;;
    "python -m pip install "*) [ ! -f "$stage/no-network" ] || exit 1
        for tool in consentry ruff mypy lint-imports pytest; do cp "$0" "${{0%/*}}/$tool"; done ;;
    consentry*) printf '<%s>' "$@" ;;
    pytest*) echo "=== 3 passed in 0.1s ==="; [ ! -f "$stage/pytest-fails" ] || exit 1 ;;
    mypy*) [ ! -f "$stage/mypy-fails" ] ;;
esac
"""


class Stage:
    """A checkout in a path with spaces, and a machine that has nothing but what `put` gives it."""

    def __init__(self, tmp: Path) -> None:
        self.checkout = tmp / "a checkout"
        self.checkout.mkdir()
        for name in ("consentry", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.checkout)
        self.stage = tmp / "stage"
        self.stage.mkdir()
        self.tools = tmp / "tools"
        self.tools.mkdir()
        for name in ("id", "dpkg-query", "apt-get", "getent", "groupadd", "python3"):
            tool = self.tools / name
            tool.write_text(STAND_IN.format(stage=self.stage))
            tool.chmod(0o755)

    def put(self, fact: str) -> None:
        (self.stage / fact).touch()

    def take(self, fact: str) -> None:
        (self.stage / fact).unlink()

    def run(self, *args: str, program: Path | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        (self.stage / "calls").write_text("")
        return subprocess.run(
            [program or self.checkout / "consentry", *args], cwd=cwd, text=True, capture_output=True, check=False, timeout=20,
            stdin=subprocess.DEVNULL, env={"PATH": f"{self.tools}:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")},
        )

    @property
    def calls(self) -> list[str]:
        return (self.stage / "calls").read_text().splitlines()

    def called(self, beginning: str) -> list[str]:
        return [call for call in self.calls if call.startswith(beginning)]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_first_start_prepares_then_hands_over(stage: Stage) -> None:
    done = stage.run("run", "--lan", "wlan 0")
    assert (done.returncode, done.stdout) == (0, "<run><--lan><wlan 0>")
    assert "installing Debian packages: python3 python3-venv iproute2 nftables iptables" in done.stderr
    assert stage.called("groupadd") == ["groupadd -r consentry", "groupadd -r consentry-admin"]
    assert "creating the system group consentry-admin" in done.stderr
    (pip,) = stage.called("python -m pip install")
    assert pip.endswith("-c constraints.txt -e .")


def test_second_start_asks_nobody_and_says_nothing(stage: Stage) -> None:
    stage.run("run")
    done = stage.run("history", "last:1h")
    assert (done.stdout, done.stderr) == ("<history><last:1h>", "")
    assert stage.calls == ["consentry history last:1h"]


def test_only_missing_packages_and_groups(stage: Stage) -> None:
    for fact in ("has-python3", "has-python3-venv", "has-iproute2", "has-iptables", "group-consentry"):
        stage.put(fact)
    done = stage.run("run")
    assert done.returncode == 0
    assert stage.called("apt-get")[-1].endswith("install nftables")
    assert stage.called("groupadd") == ["groupadd -r consentry-admin"]


def test_package_lists_are_fetched_when_a_fresh_machine_has_none(stage: Stage) -> None:
    stage.put("no-lists")
    assert stage.run("run").returncode == 0
    words = [next(word for word in ("--simulate", "update", "install") if word in call) for call in stage.called("apt-get")]
    assert words == ["--simulate", "update", "install"]


@pytest.mark.parametrize("command", ["run", "history", "test"])
def test_without_root_says_why_and_what_to_type(stage: Stage, command: str) -> None:
    stage.put("not-root")
    done = stage.run(command, "x")
    assert done.returncode == 1
    assert f"sudo {stage.checkout}/consentry {command} x" in done.stderr
    assert "needs root" in done.stderr
    assert not (stage.checkout / ".venv").exists()


def test_once_prepared_reading_needs_no_root_but_run_does(stage: Stage) -> None:
    stage.run("run")
    stage.put("not-root")
    assert stage.run("history").stdout == "<history>"
    assert stage.run("run").returncode == 1


def test_old_python_is_named_with_a_remedy(stage: Stage) -> None:
    stage.put("old-python")
    done = stage.run("run")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, this is Python 3.10.12. Debian 12" in done.stderr


def test_failed_installation_is_said_and_the_next_start_begins_anew(stage: Stage) -> None:
    stage.put("no-network")
    done = stage.run("run")
    assert done.returncode == 1
    assert "apt-get could not install them" in done.stderr
    for package in ("python3", "python3-venv", "iproute2", "nftables", "iptables"):
        stage.put(f"has-{package}")
    done = stage.run("run")
    assert done.returncode == 1
    assert "pip could not install them" in done.stderr
    stage.take("no-network")
    assert stage.run("run").returncode == 0
    assert stage.called("python3 -m venv"), "a half-made environment is not trusted"


def test_other_pins_update_the_environment_in_place(stage: Stage) -> None:
    stage.run("run")
    with (stage.checkout / "constraints.txt").open("a") as pins:
        pins.write("# newer\n")
    assert stage.run("run").returncode == 0
    assert stage.called("python -m pip install")
    assert not stage.called("python3 -m venv")


def test_a_moved_checkout_gets_a_new_environment(stage: Stage) -> None:
    stage.run("run")
    stage.checkout = stage.checkout.rename(stage.checkout.with_name("moved"))
    assert stage.run("run").returncode == 0
    assert stage.called("python3 -m venv") == [f"python3 -m venv --clear {stage.checkout}/.venv"]


def test_through_a_symlink_and_from_anywhere(stage: Stage, tmp_path: Path) -> None:
    link = tmp_path / "bin" / "gate"
    link.parent.mkdir()
    link.symlink_to(stage.checkout / "consentry")
    done = stage.run("run", program=link, cwd=Path("/"))
    assert done.stdout == "<run>"
    assert (stage.checkout / ".venv" / "ready-run").exists()


def test_the_checks_add_their_packages_and_run_in_order(stage: Stage) -> None:
    stage.run("run")
    done = stage.run("test", "-k", "one")
    assert done.returncode == 0
    assert stage.called("apt-get")[-1].endswith("install tcpdump tmux curl openssl conntrack dnsmasq-base hostapd systemd")
    assert stage.called("python -m pip install")[0].endswith("-e .[test]")
    assert stage.calls[-4:] == ["ruff check .", "mypy ", "lint-imports ", "pytest -k one"]
    assert done.stdout.splitlines()[-1] == "=== 3 passed in 0.1s ==="
    assert "mypy passed after " in done.stderr
    stage.run("run")
    assert stage.calls == ["id -u", "consentry run"], "what tests need includes what running needs"


@pytest.mark.parametrize("failing", ["mypy-fails", "pytest-fails"])
def test_any_failing_check_fails_the_whole_and_none_is_left_out(stage: Stage, failing: str) -> None:
    stage.put(failing)
    done = stage.run("test")
    assert done.returncode == 1
    assert len(stage.calls[-4:]) == 4
    assert stage.calls[-1] == "pytest "
    assert done.stdout.splitlines()[-1].startswith("===")


def test_setting_up_brings_what_an_access_point_needs_and_a_dry_run_nothing(stage: Stage) -> None:
    stage.run("status")
    assert stage.run("setup", "--dry-run").returncode == 0
    assert not [call for call in stage.calls if call.startswith("apt-get")]
    stage.put("has-iw")
    assert stage.run("setup", "--yes").stdout == "<setup><--yes>"
    assert [call for call in stage.calls if " install " in call and "--simulate" not in call][-1].endswith("install hostapd dnsmasq-base wireless-regdb")
    stage.put("not-root")
    refused = stage.run("setup")
    assert refused.returncode == 1
    assert "setup needs root" in refused.stderr
