import sys, os, subprocess, time
sys.path.insert(0, "/tmp/wt4/guest/tests/guest")
import world, box
from pathlib import Path
from firewall.settings import Settings
world.ip("link add wan0 type veth peer name eth0", "addr add 203.0.113.1/24 dev wan0", "link set wan0 up", f"link add {box.LAN} type bridge", f"addr add 10.77.0.1/24 dev {box.LAN}", f"link set {box.LAN} up")
world.say("starting")
f = Settings(lan=box.LAN, wan="wan0", upstreams=("9.9.9.9",)).write()
p = world.begin("prof", sys.executable, "-P", "-X", "importtime" if len(sys.argv)>1 else "utf8", "-c", f"""
import faulthandler,sys,time
t=time.time()
faulthandler.dump_traceback_later(4, repeat=True)
import firewall.app as a
print('imported', time.time()-t, flush=True)
import asyncio
orig=a.App.status
a.App.beat_=a.App.beat
def beat(self):
    print('BEAT', time.time()-t, self.gateway.state, flush=True)
a.App.beat=beat
sys.exit(a.main({str(f)!r}))
""")
time.sleep(75)
p.terminate(); p.wait(20)
print(world.said("prof")[-15000:])
