"""`consentry setup` by its flags, on a box whose radios are told; with the network itself: tests/lab/test_home_box.py."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from judge import PATIENCE

from firewall.box import found, install
from firewall.box.choose import Found, Radio
from firewall.box.machine import read_plan
from firewall.cli import box as cli_box
from firewall.cli import main

BOX = Found((Radio("wlan0", channels={"2.4": (1, 6, 11)}),), ("eth0",), "eth0", ("192.168.77.0/24",), "", ())
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="setup is root's")


@pytest.fixture
def setup(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(found, "look", lambda: BOX)

    def run(*words: str) -> Result:
        places = ("--plan", str(tmp_path / "gateway.toml"), "--run-dir", str(tmp_path / "run"), "--state-dir", str(tmp_path / "state"))
        return CliRunner().invoke(main, ["setup", "--yes", "--no-start", *places, *words], catch_exceptions=False)

    return run


def test_the_passphrase_is_shown_once_with_its_code_and_stays_for_root_only(setup, tmp_path: Path) -> None:
    done = setup("--country", "DE", "--ssid", "Müllers Café")
    assert done.exit_code == 0
    file = tmp_path / "gateway.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    wifi = read_plan(file).wifi
    assert wifi is not None
    assert done.output.count(wifi.passphrase) == 1
    assert done.output.count("█") > 100  # the code
    assert "network     Müllers Café" in done.output
    assert "mode ap: wlan0 is the phones' access point" in done.output
    again = setup("--channel", "11")
    assert again.exit_code == 0
    kept = read_plan(file).wifi
    assert kept is not None
    assert (kept.passphrase, kept.ssid, kept.country, kept.channel) == (wifi.passphrase, "Müllers Café", "DE", 11)


def test_a_passphrase_of_ones_own_need_not_stand_on_the_command_line(setup, tmp_path: Path, monkeypatch) -> None:
    typed = CliRunner.invoke
    monkeypatch.setattr(CliRunner, "invoke", lambda self, *args, **words: typed(self, *args, input="correct horse\n", **words))
    assert setup("--country", "DE", "--passphrase", "-").exit_code == 0
    wifi = read_plan(tmp_path / "gateway.toml").wifi
    assert wifi is not None
    assert wifi.passphrase == "correct horse"


def test_what_is_missing_is_one_sentence_and_nothing_is_written(setup, tmp_path: Path) -> None:
    done = setup()
    assert done.exit_code == 1
    assert "setup: --country: which country is this box in?" in done.output
    assert not list(tmp_path.iterdir())


def test_a_dry_run_names_every_file_and_rule_and_writes_none(setup, tmp_path: Path) -> None:
    done = setup("--country", "DE", "--dry-run")
    for words in ("gateway.toml (mode 0600)", "dnsmasq.conf (mode 0600", "hostapd.conf (mode 0600", "ap_isolate=1", "ip link add name consentry0", "ipv6/conf/wlan0/disable_ipv6 = 1", "table arp consentry_box", "fwmark 0/0x01000000 blackhole", "chain from_phone", "netfilter/nf_conntrack_tcp_loose = 0", "ipv4/conf/eth0/src_valid_mark = 1", "ipv4/ip_forward = 1", 'oifname "eth0" meta nfproto ipv4 masquerade'):
        assert words in done.output
    assert "lock.sh" not in done.output
    done = setup("--country", "DE", "--dry-run", "--service")
    for words in ("# /etc/consentry/lock.sh (mode 0755)", "closed iif wlan0\n", "# /etc/systemd/system/consentry.service (mode 0644)", "WatchdogSec=30"):
        assert words in done.output
    told = json.loads(setup("--country", "DE", "--dry-run", "--json").stdout)
    assert told["plan"]["subnet4"] == "192.168.78.0/24"
    assert told["plan"]["wifi"]["security"] == "wpa3-transition"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [("--ssid", "cafe"), ("--passphrase", "correct horse"), ("--channel", "0")])
def test_who_names_a_network_and_has_no_radio_is_told(setup, tmp_path: Path, monkeypatch, words: tuple[str, ...]) -> None:
    monkeypatch.setattr(found, "look", lambda: Found((), ("eth0", "eth1"), "eth0"))
    done = setup("--country", "DE", *words)
    assert (done.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert f"setup: {words[0]}: mode inline makes no Wi-Fi of its own" in done.output
    assert setup("--country", "DE").exit_code == 0  # as the guide has it, whatever the box


@pytest.mark.parametrize(("ssid", "passphrase", "all_of_it"), [("home-guard", "", True), ("a" * 32, "b" * 63, False)])
def test_a_camera_sees_the_whole_code_on_24_lines(setup, ssid: str, passphrase: str, all_of_it: bool) -> None:
    shown = setup("--country", "DE", "--ssid", ssid, *(["--passphrase", passphrase] if passphrase else [])).stdout.rstrip("\n").split("\n")
    first = next(number for number, line in enumerate(shown) if "█" in line or "▄" in line)
    assert len(shown) - first <= 23  # and a prompt
    assert (len(shown) <= 23) is all_of_it


def test_ctrl_c_in_the_middle_says_what_now(setup, tmp_path: Path, monkeypatch) -> None:
    def pressed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(install, "unblock", pressed)
        done = setup("--country", "DE")
    assert done.exit_code == 1
    assert "stopped half-way. Once more: sudo consentry setup; all back: sudo consentry off --remove" in done.output
    wifi = read_plan(tmp_path / "gateway.toml").wifi
    assert wifi is not None
    assert wifi.passphrase in setup().output  # once more: the same one, shown now


@pytest.mark.parametrize(("word", "value"), [("watch", False), ("channel", 0), ("dhcp", False), ("ssid", "cafe"), ("ssh", True)])
def test_whatever_is_said_by_a_flag_is_not_asked_again(word: str, value: object) -> None:
    silent = {"mode": None, "ssid": "", "channel": None, "dhcp": None, "watch": None, "ssh": False}
    assert cli_box._flags(silent) == []
    assert cli_box._flags(silent | {word: value}) == [word]


@pytest.mark.parametrize(("status", "up", "says"), [
    ({"state": "ENFORCING", "reason": ""}, True, "gate     ENFORCING\n"),
    ({"state": "LOCKED", "reason": "stopped by anna"}, False, "gate     LOCKED stopped by anna\n         look at the reason, then: sudo consentry resume\n"),
    (None, False, "gate     does not answer; journalctl -u consentry\n"),
])
def test_a_gate_that_lets_nothing_through_is_said_with_what_helps(status: dict[str, str] | None, up: bool, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_box._decides(status) is up
    assert capsys.readouterr().err == says


def test_a_plan_that_cannot_be_read_is_said_and_written_anew(setup, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("mode = 7")
    done = setup("--country", "DE")
    assert done.exit_code == 0
    assert "gateway.toml: mode: 7 stands there, text in quotes is needed; it is written anew" in done.output


@pytest.mark.lab
def test_in_a_terminal_it_asks_and_leaving_changes_nothing(tmp_path: Path) -> None:
    """The real wizard in a real terminal, in a network of its own."""
    code = f"from firewall.box import found; from test_box_found import BOX; found.look = lambda: BOX; import sys; sys.argv = ['consentry', 'setup', '--plan', {str(tmp_path / 'gateway.toml')!r}]; from firewall.cli import main; main()"
    (tmp_path / "test_box_found.py").write_text("from firewall.box.choose import Found\nBOX = Found((), ('eth0', 'eth1'), 'eth0')\n")
    mine, its = pty.openpty()
    env = os.environ | {"PYTHONPATH": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(["unshare", "-n", sys.executable, "-c", code], stdin=its, stdout=its, stderr=its, env=env, start_new_session=True) as asked:
        os.close(its)
        seen, until = b"", time.monotonic() + 10 * PATIENCE
        while b"mode inline: eth1" not in seen and time.monotonic() < until:
            if select.select([mine], [], [], 0.1)[0]:
                seen += os.read(mine, 1 << 16)
        os.write(mine, b"\x1b")
        while asked.poll() is None and time.monotonic() < until:
            if select.select([mine], [], [], 0.1)[0]:
                try:
                    seen += os.read(mine, 1 << 16)
                except OSError:  # it has hung up
                    break
        assert asked.wait(timeout=10) == 1
    os.close(mine)
    assert b"phones' gateway" in seen
    assert b"nothing was changed" in seen
    assert not (tmp_path / "gateway.toml").exists()
