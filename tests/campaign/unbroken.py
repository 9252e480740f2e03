"""`make unbroken`, the other half: what must not be broken is not. A few minutes.

Every agreed hello and request of ../shared/data/pcaps over TCP said again live, through a gate whose rules need the name;
two hundred hellos of three stacks, and of Chromium and Go where these are installed, over IPv4 and IPv6; and what is said while another phone
sends ten thousand odd segments. Writes tests/campaign/unbroken.md.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import clients
import corpora
import families
import halves
import relive
from judge import BY_NAME, Lab, lab_up

HERE = Path(__file__).parent
GO = """package main
import ("context"; "crypto/tls"; "fmt"; "net"; "net/http"; "os")
func main() {
	way := http.DefaultTransport.(*http.Transport)
	way.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	for number, url := range os.Args[1:] {
		way.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, []string{"tcp4", "tcp6"}[number % 2], addr)
		}
		if _, err := http.Get(url); err != nil { fmt.Println(url, err) }
	}
}
"""


def relived(lab: Lab) -> Iterator[str]:
    found = list(relive.flights())
    of = sum(row.kind != corpora.QUIC for rows in corpora.wanted().values() for row in rows)
    given = "\n".join(json.dumps({"name": name, "said": [data.hex() for data in said]}) for _, name, said in found)
    for family, phone in zip((4, 6), lab.namespaces["phones"], strict=False):
        argv = ["ip", "netns", "exec", phone, sys.executable, relive.__file__, str(family)]
        broken = subprocess.run(argv, input=given, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()
        time.sleep(3)
        rows = [row for row in lab.history("last:1h") if row["phone"] == f"phone{1 + (family == 6)}"]
        named = {name["name"] for row in rows for name in row["names"]}
        missing = sorted({name for _, name, _ in found if not name.replace(".", "").replace(":", "").isdigit()} - named)
        yield f"IPv{family}: of {of} agreed rows over TCP {len(found)} could be said again, {len(found) - len(broken)} arrived whole"
        yield from (f"    broken: {line}" for line in broken)
        yield f"IPv{family}: names that the gate did not see: {', '.join(missing) or 'none'}"


def stacks(lab: Lab) -> Iterator[str]:
    broken = lab.phone(sys.executable, clients.__file__, "all", "70", timeout=300).stdout.splitlines()
    tokens = {clients.words("all", stack, number)[1] for stack in ("python", "openssl", "curl") for number in range(70)}
    payloads = "\0".join(row["payload"] for row in lab.sinks())
    yield f"Python, OpenSSL and curl: {len([1 for token in tokens if token in payloads])} of {len(tokens)} hellos led to their token"
    yield from (f"    broken: {line}" for line in broken)


def browsers(lab: Lab) -> Iterator[str]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    urls = [f"https://browser{number}.friendly.example/chrome{number}x" for number in range(6)]
    if chromium:
        for number, url in enumerate(urls):
            place = f"--host-resolver-rules=MAP * {('198.51.100.44', '[2001:db8:feed::44]')[number % 2]}"
            lab.phone(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", place, "--dump-dom", url, check=False, timeout=60)
        yield f"Chromium: {sum(lab.arrived(url.rpartition('/')[2]) for url in urls)} of {len(urls)}"
    else:
        yield "Chromium: not installed here"
    if shutil.which("go"):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "main.go").write_text(GO)
            subprocess.run(["go", "build", "-o", "get", "main.go"], cwd=folder, check=True, timeout=300)
            urls = [f"https://go{number}.friendly.example/go{number}x" for number in range(20)]
            said = lab.phone(f"{folder}/get", *urls, timeout=120).stdout
            yield f"Go: {sum(lab.arrived(url.rpartition('/')[2]) for url in urls)} of {len(urls)} {said}"
    else:
        yield "Go: not installed here"


def flooded(lab: Lab) -> Iterator[str]:
    phones = lab.namespaces["phones"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "ordinary")
        flood = subprocess.Popen(["ip", "netns", "exec", phones[0], sys.executable, halves.__file__, "25", "200"], stdout=subprocess.PIPE, text=True)
        subprocess.run(["ip", "netns", "exec", phones[1], sys.executable, str(HERE.parent / "helpers/ordinary.py"), "10", "10", str(log)], check=True)
        sent = flood.communicate(timeout=120)[0].strip()
        rows = [json.loads(line) for line in log.read_text().splitlines()]
    slow = sorted(row["seconds"] for row in rows)[-max(1, len(rows) // 100)]
    yield f"beside {sent} odd segments of another phone {sum(row['ok'] for row in rows)} of {len(rows)} ordinary requests succeeded, the slowest hundredth in {slow:.2f} s"


def main() -> int:
    lines = ["# What must not be broken", "", f"`make unbroken` on {time.strftime('%F %H:%M')}.", ""]
    for part in (relived, stacks, browsers, flooded):
        with tempfile.TemporaryDirectory() as folder:
            rules = Path(folder, "rules.toml")
            rules.write_text(BY_NAME)
            with lab_up(rules) as lab:
                for line in families.told(part(lab)):
                    print(line, flush=True)
                    lines.append(line if line.startswith(" ") else f"* {line}")
    (HERE / "unbroken.md").write_text("\n".join(lines) + "\n")
    return any("broken:" in line for line in lines)


if __name__ == "__main__":
    sys.exit(main())
