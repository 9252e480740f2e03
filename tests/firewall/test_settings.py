from __future__ import annotations

from pathlib import Path

from firewall.settings import Settings, resolv_conf, write_atomically


def test_what_is_written_is_read(tmp_path: Path) -> None:
    settings = Settings("lan0", "wan0", run_dir=str(tmp_path), upstreams=("9.9.9.9",), phones={"02:00:00:00:01:01": "phone1"})
    assert Settings.read(settings.write()) == settings
    assert settings.upstream_addresses() == (("9.9.9.9", 53),)


def test_the_owners_rules_lie_beside_the_history_unless_told(tmp_path: Path) -> None:
    assert Settings("a", "b", state_dir=str(tmp_path)).rules_file == tmp_path / "rules.toml"
    assert Settings("a", "b", rules="/elsewhere/r.toml").rules_file == Path("/elsewhere/r.toml")


def test_resolv_conf(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# nameserver 1.1.1.1\nnameserver 9.9.9.9 \nnameserver fe80::1%eth0\nsearch x\nnameserver 2620:fe::9\nnameserver\n")
    assert resolv_conf(file) == ["9.9.9.9", "2620:fe::9"]
    assert resolv_conf(tmp_path / "none") == []


def test_writing_leaves_one_file_of_the_asked_mode(tmp_path: Path) -> None:
    write_atomically(tmp_path / "f", "one", 0o600)
    write_atomically(tmp_path / "f", "two", 0o600)
    assert (tmp_path / "f").read_text() == "two"
    assert [(p.name, p.stat().st_mode & 0o777) for p in tmp_path.iterdir()] == [("f", 0o600)]
