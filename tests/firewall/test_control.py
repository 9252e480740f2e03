"""The clients against a gateway's real end, and against others."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from firewall import control
from firewall.control import AsyncClient, Done, NoGateway, Peer, Refused, Verb
from firewall.control_server import Server


async def count(_peer, args):
    for n in range(args.get("to", 3)):
        yield {"n": n}
    yield Done({"total": args.get("to", 3)})


async def whoami(peer: Peer, _args):
    yield Done({"uid": peer.uid, "name": peer.name})


async def refuse(_peer, _args):
    raise Refused("not today", 1)
    yield


VERBS = {"count": Verb(count), "whoami": Verb(whoami), "refuse": Verb(refuse)}


@pytest.fixture
async def server(tmp_path: Path):
    running = Server(tmp_path / "g.sock", VERBS, "1.2.3", lambda _: [])
    await running.start()
    yield running
    await running.close()


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


async def test_a_question_to_a_gateway_that_is_gone(server: Server) -> None:
    async with AsyncClient(server._path) as client:
        stream = client.stream("follow")
        waiting = asyncio.ensure_future(anext(stream))
        while not server._followers:
            await asyncio.sleep(0.01)
        await server.close()
        async with asyncio.timeout(30):
            with pytest.raises(NoGateway):
                await waiting
            with pytest.raises(NoGateway):
                await client.ask("whoami")


@pytest.mark.parametrize(("greeting", "error"), [
    (b'{"consentry": 99, "version": "9"}\n', Refused), (b"220 mail.example ESMTP\n", NoGateway), (b"[]\n", NoGateway), (b"", NoGateway),
])
async def test_who_answers_is_looked_at(tmp_path: Path, greeting: bytes, error) -> None:
    async def greet(_reader, writer):
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_unix_server(greet, tmp_path / "x.sock"):
        with pytest.raises(error):
            async with AsyncClient(tmp_path / "x.sock"):
                pass
        with pytest.raises(error):
            await asyncio.to_thread(control.connect, tmp_path / "x.sock")


def test_which_socket(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(control, "RUN", tmp_path)
    monkeypatch.delenv("CONSENTRY_SOCKET", raising=False)
    monkeypatch.delenv("CONSENTRY_LAB", raising=False)
    assert control.default_socket() == tmp_path / "gateway.sock"  # what there should be on a box
    (tmp_path / "consentry").mkdir()
    (tmp_path / "consentry" / "gateway.sock").touch()
    assert control.default_socket() == tmp_path / "consentry" / "gateway.sock"
    monkeypatch.setenv("CONSENTRY_LAB", "two")
    assert control.default_socket() == tmp_path / "two" / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as real:
        real.bind(str(tmp_path / "gateway.sock"))
        assert control.default_socket() == tmp_path / "two" / "gateway.sock"  # nobody listens
        real.listen()
        assert control.default_socket() == tmp_path / "gateway.sock"
    monkeypatch.setenv("CONSENTRY_SOCKET", "/elsewhere.sock")
    assert control.default_socket() == Path("/elsewhere.sock")
