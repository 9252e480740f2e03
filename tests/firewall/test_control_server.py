"""Real sockets; hostile local users get nothing."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judge import in_time

from firewall import control, control_server, readers
from firewall.control import LARGEST, AsyncClient, Done, Peer, Refused, Verb
from firewall.control_server import Server


async def count(_peer, args):
    for n in range(args.get("to", 3)):
        yield {"n": n}
    yield Done({"total": args.get("to", 3)})


async def whoami(peer: Peer, _args):
    yield Done({"uid": peer.uid, "name": peer.name})


VERBS = {"count": Verb(count), "whoami": Verb(whoami), "change": Verb(whoami, changes=True)}


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


@pytest.mark.parametrize(("line", "status", "words"), [
    (b"nonsense\n", 2, "no JSON"), (b"[1]\n", 2, "a request reads"), (b'{"id": 1}\n', 2, "a request reads"), (b"\xff\xfe\n", 2, "no JSON"),
    (b'{"id": 5, "do": "fly"}\n', 2, "there are only change, count, follow, whoami"), (b"[" * 60_000 + b"\n", 2, "no JSON"),
])
async def test_nonsense_gets_an_answer(server: Server, line: bytes, status: int, words: str) -> None:
    _, answer = await raw(server._path, line)
    assert answer["status"] == status
    assert words in answer["error"]


async def test_a_line_without_end_is_cut_off(server: Server) -> None:
    answers = await raw(server._path, b"x" * (control_server.LARGEST_REQUEST + 10) + b"\n")
    assert answers[-1]["error"] == f"a line is longer than {control_server.LARGEST_REQUEST} bytes"
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
    assert not server.followed()
    async with AsyncClient(server._path) as client:
        stream = client.stream("follow", backlog=2)
        assert [await anext(stream), await anext(stream)] == [{"episode": {"id": 0}}, {"episode": {"id": 1}}]
        while not server._followers:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        for n in range(50):
            server.publish({"episode": {"id": 7, "count": n}})
        server.publish({"status": {"state": "ENFORCING"}})
        async with asyncio.timeout(30):
            assert await anext(stream) == {"episode": {"id": 7, "count": 49}}
            assert await anext(stream) == {"status": {"state": "ENFORCING"}}
        assert server.followed()
        await stream.aclose()


async def test_too_many_rows_are_skipped_and_said(server: Server) -> None:
    async with AsyncClient(server._path) as client:
        stream = client.stream("follow")
        first = asyncio.ensure_future(anext(stream))
        while not server._followers:
            await asyncio.sleep(0.01)
        for n in range(control_server.PENDING + 100):
            server.publish({"episode": {"id": n}})
        async with asyncio.timeout(10):
            assert await first == {"episode": {"id": 100}}
            async for item in stream:
                if "skipped" in item:
                    break
        assert item == {"skipped": 100}


async def test_one_who_does_not_read_is_let_go_and_others_are_served(server: Server, monkeypatch) -> None:
    monkeypatch.setattr(control_server, "PATIENCE", 0.3)
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
    assert "only root and group consentry-admin may do that: sudo usermod -aG consentry-admin nobody, and log in again" in change["error"]
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
    monkeypatch.setattr(control_server, "MOST_CLIENTS", 2)
    monkeypatch.setattr(control_server, "KEPT_FOR_ROOT", 0)
    async with AsyncClient(server._path), AsyncClient(server._path):
        assert await raw(server._path) == [{"id": None, "error": "2 clients are connected already", "status": 1}]
        with pytest.raises(Refused, match="2 clients"):
            await asyncio.to_thread(control.connect, server._path)
    async with asyncio.timeout(30):
        while server._tasks:
            await asyncio.sleep(0.01)
    assert (await raw(server._path))[0]["consentry"] == 1


async def many(_peer, args):
    for n in range(args["to"]):
        yield {"n": n, "text": "x" * args.get("each", 0)}
    yield Done()


async def broken(_peer, _args):
    raise KeyError("oops")
    yield


async def serving(path: Path, **verbs) -> Server:
    server = Server(path, {"whoami": Verb(whoami)} | {name: Verb(run) for name, run in verbs.items()}, "1", lambda _: [])
    await server.start()
    return server


async def test_a_long_answer_keeps_nobody_waiting(tmp_path: Path) -> None:
    server = await serving(tmp_path / "g.sock", many=many)
    async with AsyncClient(server._path) as reader, AsyncClient(server._path) as other:
        long = asyncio.ensure_future(reader.ask("many", to=20_000))
        await asyncio.sleep(0.01)
        for _ in range(20):
            assert (await other.ask("whoami")).done["uid"] == os.getuid()
        assert not long.done()
        assert len((await long).items) == 20_000
    await server.close()


async def test_a_request_is_known_to_be_its_users(tmp_path: Path) -> None:
    async def asks(_peer, _args):
        yield Done({"uid": await asyncio.ensure_future(later())})

    async def later() -> int:
        return readers.asking.get()

    server = await serving(tmp_path / "g.sock", asks=asks)
    async with AsyncClient(server._path) as client:
        assert (await client.ask("asks")).done["uid"] == os.getuid()
    assert readers.asking.get() == -1
    await server.close()


async def test_a_flood_of_questions_keeps_nobody_waiting(tmp_path: Path) -> None:
    server = await serving(tmp_path / "g.sock")
    flood = socket.socket(socket.AF_UNIX)
    flood.connect(str(server._path))
    flood.setblocking(False)
    async with AsyncClient(server._path) as other:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(flood, b'{"id": 1, "do": "whoami"}\n' * 100_000))
        for _ in range(20):
            assert (await other.ask("whoami")).done["uid"] == os.getuid()
        async with asyncio.timeout(30):
            with pytest.raises(ConnectionError):  # it does not read its answers: 1 MiB later it is let go
                await sending
        assert (await other.ask("whoami")).done["uid"] == os.getuid()
    flood.close()
    await server.close()


async def test_a_mistake_of_ours_is_an_answer_too(tmp_path: Path) -> None:
    server = await serving(tmp_path / "g.sock", broken=broken, many=many)
    async with AsyncClient(server._path) as client:
        with pytest.raises(Refused, match="oops"):
            await client.ask("broken")
        with pytest.raises(Refused, match="too long for one line"):
            await client.ask("many", to=1, each=LARGEST)
        assert (await client.ask("whoami")).done["uid"] == os.getuid()
    await server.close()


@pytest.mark.parametrize("number", [None, "1", [[[[]]]], {}, 1.5])
async def test_a_number_is_an_integer(server: Server, number) -> None:
    line = json.dumps({"id": number, "do": "whoami"}).encode()
    _, answer = await raw(server._path, line + b"\n")
    assert (answer["id"], answer["status"]) == (None, 2)


async def test_who_ends_its_side_still_gets_the_answer(server: Server) -> None:
    for _ in range(20):
        answers = await raw(server._path, b'{"id": 9, "do": "count", "to": 3}\n')
        assert [answer.get("id") for answer in answers[1:]] == [9, 9, 9, 9]


async def test_names_from_the_wire_travel_as_plain_json(tmp_path: Path) -> None:
    async def odd(_peer, _args):
        yield Done({"name": "\ud800\u2028é\n"})

    server = await serving(tmp_path / "g.sock", odd=odd)
    async with AsyncClient(server._path) as client:
        assert (await client.ask("odd")).done == {"name": "\ud800\u2028é\n"}
    await server.close()


async def test_the_readers_group_may_look(monkeypatch) -> None:
    nogroup = SimpleNamespace(gr_gid=65534)
    monkeypatch.setattr(control_server.grp, "getgrnam", {"consentry": nogroup}.__getitem__)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        server = await serving(Path(folder, "g.sock"))
        status = os.stat(server._path)
        assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o660, 0, 65534)
        code = f"import os, socket; os.setgroups([]); os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect({str(server._path)!r})"
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=True)
        await server.close()


# -- other users: real processes with real uids ------------------------------------------------------------------------

BECOME = """
import grp, json, os, socket, sys, time
path, groups = sys.argv[1], json.loads(sys.argv[2])
os.setgroups(groups); os.setgid(65534); os.setuid(65534)
def meet():
    s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(path); f = s.makefile("rwb"); f.s = s
    f.hello = json.loads(f.readline())
    return f
