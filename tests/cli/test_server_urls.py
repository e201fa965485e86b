"""URLs of Valkey and Redis servers: what is wrong is one line that names the setting, and no part of the password."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, urlsplit

import pytest
from allocation_gateway.settings import server_url
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import Authority
from support.front import KEY
from support.gateway import PREFIX

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Command

GOOD: Final = {"ALLOW_PLAINTEXT": "true", "SHIP_API_KEY": KEY}
SETTINGS: Final = ("STORE_URL", "CACHE_URL")
ENCODE: Final = "must be percent-encoded"
# What is given, and what the line says.
WRONG: Final = [
    ("redis://:p@ss/w#rd@host/0", ENCODE),
    ("redis://:wo/rd@host/0", ENCODE),
    ("redis://:wo#rd@host/0", ENCODE),
    ("redis://:wo?rd@host/0", ENCODE),
    ("redis://user:12/34@host/0", ENCODE),
    ("redis://user:12?a=b@host/0", ENCODE),
    ("redis://:wo[rd@host/0", ENCODE),
    ("redis://:wo\u2100rd@host/0", ENCODE),
    ("redis://:wo rd@host/0", ENCODE),
    ("redis://:wo\trd@host/0", ENCODE),
    ("redis://user:word", "the port must be a whole number from 1 to 65535"),
    ("redis://host:0", "the port must be a whole number from 1 to 65535"),
    ("redis://host:65536", "the port must be a whole number from 1 to 65535"),
    ("redis://host:port/0", "the port must be a whole number from 1 to 65535"),
    ("redis:///0", "names a host"),
    *(
        (f"redis://host/0?client_name={name}", "the option client_name must be a name of printable ASCII characters")
        for name in ("", "a%20b", "a+b", "a%0Ab", "a%7Fb", "caf%C3%A9")
    ),
    ("redis://:word@/0", "names a host"),
    ("redis://:word@ho!st/0", "the host holds characters"),
    ("redis://:word@host?password_file=/dev/null", "password_file must not be given together with another password"),
    ("redis://host?password_file=/no/such/file", "password_file: /no/such/file cannot be used: No such file"),
    ("redis://host?password_file=/dev/null", "password_file: /dev/null cannot be used: /dev/null holds no password"),
    ("redis://host/zero", "the number of a database"),
    ("redis://host/0/1", "the number of a database"),
    ("redis://host/-1", "the number of a database"),
    ("redis://host/99999999999", "the number of a database"),
    ("redis://host/0#1", "must not hold a fragment"),
    ("redis://host?db=one", "the option db must be the number of a database"),
    ("redis://host/1?db=2", "name different databases"),
    ("redis://host?db=1&db=2", "is given twice"),
    ("redis://host?ssl", "as name=value"),
    ("rediss://host?ssl_ca_cert=x", "the option 'ssl_ca_cert' after ? is not known"),
    ("rediss://host?ssl_cert_reqs=no", "the option ssl_cert_reqs must be none, optional or required"),
    ("rediss://host?ssl_check_hostname=perhaps", "the option ssl_check_hostname must be true or false"),
    ("rediss://host?ssl_min_version=1", "the option ssl_min_version must be TLSv1.2 or TLSv1.3"),
    ("rediss://host?ssl_ca_certs=/no/such/file", "ssl_ca_certs: /no/such/file cannot be read: No such file"),
    ("rediss://host?ssl_ca_certs=/dev/null", "ssl_ca_certs: /dev/null holds no PEM certificates"),
    ("rediss://host?ssl_ca_path=/no/such/folder", "ssl_ca_path: /no/such/folder is not a folder"),
    ("rediss://host?ssl_keyfile=/dev/null", "ssl_keyfile needs ssl_certfile"),
    ("rediss://host?ssl_certfile=/dev/null", "ssl_certfile and ssl_keyfile cannot be used together"),
    ("rediss://host?ssl_ciphers=none", "ssl_ciphers names no cipher"),
    ("redis://host?ssl_ca_certs=/dev/null", "ssl_ca_certs needs TLS"),
    ("redis://host?socket_timeout=soon", "the option socket_timeout must be a number of seconds"),
    ("redis+sentinel://host:26379", "must be the name that they know the primary by"),
    ("redis+sentinel://host:26379//0", "must be the name that they know the primary by"),
    ("redis+sentinel://one,two/pri%20mary/0", "must be the name that they know the primary by"),
    ("redis+sentinel://one,two:port/primary", "the port must be a whole number from 1 to 65535"),
    ("redis+sentinel://one,/primary", "names a host"),
    ("redis+sentinel://:wo/rd@one,two/primary", ENCODE),
    ("redis+sentinel://:wo#rd@one,two/primary", ENCODE),
    ("redis+sentinel://one/primary/zero", "the number of a database"),
    ("redis://one,two/0", "the host holds characters"),
    ("redis://host/0?sentinel_password=word", "the option sentinel_password needs Sentinels"),
    ("redis://host/0?sentinel_password_file=/dev/null", "the option sentinel_password_file needs Sentinels"),
    ("redis+sentinel://one/a?sentinel_password_file=/no/file", "sentinel_password_file: /no/file cannot be used"),
    (
        "redis+sentinel://one/a?sentinel_password_file=/dev/null&sentinel_password=word",
        "sentinel_password_file must not be given together with another password",
    ),
    ("redis+cluster://one,two/1", "a cluster has only database 0"),
    ("redis+cluster://one,two?db=2", "a cluster has only database 0"),
    ("redis+cluster://one,two/primary", "the number of a database"),
    ("redis+cluster://one,:7000", "names a host"),
    ("redis+cluster://one:port,two", "the port must be a whole number from 1 to 65535"),
    ("redis+cluster://:wo/rd@one,two", ENCODE),
    ("redis+cluster://one,two?sentinel_username=x", "the option sentinel_username needs Sentinels"),
    ("redis+cluster://one,two?ssl_ca_certs=/dev/null", "ssl_ca_certs needs TLS"),
    ("redis+sentry://host/primary", "must be a redis:// or rediss:// URL"),
    ("unix:///run/redis.sock", "must be a redis:// or rediss:// URL"),
    ("http://host", "must be a redis:// or rediss:// URL"),
    ("host:6379", "must be a redis:// or rediss:// URL"),
]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("url", "text"), WRONG)
def test_wrong_url_is_one_line_that_says_what_is_wrong(url: str, text: str, setting: str, command: Command) -> None:
    done = command("check", **GOOD, **{setting: url})
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"allocation-gateway: {PREFIX}{setting}: ")
    assert done.err.count("\n") == 1
    assert text in done.err
    assert "word" not in done.err.replace("password", "")


@pytest.mark.parametrize(
    ("url", "sentinels"),
    [
        ("redis+sentinel://one", (("one", 26379),)),
        ("VALKEYS+SENTINEL://u:p@one:1,127.0.0.1,[::1]:3", (("one", 1), ("127.0.0.1", 26379), ("::1", 3))),
        ("rediss-sentinel://u:p%2C%40@one:1,two", (("one", 1), ("two", 26379))),
    ],
)
@pytest.mark.parametrize("path", ["/mymaster", "/mymaster/", "/mymaster/3", "/mymaster?db=3&sentinel_password=word"])
def test_url_of_sentinels_names_all_of_them_and_the_primary(
    url: str, sentinels: tuple[object, ...], path: str, command: Command
) -> None:
    read = server_url.parse(url + path)
    assert (read.sentinels, read.service, read.database) == (sentinels, "mymaster", 3 if "3" in path else 0)
    assert (read.sentinel_password, "sentinel_password" in read.options) == ("word" if "word" in path else "", False)
    assert (read.username, bool(read.password)) == (("u", True) if "@" in url else ("", False))
    assert read.is_tls is url.lower().startswith(("valkeys", "rediss"))
    told = read.at("127.0.0.2", 7)
    assert (told.address, told.sentinels, told.database, told.password) == (
        "127.0.0.2:7",
        (),
        *read[5:6],
        read.password,
    )
    assert command("check", **GOOD, STORE_URL=url + path).code == 0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host", ("host", 6379, False, "", "", 0)),
        ("VALKEY://host:1/", ("host", 1, False, "", "", 0)),
        ("valkeys://user:wo%2Frd%23@host:7/3", ("host", 7, True, "user", "wo/rd#", 3)),
        ("rediss://:p@ss@[::1]:7/15?", ("::1", 7, True, "", "p@ss", 15)),
        ("redis://user@127.0.0.1?db=4&protocol=3", ("127.0.0.1", 6379, False, "user", "", 4)),
        ("redis://host/0?client_name=a@b", ("host", 6379, False, "", "", 0)),
    ],
)
@pytest.mark.parametrize("setting", SETTINGS)
def test_good_url_is_read_as_it_is_meant(
    url: str, expected: tuple[object, ...], setting: str, command: Command
) -> None:
    assert server_url.parse(url)[:6] == expected
    assert command("check", **GOOD, **{setting: url}).code == 0


def test_files_of_a_url_that_can_be_used_are_accepted(tmp_path: Path, command: Command) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("client")
    options = f"ssl_ca_certs={authority.file}&ssl_certfile={chain}&ssl_keyfile={key}&ssl_min_version=TLSv1.3"
    assert command("check", **GOOD, STORE_URL=f"valkeys://host/0?{options}").code == 0


@given(user=st.text(max_size=8), password=st.text(min_size=1, max_size=20))
def test_every_password_can_be_given_and_none_that_is_not_encoded_changes_the_host(user: str, password: str) -> None:
    read = server_url.parse(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@host:1/2")
    assert (read.host, read.port, read.database, read.username, read.password) == ("host", 1, 2, user, password)
    # What is told of one that is not encoded does not depend on the password.
    assert hosts(password) in {("host", 1, 2), hosts("a/b"), hosts("a b"), hosts("a[b")}


def hosts(password: str) -> object:
    """Returns what is read of a URL with a password as it is, or what is said of it."""
    try:
        read = server_url.parse(f"redis://user:{password}@host:1/2")
    except ValueError as error:
        return f"{error}"
    return read.host, read.port, read.database


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis+cluster://one", (("one", 6379),)),
        ("VALKEYS+CLUSTER://u:p@one:1,127.0.0.1,[::1]:3/", (("one", 1), ("127.0.0.1", 6379), ("::1", 3))),
        ("rediss-cluster://u:p%2C%40@one:1,two/0", (("one", 1), ("two", 6379))),
    ],
)
def test_url_of_a_cluster_names_some_of_its_nodes_and_is_for_claims_alone(
    url: str, nodes: tuple[object, ...], command: Command
) -> None:
    read = server_url.parse(url)
    assert (read.nodes, read.sentinels, read.database) == (nodes, (), 0)
    assert read.is_tls is url.lower().startswith(("valkeys", "rediss"))
    told = read.at("127.0.0.2", 7)
    assert (told.address, told.nodes, told.username) == ("127.0.0.2:7", (), read.username)
    assert command("check", **GOOD, STORE_URL=url).code == 0
    refused = command("check", **GOOD, CACHE_URL=url)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "CACHE_URL: a cluster can only be used for claims" in refused.err


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
@pytest.mark.parametrize("hosts", ["[::1],[::2]:2,three", "one,[::1]:1,[::2]", "[::1]:1,two:2"])
@pytest.mark.parametrize("user", ["", "u:p%2C%40@", "u:a,b@"])
def test_several_ipv6_hosts_are_never_one_host_for_python(
    kind: str, hosts: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_url, "urlsplit", urlsplit_of_newer_pythons)
    read = server_url.parse(f"redis+{kind}://{user}{hosts}{'/mymaster/0' if kind == 'sentinel' else '/0'}")
    named = [host.partition("]")[0].lstrip("[") if "[" in host else host.partition(":")[0] for host in hosts.split(",")]
    assert [host for host, _ in read.sentinels or read.nodes] == named


def urlsplit_of_newer_pythons(url: str) -> SplitResult:
    """Takes a URL apart as Pythons since 3.11.12, 3.12.9 and 3.13.2 do, with brackets around a whole host only."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    before, bracket, after = host.partition("[")
    if bracket:
        address, _, port = after.partition("]")
        if before or (port and not port.startswith(":")) or "[" in port:
            raise ValueError("Invalid IPv6 URL")
        ip_address(address)
    return parts
