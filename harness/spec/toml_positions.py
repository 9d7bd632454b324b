"""Where each key of a TOML text stands, by tree-sitter. tomllib has already accepted the text."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

from harness.spec.toml_document import KeyPath


def key_positions(text: str) -> dict[KeyPath, tuple[int, int]]:
    """Line and column (characters) from 1 of every key, table and array element."""
    finder = _Finder(text.encode())
    finder.document()
    return finder.positions


class _Finder:
    def __init__(self, source: bytes) -> None:
        self.positions: dict[KeyPath, tuple[int, int]] = {}
        self._source = source
        self._lines = source.split(b"\n")
        self._elements: dict[KeyPath, int] = {}  # arrays of tables: how many elements so far

    def document(self) -> None:
        for node in Parser(Language(tree_sitter_toml.language())).parse(self._source).root_node.named_children:
            if node.type == "pair":
                self._pair((), node)
            elif node.type in ("table", "table_array_element"):
                self._table(node)

    def _table(self, node: Node) -> None:
        head, *rest = node.named_children
        segments = list(_segments(head))
        path: KeyPath = ()
        for segment in segments[:-1]:
            path = self._into((*path, _key(segment)))
            self.positions.setdefault(path, self._at(segment))
        path = (*path, _key(segments[-1]))
        if node.type == "table_array_element":
            self.positions.setdefault(path, self._at(segments[-1]))
            index = self._elements.get(path, 0)
            self._elements[path] = index + 1
            path = (*path, index)
        self.positions[path] = self._at(segments[-1])
        for child in rest:
            if child.type == "pair":
                self._pair(path, child)

    def _into(self, path: KeyPath) -> KeyPath:
        """A header that goes through an array of tables means its last element."""
        return (*path, self._elements[path] - 1) if path in self._elements else path

    def _pair(self, path: KeyPath, node: Node) -> None:
        head, value = (child for child in node.named_children if child.type != "comment")
        for segment in _segments(head):
            path = (*path, _key(segment))
            self.positions.setdefault(path, self._at(segment))
        self._value(path, value)

    def _value(self, path: KeyPath, node: Node) -> None:
        children = (child for child in node.named_children if child.type != "comment")
        if node.type == "inline_table":
            for child in children:
                self._pair(path, child)
        elif node.type == "array":
            for index, child in enumerate(children):
                self.positions[(*path, index)] = self._at(child)
                self._value((*path, index), child)

    def _at(self, node: Node) -> tuple[int, int]:
        row, column = node.start_point
        return row + 1, len(self._lines[row][:column].decode()) + 1


def _segments(node: Node) -> Iterator[Node]:
    """The keys of `a."b".c`, which is a tree of dotted keys."""
    if node.type == "dotted_key":
        for child in node.named_children:
            yield from _segments(child)
    else:
        yield node


def _key(node: Node) -> str:
    text = (node.text or b"").decode()
    return text if node.type == "bare_key" else next(iter(tomllib.loads(f"{text} = 0")))