def ask(f, verb, **args):
    f.write(json.dumps({"id": 1, "do": verb} | args).encode() + b"\\n"); f.flush()
    return json.loads(f.readline())
"""


def as_nobody(server: Server, code: str, groups: list[int] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BECOME + code, str(server._path), json.dumps(groups or [])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def said_by(process: subprocess.Popen[str]) -> str:
    out, err = await asyncio.to_thread(process.communicate, None, 30)
    assert process.returncode == 0, err
    return out


@pytest.fixture
async def open_to_all():
    """As members of the readers' group see it: everybody may connect, and what counts is what they may do then."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        server = await serving(Path(folder, "g.sock"), many=many)
        server._verbs["change"] = Verb(whoami, changes=True)
        server._path.chmod(0o666)
        yield server
        await server.close()


@pytest.mark.parametrize(("given", "may"), [([65532], True), ([65531], False), ([], False)])
async def test_the_groups_of_the_process_count_and_not_those_of_the_database(open_to_all: Server, monkeypatch, given, may) -> None:
    names = {65532: "consentry-admin", 65531: "consentry"}

    def named(gid: int) -> SimpleNamespace:
        return SimpleNamespace(gr_name=names[gid])

    monkeypatch.setattr(control_server.grp, "getgrgid", named)
    monkeypatch.setattr(os, "getgrouplist", lambda *_: [65532])  # the database would let everybody
    said = await said_by(as_nobody(open_to_all, "print(json.dumps(ask(meet(), 'change')))", given))
    assert ("done" in json.loads(said)) is may


