"""Host patterns as in Ansible: `validators:&rack1:!node03`, `node*`, `~node\\d+`, `group[0:2]`.

Terms are joined with `,`, or with `:` where there is no comma. A plain term adds hosts, `&` keeps only, `!` takes away;
all adding comes first, then keeping, then taking away, in whatever order they are written. Without a plain term
everything is added. A term names a host or a group, or is a glob or (`~`) a regular expression over the names of both.

Unlike Ansible, which warns, a term that matches nothing is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate

from harness.errors import UsageError
from harness.spec.problems import did_you_mean

_COLON = re.compile(r":(?![^\[]*\])")  # not the one in a slice, nor in a character class
_SLICE = re.compile(r"(.+)\[(?:(-?\d+)|(\d+)[:-](-1|\d*))\]")


def select(pattern: str, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The hosts that a pattern means, in the order of `hosts`; none is possible: `a:!a`.

    `groups` are the hosts of each group in the group's own order, which slices count in. Raises UsageError for a term
    that matches no name, a slice beyond the end and a wrong regular expression."""
    terms = _terms(pattern, hosts)
    if not terms:
        raise UsageError(f'host pattern "{pattern}" names nothing; write "all" for all hosts')
    try:
        added = [[term] if term in hosts else _matched(term, hosts, groups) for term in terms if term[0] not in "&!"]
        kept = [_matched(term[1:], hosts, groups) for term in terms if term[0] == "&"]
        removed = [_matched(term[1:], hosts, groups) for term in terms if term[0] == "!"]
    except ValueError as error:
        raise UsageError(f'host pattern "{pattern}": {error}') from None
    chosen = set().union(*added) if added else set(hosts)
    chosen = chosen.intersection(*kept).difference(*removed)
    return tuple(host for host in hosts if host in chosen)


def _terms(pattern: str, hosts: Sequence[str]) -> list[str]:
    if pattern.strip() in hosts:  # an IPv6 address
        return [pattern.strip()]
    terms = pattern.split(",") if "," in pattern else _COLON.split(pattern)
    return [term.strip() for term in terms if term.strip()]


def _matched(term: str, hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """The hosts of one term: a group's in its own order, else in the order of `hosts`. Raises ValueError."""
    if term in groups:
        return groups[term]
    if term in ("all", "*"):
        return hosts
    if (match := _SLICE.fullmatch(term)) and not term.startswith("~"):
        return _sliced(match, _matched(match[1], hosts, groups))
    try:
        matches = re.compile(term[1:] if term.startswith("~") else translate(term)).match
    except re.error as error:
        raise ValueError(f'"{term}" is no regular expression: {error}') from None
    found = {host for name, members in groups.items() if matches(name) for host in members}
    named = [name for name in (*groups, *hosts) if matches(name)]
    if not term or not named:
        guess = did_you_mean(term, [*groups, *hosts])
        listed = f"groups: {', '.join(groups)}"
        raise ValueError(f'"{term}" matches no group and no host; {f"{guess} ({listed})" if guess else listed}')
    return [host for host in hosts if host in found or matches(host)]


def _sliced(match: re.Match[str], hosts: Sequence[str]) -> Sequence[str]:
    """`group[0]`, `group[-1]`, `group[0:2]` (both ends belong to it, as in Ansible), `group[1:]`."""
    base, index, start, end = match.groups()
    if index is not None:
        first, last = int(index), int(index)
        if first < 0:
            first = last = first + len(hosts)
    else:
        first, last = int(start), len(hosts) - 1 if end in ("", "-1") else int(end)
    picked = hosts[first : last + 1] if first >= 0 else ()
    if not picked:
        raise ValueError(f'"{match[0]}" is beyond the {len(hosts)} hosts of {base}, which count from 0')
    return picked
