"""The block tree against a naive model, on random trees."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_devnet.node.blocktree import BlockTree, Node, TooDeep, UnknownParent


class Naive:
    """Recomputes everything from all blocks; remembers only which ones were admitted, and the head."""

    def __init__(self, genesis, k):
        self.blocks, self.head, self.k = {genesis.hash: genesis}, genesis, k

    def chain(self, node):
        chain = [node]
        while chain[-1].parent:
            chain.append(self.blocks[chain[-1].parent])
        return chain[::-1]

    def add(self, node):
        """False: refused, because it would go behind a final block."""
        mine, theirs = self.chain(self.head), [*self.chain(self.blocks[node.parent]), node]
        common = sum(1 for a, b in zip(mine, theirs, strict=False) if a == b) - 1
        if common < max(0, self.head.height - self.k):
            return False
        self.blocks[node.hash] = node
        if (node.height, -node.draw, node.hash) > (self.head.height, -self.head.draw, self.head.hash):
            self.head = node
        return True


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.one_of(st.integers(0, 2), st.integers(0, 30)), st.integers(0, 3)), max_size=40),
)
def test_random_trees_match_the_naive_model(k, steps):
    genesis = Node("g", "", 0, 0, 0)
    tree, naive = BlockTree(genesis, k), Naive(genesis, k)
    known = [genesis]
    final = {0: "g"}
    for number, (back, draw) in enumerate(steps):
        parent = known[max(0, len(known) - 1 - back)]
        node = Node(f"{number:03}", parent.hash, parent.height + 1, number + 1, draw)
        before = naive.chain(naive.head)
        if not naive.add(node):
            with pytest.raises(TooDeep):
                tree.add(node)
            assert node.hash not in tree
            continue
        known.append(node)
        change = tree.add(node)
        after = naive.chain(naive.head)
        assert tree.head == naive.head and [tree.at(i) for i in range(len(after))] == after
        shared = sum(1 for a, b in zip(before, after, strict=False) if a == b)
        if change is None:
            assert before == after
        else:
            assert list(change.abandoned) == before[shared:][::-1]
            assert list(change.adopted) == after[shared:]
        for height in range(tree.final_height + 1):
            assert final.setdefault(height, tree.at(height).hash) == tree.at(height).hash
    chain = naive.chain(naive.head)
    for node in known:
        if node.hash in tree:
            fork = tree.fork_point(node.hash)
            theirs = naive.chain(node)
            assert fork == max((n for n in theirs if n in chain), key=lambda n: n.height)
            assert tree.above(node.height, node.hash, 100) == chain[fork.height + 1 :]


def test_unknown_parent_and_repeated_block():
    tree = BlockTree(Node("g", "", 0, 0, 0), 3)
    with pytest.raises(UnknownParent):
        tree.add(Node("b", "a", 2, 2, 0))
    assert tree.add(Node("a", "g", 1, 1, 0)) is not None
    assert tree.add(Node("a", "g", 1, 1, 0)) is None


def test_locator_finds_the_common_ancestor():
    def grown(names):
        tree = BlockTree(Node("g", "", 0, 0, 0), 1000)
        parent = "g"
        for height, name in enumerate(names, start=1):
            tree.add(Node(name, parent, height, height, 0))
            parent = name
        return tree

    shared = [f"s{i}" for i in range(300)]
    ours = grown(shared + [f"a{i}" for i in range(50)])
    theirs = grown(shared + [f"b{i}" for i in range(80)])
    locator = ours.locator()
    assert len(locator) < 30 and locator[-1] == "g"
    answer = theirs.after_locator(locator, 1000)
    assert answer[0].parent in ours and answer[0].height <= 301
    assert answer[-1] == theirs.head and theirs.after_locator(locator, 5) == answer[:5]
    assert theirs.after_locator(["nonsense"], 2) == [theirs.at(1), theirs.at(2)]


def test_following_restarts_at_the_fork_point_or_the_final_height():
    tree = BlockTree(Node("g", "", 0, 0, 0), 2)
    for height, name in enumerate("abcde", start=1):
        tree.add(Node(name, "gabcde"[height - 1], height, height, 0))
    tree.add(Node("x", "d", 5, 9, 5))
    assert [n.hash for n in tree.above(5, "x", 10)] == ["e"]
    assert [n.hash for n in tree.above(5, "e", 10)] == []
    assert [n.hash for n in tree.above(2, "", 10)] == ["c", "d", "e"]
    assert [n.hash for n in tree.above(5, "unknown", 10)] == ["d", "e"]
    assert [n.hash for n in tree.above(9, "", 10)] == []
