"""Grudges: who drops whose traffic. A partition of any shape, one-way ones too, is such a map. Pure.

Shapes are made of the targets in their order. Everybody else, where a shape divides the targets, sits with the first of
them and sees what that one sees; a shape says where it is otherwise. The shapes are Jepsen's
(jepsen.nemesis: bisect, bridge, majorities-ring), by voting power where Jepsen counts nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction

from harness.api import CUT, FaultError, Flow, LinkShape, NodeSpec, UsageError, select_nodes

Grudge = Mapping[str, frozenset[str]]
"""Node → nodes whose traffic it drops. Every node of the network is a key."""
Powers = Mapping[str, int]
"""All nodes of the network, each with its weight in consensus."""

MINORITY = Fraction(1, 3)
"""A minority has less than this share of the power, so that the others go on under any rule of consensus."""


def isolate(targets: Sequence[str], powers: Powers) -> Grudge:
    """Each target alone, all others together."""
    others = powers.keys() - set(targets)
    return divided([*([target] for target in _enough(targets, 1, "isolate")), others], powers)


def halves(targets: Sequence[str], powers: Powers) -> Grudge:
    """The first half of the targets' power, and the second."""
    first, second = _bisected(_enough(targets, 2, "halves"), powers)
    return divided([first, second], powers)


def asymmetric(targets: Sequence[str], powers: Powers) -> Grudge:
    """Halves of which the first hears nothing of the second, while the second hears the first."""
    _, second = _bisected(_enough(targets, 2, "asymmetric"), powers)
    return {name: frozenset() if name in second else frozenset(second) for name in powers}


def majority_minority(targets: Sequence[str], powers: Powers) -> Grudge:
    """From the first target on, those go into the minority which still fit: together they have less than a third of
    the power. Where none has so little it is the one with the least. Targets without power stay with the majority."""
    weights = _weights(_enough(targets, 2, "majority-minority"), powers)
    limit = MINORITY * sum(weights.values())
    minority: list[str] = []
    for target in targets:
        if weights[target] and sum(weights[one] for one in (*minority, target)) < limit:
            minority.append(target)
    minority = minority or [min((target for target in targets if weights[target]), key=weights.__getitem__)]
    return divided([powers.keys() - set(minority), minority], powers)


def bridge(targets: Sequence[str], powers: Powers) -> Grudge:
    """Two halves, and the last target, which sees both and is seen by both."""
    *parted, middle = _enough(targets, 3, "bridge")
    first, second = _bisected(parted, powers)
    grudge = divided([first, second], {name: power for name, power in powers.items() if name != middle})
    return {name: grudge.get(name, frozenset()) for name in powers}


def majorities_ring(targets: Sequence[str], powers: Powers) -> Grudge:
    """Each target sees its neighbours in the ring of all targets: as few, as many to either side, as give every one of
    them more than half of the targets' power. No two see the same. Raises FaultError where that takes all of them."""
    n = len(_enough(targets, 4, "majorities-ring"))
    weights = _weights(targets, powers)
    half = sum(weights[target] for target in targets) / 2

    def seen(place: int, reach: int) -> list[str]:
        return [targets[(place + step) % n] for step in range(-reach, reach + 1)]

    for reach in range(1, n // 2):
        if all(sum(weights[one] for one in seen(at, reach)) > half for at in range(n)):
            sees = {target: frozenset(seen(at, reach)) for at, target in enumerate(targets)}
            return _seated(sees, targets, powers)
    raise FaultError("majorities-ring: no ring of these targets gives each a majority but one in which all see all")


def of_role(role: str, powers: Powers) -> Grudge:
    """The nodes of a role, and all others. Raises UsageError for a role that nobody has."""
    return divided([(them := members(role, powers)), powers.keys() - set(them)], powers)


def of_groups(groups: Iterable[Sequence[str]], powers: Powers) -> Grudge:
    """These groups, each a list of patterns; whoever is in none sits with the first. Raises UsageError for a pattern
    that matches nobody and for a node that is in two."""
    named = [[name for name in powers if any(name in members(one, powers) for one in group)] for group in groups]
    for name in powers:
        if sum(name in group for group in named) > 1:
            raise UsageError(f"groups: {name} is in two of them")
    placed = set().union(*named)
    return divided([[*named[0], *(powers.keys() - placed)], *named[1:]], powers)


def explicit(written: Mapping[str, Sequence[str]], powers: Powers) -> Grudge:
    """As written: pattern of nodes → patterns of those whose traffic they drop. Raises UsageError."""
    drops: dict[str, set[str]] = {name: set() for name in powers}
    for who, dropped in written.items():
        whom = {name for pattern in dropped for name in members(pattern, powers)}
        for name in members(who, powers):
            drops[name] |= whom - {name}
    return {name: frozenset(whom) for name, whom in drops.items()}


def divided(groups: Iterable[Collection[str]], powers: Powers) -> Grudge:
    """Nodes of each group drop what those of all other groups send. Who is in none sits with the first group."""
    first, *further = map(frozenset, groups)
    placed = first.union(*further)
    sides = [first | (powers.keys() - placed), *further]
    return {name: frozenset(powers) - next(side for side in sides if name in side) for name in powers}


def flows(grudge: Grudge) -> dict[Flow, LinkShape]:
    """The traffic that vanishes."""
    return {Flow(sender, name): CUT for name, dropped in grudge.items() for sender in sorted(dropped)}


def is_symmetric(grudge: Grudge) -> bool:
    return all(name in grudge[sender] for name, dropped in grudge.items() for sender in dropped)


def members(pattern: str, names: Iterable[str]) -> tuple[str, ...]:
    """Nodes of a pattern of names and roles, of at least one. A node is called by its role and number. Raises
    UsageError."""
    specs = [NodeSpec(name, name.rpartition("-")[0], 0, number) for number, name in enumerate(names)]
    return tuple(node.name for node in select_nodes(pattern, specs))


def _seated(sees: Mapping[str, frozenset[str]], targets: Sequence[str], powers: Powers) -> Grudge:
    """All nodes' grudge from whom targets see, which is mutual: the others sit with the first target."""
    others = powers.keys() - sees.keys()
    near = sees[targets[0]]
    seen = {name: sees.get(name, near) | (others if name in near | others else set()) for name in powers}
    return {name: frozenset(powers) - seen[name] for name in powers}


def _bisected(targets: Sequence[str], powers: Powers) -> tuple[Sequence[str], Sequence[str]]:
    """Two sides, both in the targets' order, as even in power as this gets them: from the heaviest down, of equals from
    the last on, who fits goes to the second side, which has half at most, and one less of an odd number of equals.
    Those without power fill it up to half of the targets."""
    half = Fraction(sum(powers[target] for target in targets), 2)
    second: set[str] = set()
    held = 0
    for _, target in sorted(enumerate(targets), key=lambda one: (powers[one[1]], one[0]), reverse=True):
        if held + powers[target] <= half if powers[target] else len(second) < len(targets) // 2:
            second.add(target)
            held += powers[target]
    return [one for one in targets if one not in second], [one for one in targets if one in second]


def _weights(targets: Sequence[str], powers: Powers) -> Powers:
    """Power, or one each for nodes of which no target has any."""
    return powers if any(powers[target] for target in targets) else dict.fromkeys(powers, 1)


def _enough(targets: Sequence[str], least: int, shape: str) -> Sequence[str]:
    if len(targets) < least:
        raise FaultError(f"{shape} needs {least} targets or more, not {len(targets)}")
    return targets