async def test_one_user_does_not_shut_out_another_nor_root(open_to_all: Server) -> None:
    """70 connections that say nothing, held by nobody: 16 are, the others are told; root comes in."""
    hold = "fs = [meet() for _ in range(70)]; print(sum('error' in f.hello for f in fs), flush=True); sys.stdin.read()"
    holder = as_nobody(open_to_all, hold)
    assert holder.stdout is not None
    assert int(await asyncio.to_thread(holder.stdout.readline)) == 70 - control_server.MOST_OF_A_USER
    for _ in range(5):
        async with AsyncClient(open_to_all._path) as root:
            assert (await root.ask("whoami")).done["uid"] == 0
    await said_by(holder)
    async with asyncio.timeout(10):
        while open_to_all._tasks:
            await asyncio.sleep(0.01)
    assert not open_to_all._of_user
    assert "'consentry'" in await said_by(as_nobody(open_to_all, "print(meet().hello)"))  # and the places are free again


async def test_many_users_leave_places_for_root(open_to_all: Server, monkeypatch) -> None:
    monkeypatch.setattr(control_server, "MOST_CLIENTS", 4)
    monkeypatch.setattr(control_server, "KEPT_FOR_ROOT", 1)
    hold = "fs = [meet() for _ in range(4)]; print(*(f.hello.get('error', 'in') for f in fs), sep='|', flush=True); sys.stdin.read()"
    holder = as_nobody(open_to_all, hold)
    assert holder.stdout is not None
    assert (await asyncio.to_thread(holder.stdout.readline)).strip() == "in|in|in|3 clients are connected already"
    async with AsyncClient(open_to_all._path) as root:
        assert (await root.ask("whoami")).done["uid"] == 0
    await said_by(holder)


async def test_ten_thousand_connections_and_bombs_keep_nobody_waiting(open_to_all: Server) -> None:
    """While somebody connects as fast as it can and sends JSON made to be slow, questions of root's are answered."""
    bombs = """
until = time.monotonic() + 3
n = 0
while time.monotonic() < until:
    try:
        f = meet(); n += 1
        if "error" in f.hello: continue
        for bomb in (b"[" * 60000, b'{"id":1,"do":' + b'"x",' * 9000, b"1" * 60000, b'[0,' * 15000, b'{"a":' * 9000, b'"' + bytes([92]) * 60000):
            f.write(bomb + b"\\n"); f.flush(); assert b"error" in f.readline()
    except (BrokenPipeError, ConnectionError): pass
print(n)
"""
    hostile = [as_nobody(open_to_all, bombs) for _ in range(2)]
    longest = 0.0
    loop = asyncio.get_running_loop()
    async with AsyncClient(open_to_all._path) as root:
        while any(process.poll() is None for process in hostile):
            asked = loop.time()
            assert (await root.ask("whoami")).done["uid"] == 0
            longest = max(longest, loop.time() - asked)
            await asyncio.sleep(0.01)
    assert sum(map(int, [await said_by(process) for process in hostile])) > 20
    print(f"root waited {longest * 1e3:.0f} ms at most")
    in_time(longest, 1.0)


async def test_the_end_is_the_end_of_who_has_just_come(tmp_path: Path) -> None:
    """Also of a client whose first turn had not come: nothing is left open, which the collector would tell of."""
    server = await serving(tmp_path / "g.sock")
    for turns in range(8):
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=far)
        server._accept(reader, writer)
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.close()
        near.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while await loop.sock_recv(near, 4096):
                pass
        near.close()


async def test_files_that_run_out_are_no_end(open_to_all: Server) -> None:
    """EMFILE: a server that has no file left for a client goes on with those it has, and takes others later."""
    crowd = as_nobody(open_to_all, """
sys.stdin.readline(); held = [socket.socket(socket.AF_UNIX) for _ in range(12)]
for s in held: s.connect(path)
print("there", flush=True); sys.stdin.readline()
""")
    assert crowd.stdin is not None
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    async with AsyncClient(open_to_all._path) as before:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 3, limit[1]))
        try:
            crowd.stdin.write("go\n")
            crowd.stdin.flush()
            async with asyncio.timeout(10):
                while not told:
                    assert (await before.ask("whoami")).done["uid"] == 0
                    await asyncio.sleep(0.02)
                for _ in range(5):
                    assert (await before.ask("whoami")).done["uid"] == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    await said_by(crowd)
    assert "out of system resource" in told[0]
    async with asyncio.timeout(10), AsyncClient(open_to_all._path) as after:
        assert (await after.ask("whoami")).done["uid"] == 0


async def test_a_link_in_the_sockets_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """What lies where the socket, or its first name, will be is no way to make root write somewhere else."""
    victim = tmp_path / "shadow"
    victim.write_text("kept")
    path = tmp_path / "g.sock"
    path.symlink_to(victim)
    path.with_name(f".g.sock.{os.getpid()}").symlink_to(victim)
    server = await serving(path)
    assert not path.is_symlink()
    assert path.is_socket()
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("kept", 0o644)
    await server.close()
