"""Whose address counts, whatever clients put into the headers that proxies write."""

import time
from ipaddress import ip_address, ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from app.access.addresses import HOPS_MAX, LENGTH_MAX, TrustedProxies, address_of, limited_as

PROXY, NEXT, CLIENT, FORGED = "10.0.0.1", "10.0.0.2", "203.0.113.9", "198.51.100.66"
TRUSTED = TrustedProxies((ip_network("10.0.0.0/24"), ip_network("fd00::/8")))
V6 = "2001:db8::1"
Lines = list[tuple[str, str]]


def asked(lines: Lines, *, peer: str = PROXY) -> web.Request:
    return make_mocked_request("POST", "/api/events", CIMultiDict(lines)).clone(remote=peer)


def x(*lines: str) -> Lines:
    return [("X-Forwarded-For", line) for line in lines]


def rfc(*lines: str) -> Lines:
    return [("Forwarded", line) for line in lines]


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], PROXY),
        (x(CLIENT), CLIENT),
        (x(f"{FORGED}, {CLIENT}"), CLIENT),
        (x(f"{FORGED},{CLIENT} ,{NEXT}"), CLIENT),
        (x(FORGED, CLIENT), CLIENT),
        (x(f"{FORGED}, {CLIENT}", NEXT), CLIENT),
        (x(f"{CLIENT}:4711"), CLIENT),
        (x(V6), V6),
        (x(f"[{V6}]"), V6),
        (x(f"[{V6}]:443"), V6),
        (x(f"{V6}%eth0"), V6),
        (x(f"::ffff:{CLIENT}"), CLIENT),
        (x(f"{CLIENT}, ::ffff:{NEXT}"), CLIENT),
        (x(f"{CLIENT}, fd00::7"), CLIENT),
        (x(f", ,{CLIENT}, ,"), CLIENT),
        (x(""), PROXY),
        (x(" , "), PROXY),
        (x(NEXT), NEXT),
        (x(f"10.0.0.9, {NEXT}"), "10.0.0.9"),
        (x("unknown"), PROXY),
        (x(f"{FORGED}, unknown"), PROXY),
        (x(f"{FORGED}, garbage, {NEXT}"), NEXT),
        (x(f"garbage, {CLIENT}"), CLIENT),
        (x(f"{CLIENT}:"), PROXY),
        (x(f"{CLIENT}:http"), PROXY),
        (x(f"[{CLIENT}]"), PROXY),
        (x(f"[{V6}"), PROXY),
        (x(f"[{V6}]443"), PROXY),
        (x("203.0.113.09"), PROXY),
        (x("\u0662.0.0.1"), PROXY),
        (x("," * LENGTH_MAX + CLIENT), PROXY),
        (x(*[f"{FORGED}"] * 9, CLIENT), CLIENT),
        (x(f"{CLIENT}" + f",{NEXT}" * HOPS_MAX), NEXT),
        (rfc(f"for={CLIENT}"), CLIENT),
        (rfc(f"For={CLIENT};proto=https;by={PROXY}"), CLIENT),
        (rfc(f"for={FORGED}, for={CLIENT}"), CLIENT),
        (rfc(f"for={FORGED}", f"for={CLIENT}"), CLIENT),
        (rfc(f'for="[{V6}]:4711"'), V6),
        (rfc(f'for={FORGED}, for="{CLIENT}:80", for={NEXT}'), CLIENT),
        (rfc(f"for={CLIENT}:4711"), CLIENT),
        (rfc("for=_hidden"), PROXY),
        (rfc("for=unknown"), PROXY),
        (rfc(f"for={FORGED}, proto=https"), PROXY),
        (rfc(f"for={FORGED},"), PROXY),
        (rfc(""), PROXY),
        (rfc(f'for={FORGED}, x="', f"for={CLIENT}"), CLIENT),
        (rfc(f'for={FORGED}, x=", for={CLIENT}'), CLIENT),
        (rfc(f'for={FORGED}, x=", for="[{V6}]"'), PROXY),
        (rfc(";" * LENGTH_MAX + f"for={CLIENT}"), PROXY),
        (x(CLIENT) + rfc(f"for={CLIENT};proto=https"), CLIENT),
        (x(CLIENT) + rfc(f"for={FORGED}"), PROXY),
        (x(FORGED) + rfc(f"for={CLIENT}"), PROXY),
        (x(f"{CLIENT}, {NEXT}") + rfc(f"for={CLIENT}"), CLIENT),
    ],
)
def test_the_client_behind_trusted_proxies(lines: Lines, client: str) -> None:
    assert str(TRUSTED.client_of(asked(lines))) == client
    assert not TRUSTED.is_passed_on_by_stranger(asked(lines))


@pytest.mark.parametrize("lines", [x(FORGED), rfc(f"for={FORGED}"), x(FORGED) + rfc(f"for={FORGED}")])
def test_a_stranger_is_not_believed(lines: Lines) -> None:
    for proxies in (TRUSTED, TrustedProxies()):
        for peer in (CLIENT, f"::ffff:{CLIENT}"):
            assert str(proxies.client_of(asked(lines, peer=peer))) == CLIENT
            assert proxies.is_passed_on_by_stranger(asked(lines, peer=peer))
            assert not proxies.is_passed_on_by_stranger(asked([], peer=peer))
    assert TRUSTED.client_of(asked(lines, peer="/run/a.sock")) is None
    assert TRUSTED.is_passed_on_by_stranger(asked(lines, peer=""))


def test_a_peer_in_the_form_of_the_other_family_is_a_trusted_one() -> None:
    assert str(TRUSTED.client_of(asked(x(CLIENT), peer=f"::ffff:{PROXY}"))) == CLIENT


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (CLIENT, CLIENT),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (f"::ffff:{CLIENT}", CLIENT),
        ("", "unknown"),
        ("\udcff", "unknown"),
    ],
)
def test_what_is_limited_together(address: str, name: str) -> None:
    assert limited_as(address_of(address)) == name


@given(st.lists(st.sampled_from([FORGED, "", "x", V6, f"[{V6}]:1", '"', "for=", ";", " ", "unknown", "\\", "="])))
def test_nothing_that_a_client_sends_hides_its_address(parts: list[str]) -> None:
    forged = ",".join(parts)
    assert str(TRUSTED.client_of(asked(x(f"{forged}, {CLIENT}")))) == CLIENT
    assert str(TRUSTED.client_of(asked(rfc(f"{forged}, for={CLIENT}")))) in (CLIENT, PROXY)
    assert str(TRUSTED.client_of(asked(rfc(f'{forged}, for="[{V6}]:7"')))) in (V6, PROXY)


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_every_address_is_read_as_it_is_written(address: object, port: int) -> None:
    expected = ip_address(str(address))
    if getattr(expected, "ipv4_mapped", None) is None:
        assert address_of(str(address)) == expected
        bracketed = f"[{address}]" if ":" in str(address) else str(address)
        assert address_of(f"{bracketed}:{port}") == expected


@pytest.mark.parametrize("piece", [",", ";", "10.0.0.1,", 'for="', '"\\', "for=10.0.0.1,", "for=a;"])
def test_no_header_takes_long(piece: str) -> None:
    line = piece * (8190 // len(piece))
    request = asked(x(*[line] * 60) + rfc(*[line] * 60))
    began = time.process_time()
    TRUSTED.client_of(request)
    assert time.process_time() - began < 0.05
