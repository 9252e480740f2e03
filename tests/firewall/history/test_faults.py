"""kill -9 a hundred times in the middle of writing, sealing and forgetting; a disk that stays full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from firewall.history import schema, seals

HERE = Path(__file__).parent
KILLS = """
import os, random, select, signal, sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from samples import row
from firewall import history
from firewall.history import schema, retention
import contextlib
history.WRITE_SECONDS = history.SEAL_SECONDS = history.PRUNE_SECONDS = 0.005
chance, told, started = random.Random(5), 0, 0
for kill in range(100):
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        store = history.History(Path({file!r}))
        number = store.next_id()
        while True:
            store.append([row(number), row(number + 1, verdict="allow")], closed=number - 5)
            number += 2
            time.sleep(0.002)
            with store._lock:
                waiting = [*store._rows, *store._writing]
            os.write(into, b"%d\\n" % (min(waiting, default=number) - 1))
    os.close(into)
    select.select([out], [], [], 10)
    time.sleep(chance.random() * 0.06)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    text = b""
    while some := os.read(out, 1 << 16):
        text += some
    os.close(out)
    lines = text.rpartition(b"\\n")[0].split()
    started += bool(lines)
    told = max([told, *map(int, lines)])
    with contextlib.closing(schema.reader(Path({file!r}))) as db:
        there = schema.last_id(db)
        assert there >= told, (kill, there, told)
print(started, told)
"""
FULL = """
import sys, time, os
sys.path[:0] = {path!r}
from pathlib import Path
from samples import row
from firewall import history
from rules.expression import parse_filter
history.RETRY_SECONDS = history.WRITE_SECONDS = 0.05
history.SEAL_SECONDS = 0.2
history.MOST_WAITING = 200
store = history.History(Path("history.db"))
store._ballast.put()
assert os.path.exists("history.db.ballast")
n = 0
while n < 12_000:  # more than twice what there is room for
    for _ in range(40):
        n += 1
        store.append([row(n, name=f"n{{n}}.example", reason=f"{{n:04}} " * 60)], closed=n - 10)
    time.sleep(0.02)
until = time.monotonic() + 20
while store.trouble or store._rows:
    assert time.monotonic() < until, store.trouble
    time.sleep(0.05)
assert n in [one.id for one in store.query(parse_filter(""), 100, time.time())]
found = len(store.query(parse_filter(""), 100_000, time.time()))
print(n, found)
store.close()
"""


def run(code: str, *before: str, **values) -> str:
    filled = code.format(path=[str(HERE.parents[1] / "helpers"), *sys.path], **values)
    done = subprocess.run([*before, sys.executable, "-c", filled] if not before else [*before], capture_output=True, text=True, timeout=110, check=False, env=os.environ | {"CODE": filled})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_hundred_kills_lose_no_row_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    started, told = map(int, run(KILLS, file=str(file)).split())
    assert started >= 95
    assert told > 500
    with contextlib.closing(schema.reader(file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        verdict = list(seals.verify(db))[-1]
        assert verdict["broken"] == []
        assert verdict["minutes"] > 50
        assert db.execute("SELECT count(*) FROM episodes").fetchone()[0] >= told


def test_a_disk_that_stays_full_keeps_the_newest_rows(tmp_path: Path) -> None:
    """On a tmpfs of 8 MiB of our own: the oldest minutes make way, with the help of the spare file; the chain is whole."""
    mount = f'mount -t tmpfs -o size=8m tmpfs {tmp_path} && cd {tmp_path} && {sys.executable} -c "$CODE" && {sys.executable} -P -m firewall.history.seals history.db'
    told = run(FULL, "unshare", "-m", "bash", "-c", mount).splitlines()
    appended, found = map(int, told[0].split())
    assert 0 < found < appended
    assert '"broken": []' in told[-1]
