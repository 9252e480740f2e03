"""Real sockets on both ends; hostile local users get nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firewall import control
from firewall.control import LARGEST, AsyncClient, Done, NoGateway, Peer, Refused, Server, Verb


async def count(_peer, args):
    for n in range(args.get("to", 3)):
        yield {"n": n}
    yield Done({"total": args.get("to", 3)})


async def whoami(peer: Peer, _args):
    yield Done({"uid": peer.uid, "name": peer.name})


async def refuse(_peer, _args):
    raise Refused("not today", 1)
    yield


VERBS = {"count": Verb(count), "whoami": Verb(whoami), "refuse": Verb(refuse), "change": Verb(whoami, changes=True)}


@pytest.fixture
async def server(tmp_path: Path):
    running = Server(tmp_path / "g.sock", VERBS, "1.2.3", lambda limit: [{"episode": {"id": n}} for n in range(limit)])
    await running.start()
    yield running
    await running.close()


async def raw(path: Path, *lines: bytes) -> list[dict]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=4 * LARGEST)
    for line in lines:
        writer.write(line)
    writer.write_eof()
    async with asyncio.timeout(10):
        answers = [json.loads(line) for line in (await reader.read()).splitlines()]
    writer.close()
    return answers


async def test_items_and_then_one_answer(server: Server) -> None:
    async with AsyncClient(server._path) as client:
        reply = await client.ask("count", to=2)
        assert (reply.items, reply.done) == ([{"n": 0}, {"n": 1}], {"total": 2})
        with pytest.raises(Refused, match="not today"):
            await client.ask("refuse")


async def test_the_command_lines_client(server: Server) -> None:
    def session():
        with control.connect(server._path) as client:
            assert client.greeting == {"consentry": 1, "version": "1.2.3"}
            return client.ask("count", to=1), client.ask("whoami").done

    reply, who = await asyncio.to_thread(session)
    assert reply.items == [{"n": 0}]
    assert who == {"uid": os.getuid(), "name": "root"}


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NoGateway):
        control.connect(tmp_path / "none.sock")
    with pytest.raises(NoGateway):
        async with AsyncClient(tmp_path / "none.sock"):
            pass


@pytest.mark.parametrize(("line", "status", "words"), [
    (b"nonsense\n", 2, "no JSON"), (b"[1]\n", 2, "a request reads"), (b'{"id": 1}\n', 2, "a request reads"), (b"\xff\xfe\n", 2, "no JSON"),
    (b'{"id": 5, "do": "fly"}\n', 2, "there are only change, count, follow, refuse, whoami"), (b"[" * 100_000 + b"\n", 2, "no JSON"),
])
async def test_nonsense_gets_an_answer(server: Server, line: bytes, status: int, words: str) -> None:
    _, answer = await raw(server._path, line)
    assert answer["status"] == status
    assert words in answer["error"]


async def test_a_line_without_end_is_cut_off(server: Server) -> None:
    answers = await raw(server._path, b"x" * (LARGEST + 10) + b"\n")
    assert "longer than" in answers[-1]["error"]
    assert (await raw(server._path, b'{"id": 1, "do": "whoami"}\n'))[1]["done"]["uid"] == os.getuid()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.binary(max_size=300) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)).map(lambda v: json.dumps(v).encode()))
def test_what_clients_send_is_never_an_exception(tmp_path_factory, data: bytes) -> None:
    async def once() -> None:
        path = tmp_path_factory.mktemp("c") / "g.sock"
        running = Server(path, VERBS, "1", lambda _: [])
        await running.start()
        answers = await raw(path, data.replace(b"\n", b" ") + b"\n")
        assert answers[0]["consentry"] == 1
        assert all("error" in answer for answer in answers[1:])
        await running.close()

    asyncio.run(once())


async def test_followers_get_the_past_and_then_the_newest_state_of_each_row(server: Server) -> None:
    async with AsyncClient(server._path) as client:
        stream = client.stream("follow", backlog=2)
        assert [await anext(stream), await anext(stream)] == [{"episode": {"id": 0}}, {"episode": {"id": 1}}]
        while not server._followers:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        for n in range(50):
            server.publish({"episode": {"id": 7, "count": n}})
        server.publish({"status": {"state": "ENFORCING"}})
        async with asyncio.timeout(5):
            assert await anext(stream) == {"episode": {"id": 7, "count": 49}}
            assert await anext(stream) == {"status": {"state": "ENFORCING"}}
        await stream.aclose()


async def test_too_many_rows_are_skipped_and_said(server: Server) -> None:
    async with AsyncClient(server._path) as client:
        stream = client.stream("follow")
        first = asyncio.ensure_future(anext(stream))
        while not server._followers:
            await asyncio.sleep(0.01)
        for n in range(control.PENDING + 100):
            server.publish({"episode": {"id": n}})
        async with asyncio.timeout(10):
            assert await first == {"episode": {"id": 100}}
            async for item in stream:
                if "skipped" in item:
                    break
        assert item == {"skipped": 100}


async def test_one_who_does_not_read_is_let_go_and_others_are_served(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.3)
    reader, writer = await asyncio.open_unix_connection(str(server._path))
    writer.write(b'{"id": 1, "do": "follow"}\n')
    await reader.readline()
    while not server._followers:
        await asyncio.sleep(0.01)
    async with AsyncClient(server._path) as client:
        async with asyncio.timeout(20):
            while server._followers:
                for n in range(200):
                    server.publish({"episode": {"id": n, "text": "x" * 5_000}})
                assert (await client.ask("whoami")).done["uid"] == os.getuid()
                await asyncio.sleep(0.05)
    writer.close()


async def test_who_may_not_look_or_change() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        server = Server(Path(folder, "g.sock"), VERBS, "1", lambda _: [])
        await server.start()
        await judge_rights(server)
        await server.close()


async def judge_rights(server: Server) -> None:
    mode = os.stat(server._path).st_mode & 0o777
    assert mode in (0o600, 0o660)
    code = f"import os, socket; os.setgroups([]); os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect({str(server._path)!r})"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)
    assert "PermissionError" in done.stderr or "denied" in done.stderr
    os.chmod(server._path, 0o666)  # as a member of the readers' group would see it
    code = f"""
import os, socket, json
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect({str(server._path)!r}); f = s.makefile('rwb'); f.readline()
for verb in ("change", "whoami"):
    f.write(json.dumps({{"id": 1, "do": verb}}).encode() + b"\\n"); f.flush(); print(f.readline().decode())
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True)
    change, look = (json.loads(line) for line in done.stdout.split("\n") if line)
    assert "only root and group consentry-admin may do that: sudo usermod -aG consentry-admin nobody" in change["error"]
    assert look["done"]["uid"] == 65534


async def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "g.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    running = Server(path, VERBS, "1", lambda _: [])
    await running.start()
    assert (await raw(path, b'{"id": 1, "do": "whoami"}\n'))[1]["done"]["uid"] == os.getuid()
    await running.close()
    assert not path.exists()


async def test_there_is_a_most_of_clients(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(control, "MOST_CLIENTS", 2)
    async with AsyncClient(server._path), AsyncClient(server._path):
        assert await raw(server._path) == []
