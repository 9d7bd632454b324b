"""Host patterns: Ansible's examples, and the laws of sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.spec.patterns import select

HOSTS = ("node01", "node02", "node03", "node04", "relay", "db.example")
GROUPS = {
    "all": HOSTS,
    "validators": ("node01", "node02", "node03", "node04"),
    "rack1": ("node01", "node03", "relay"),
    "rack2": ("node02", "node04"),
    "empty": (),
}


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("all", "node01 node02 node03 node04 relay db.example"),
        ("*", "node01 node02 node03 node04 relay db.example"),
        ("rack1", "node01 node03 relay"),
        ("rack2,rack1", "node01 node02 node03 node04 relay"),
        ("rack2:relay", "node02 node04 relay"),
        ("validators:&rack1", "node01 node03"),
        ("validators:&rack1:!node03", "node01"),
        ("!node03:&rack1:validators", "node01"),
        ("!validators", "relay db.example"),
        ("&rack1", "node01 node03 relay"),
        ("node*", "node01 node02 node03 node04"),
        ("rack?", "node01 node02 node03 node04 relay"),
        ("*.example", "db.example"),
        ("~node0[13]", "node01 node03"),
        ("~(re|db)", "relay db.example"),
        ("validators[0]", "node01"),
        ("validators[-1]", "node04"),
        ("validators[1:2]", "node02 node03"),
        ("validators[2:]", "node03 node04"),
        ("validators[1:-1]", "node02 node03 node04"),
        ("validators[0-1]", "node01 node02"),
        ("rack*[0:1],relay", "node01 node02 relay"),
        (" rack1 , !relay ", "node01 node03"),
        ("empty", ""),
        ("rack1:!rack1", ""),
    ],
)
def test_select(pattern: str, hosts: str) -> None:
    assert select(pattern, HOSTS, GROUPS) == tuple(hosts.split())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", 'host pattern "" names nothing; write "all" for all hosts'),
        (" , ", 'host pattern " , " names nothing; write "all" for all hosts'),
        ("nod01", 'host pattern "nod01": "nod01" matches no group and no host; '
                  'did you mean "node01"? (groups: all, validators, rack1, rack2, empty)'),
        ("all:!rak1", 'host pattern "all:!rak1": "rak1" matches no group and no host; '
                      'did you mean "rack1"? (groups: all, validators, rack1, rack2, empty)'),
        ("x*", 'host pattern "x*": "x*" matches no group and no host; '
               "groups: all, validators, rack1, rack2, empty"),
        ("all:!", 'host pattern "all:!": "" matches no group and no host; '
                  "groups: all, validators, rack1, rack2, empty"),
        ("rack1[3]", 'host pattern "rack1[3]": "rack1[3]" is beyond the 3 hosts of rack1, which count from 0'),
        ("rack1[-4]", 'host pattern "rack1[-4]": "rack1[-4]" is beyond the 3 hosts of rack1, which count from 0'),
        ("~(", 'host pattern "~(": "~(" is no regular expression: missing ), unterminated subpattern at position 0'),
    ],
)  # fmt: skip
def test_wrong_patterns(pattern: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        select(pattern, HOSTS, GROUPS)
    assert str(error.value) == message


names = st.sampled_from([*HOSTS, *GROUPS, "node*", "~.*0[12]", "rack1[0:1]"])


def chosen(pattern: str) -> set[str]:
    return set(select(pattern, HOSTS, GROUPS))


@given(names, names, names)
def test_laws(a: str, b: str, c: str) -> None:
    assert chosen(f"{a}:{b}") == chosen(f"{b},{a}") == chosen(a) | chosen(b)
    assert chosen(f"{a}:&{b}") == chosen(f"{b}:&{a}") == chosen(a) & chosen(b)
    assert chosen(f"{a}:!{b}") == chosen(f"!{b}:{a}") == chosen(a) - chosen(b)
    assert chosen(f"!{a}") == chosen("all") - chosen(a)
    assert chosen(f"{a}:{b}:&{c}") == chosen(f"&{c}:{a}:{b}") == (chosen(a) | chosen(b)) & chosen(c)
    assert chosen(f"{a}:&{b}:!{c}") == (chosen(a) & chosen(b)) - chosen(c)
    assert chosen(f"{a}:{a}") == chosen(a)


@given(st.lists(st.tuples(st.sampled_from(["", "&", "!"]), names), min_size=1, max_size=5))
def test_hosts_come_in_inventory_order_and_once(terms: list[tuple[str, str]]) -> None:
    hosts = select(":".join(mark + name for mark, name in terms), HOSTS, GROUPS)
    assert list(hosts) == [host for host in HOSTS if host in set(hosts)]
