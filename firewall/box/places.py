"""Where the keeper leaves what the gateway and the command line look for."""

from __future__ import annotations

from typing import Final

# In the run directory:
CHILDREN: Final = "children.json"
PID: Final = "keeper.pid"
CONFIGS: Final = ("dnsmasq.conf", "hostapd.conf")
IN_FORCE: Final = "plan.toml"  # the plan that stands, whatever its owner writes meanwhile
CONTROL: Final = "hostapd"  # a folder of control sockets
# In the state directory:
LEASES: Final = "leases"
