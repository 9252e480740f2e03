"""Who runs networks: sets of AS numbers and networks that we have gathered under one word each, for `operator:`.

Numbers are matched, never names: AS18245 calls itself CNNIC and is a broadband provider, AS213215 is a Mr. Wu. A word
means whose network it is, not whose service: Xiaomi, Oppo, Vivo and Samsung live in other people's clouds, and the
networks of Amazon, Google or Alibaba carry everybody's. Services are followed by name (`service:`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rules.index import Atom
from rules.networks import parse_network

if TYPE_CHECKING:
    from rules.networks import Range


@dataclass(frozen=True, slots=True)
class Operator:
    """`networks` are told apart without any database."""

    id: str
    title: str
    asns: tuple[int, ...]
    networks: tuple[Range, ...]
    source: str
    date: str  # of the source, ISO 8601

    def atom(self) -> Atom:
        return Atom(networks=self.networks, facts=tuple(("asn", asn) for asn in self.asns))


_BGP: Final = "RouteViews via @ip-location-db/asn 2.3.2026061719"


def _operator(
    id_: str, title: str, asns: str, networks: str = "", source: str = _BGP, date: str = "2026-06-17"
) -> Operator:
    return Operator(
        id_, title, tuple(map(int, asns.split())), tuple(map(parse_network, networks.split())), source, date
    )


_ALL: Final = (
    _operator(
        "cnnic", "CNNIC", "24151 24406 24409 58858",
        "1.2.4.0/24 42.83.128.0/20 42.83.144.0/22 42.83.189.0/24 42.83.190.0/24 42.83.200.0/23 125.208.32.0/20 "
        "125.208.49.0/24 203.99.19.0/24 203.119.24.0/21 203.119.32.0/22 210.2.2.0/23 210.2.4.0/22 210.2.8.0/21 "
        "218.241.96.0/19 2001:dc7::/32 2406:2700::/32",
    ),
    _operator(
        "xiaomi", "Xiaomi", "63855 63915", "42.62.48.0/24 43.224.244.0/22 103.43.244.0/22",
        f"{_BGP}; 42.62.48.0/24: Xiaomi's server room of 2014, by the addresses in its SDKs",
    ),
    _operator("alibaba", "Alibaba", "24429 37963 45102 134963"),
    _operator("tencent", "Tencent", "45090 132203 132591 133478 137876"),
    _operator(
        "huawei", "Huawei",
        "55990 63727 131444 136907 141180 149167 151610 200756 206204 206798 265443",
    ),
    _operator("bytedance", "ByteDance (TikTok)", "11983 138699 396986"),
    _operator("baidu", "Baidu", "38365 38627"),
    _operator("kingsoft", "Kingsoft Cloud", "59019 137280"),
    _operator(
        "samsung", "Samsung",
        "6619 22106 38130 45985 49275 53293 56013 134027 139269 139569 200473 272693 393355 394553 400895",
    ),
    _operator(
        "google", "Google",
        "15169 16550 19527 32381 33715 36040 36383 36384 36385 36411 36492 36987 41264 43515 45566 139070 139190 "
        "394089 394507 394639 395973 396178 396982 214609 214611",
    ),
    _operator("apple", "Apple", "714 6185 31128 215050 216183"),
    _operator("amazon", "Amazon", "801 7224 8987 9059 14618 16509 21664 36263 62785 214101 400098 401395"),
    _operator(
        "microsoft", "Microsoft",
        "3598 5761 8068 8069 8070 8071 8075 12076 17144 30520 35106 45139 46182 54396 58862 59067 63314 200517",
    ),
    _operator("cloudflare", "Cloudflare", "13335 14789 132892 139242 202623 203898 209242 394536 395747 400095"),
    _operator(
        "akamai", "Akamai",
        "12222 16625 17204 18680 18717 20940 21342 24319 26008 31108 31984 32787 33047 33905 34164 35204 35994 36183 "
        "43639 49846 55770 63949 200005 213120 393234 393560",
    ),
    _operator("meta", "Meta (Facebook, WhatsApp)", "11917 32934 54115 63293 149642"),
    _operator("yandex", "Yandex", "13238"),
)
OPERATORS: Final = {operator.id: operator for operator in _ALL}
_BY_ASN: Final = {asn: operator.id for operator in _ALL for asn in operator.asns}


def operator_of(asn: int | None) -> str:
    """Id of the operator whose number this is; "" if we have not gathered it."""
    return _BY_ASN.get(asn, "") if asn else ""
