"""Who has the default route: the way to the internet when the plan says "auto"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firewall.box.machine import shown

if TYPE_CHECKING:
    from collections.abc import Collection



def default_route(without: Collection[str] = ()) -> str:
    """The interface of the default route with the lowest metric, IPv4 before IPv6; "" if there is none."""
    for family in ("-4", "-6"):
        found = [
            (route.get("metric", 0), route["dev"])
            for route in shown(family, "route", "show", "default")
            if "dev" in route and route["dev"] not in without and "linkdown" not in route.get("flags", ())
        ]
        if found:
            return str(min(found)[1])
    return ""
