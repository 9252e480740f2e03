from __future__ import annotations

import subprocess
import sys
import time

from judge import in_time

from tui.app import Consentry


async def test_q_leaves(screen):
    async with screen() as s:
        await s.press("q")
        await s.until(lambda: not s.app.is_running)
        assert s.app.return_code == 0


async def test_ctrl_c_leaves_also_out_of_a_filter(screen):
    async with screen() as s:
        await s.press("slash", "ctrl+c")
        await s.until(lambda: not s.app.is_running)


async def test_a_lost_gateway_is_said_at_once_and_found_again(screen, gate, episode):
    async with screen(episode(1, "old.example.com")) as s:
        await gate.close()
        await s.shows("NO GATE since ")
        await s.shows("old.example.com")
        gate.rows = [episode(1, "new.example.com")]
        await gate.open()
        await s.until(lambda: gate.followers == 1, "the screen to come back")
        await s.shows("ENFORCING", "new.example.com")
        await s.hides("NO GATE", "old.example.com")


async def test_a_gateway_that_falls_silent_is_no_gate(screen):
    async with screen() as s:
        s.app.pulse._heard -= 10  # the last status is ten seconds old
        await s.shows("NO GATE", "it has stopped answering")


async def test_without_a_gateway_it_teaches(tmp_path):
    app = Consentry(tmp_path / "none.sock", lab=False)
    async with app.run_test(size=(100, 24)) as pilot:
        for _ in range(100):
            await pilot.pause(0.02)
            text = "\n".join("".join(s.text for s in strip) for strip in app.screen._compositor.render_strips())
            if "No gateway answers at" in text:
                break
        assert "Start one with: sudo consentry run" in text
        assert "NO GATE since" in text


async def test_skipped_rows_are_told(screen, gate):
    async with screen() as s:
        gate.skip(1204)
        await s.shows("1,204 too fast to show: see 3")


async def test_tabs_can_be_clicked(screen):
    async with screen() as s:
        await s.pilot.click("Tabs", offset=(s.lines[1].index("3 History") + 2, 0))
        await s.shows("verdict:refused,watch last:24h")
        assert s.app.current_mode == "history"


async def test_numbers_go_to_screens(screen):
    async with screen() as s:
        for key, mode in (("2", "asks"), ("4", "rules"), ("5", "consents"), ("3", "history"), ("1", "live")):
            await s.press(key)
            assert s.app.current_mode == mode


def test_the_screen_imports_nothing_that_gates():
    """Also a matter of speed: what is not imported costs nothing before the first frame."""
    code = "import sys, tui.app; print(*sorted(m for m in sys.modules if m.startswith('firewall.')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(out) == {"firewall.control", "firewall.episode", "firewall.inputs", "firewall.settings", "firewall.text"}


async def test_the_first_frame_is_quick(tmp_path):
    began = time.monotonic()
    app = Consentry(tmp_path / "none.sock", lab=False)
    async with app.run_test() as pilot:
        await pilot.pause()
        in_time(time.monotonic() - began, 5.0)  # a loaded machine; measured by bench/


async def test_phones_that_come_and_go_are_told(screen, gate):
    async with screen() as s:
        gate._server.publish({"near": {"at": 1.0, "phone": "[red]anna\x1b", "mac": "02:00:00:00:01:01", "joined": True, "signal": -41}})
        await s.shows("[red]anna‹U+001B› joined, -41 dBm")
        gate._server.publish({"near": {"at": 2.0, "phone": "anna", "mac": "02:00:00:00:01:01", "joined": False, "signal": None}})
        await s.shows("anna left")
