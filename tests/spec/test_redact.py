"""Redaction: no form of a secret that a program may put it in gets through, and nothing else is lost."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from harness.redact import MASK, Redactor

secrets = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), min_size=4, max_size=24)


def in_xml(text: str) -> str:
    element = ElementTree.Element("e", {"a": text})
    element.text = text
    return ElementTree.tostring(element, encoding="unicode")


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda s: f"password={s}!",
    "json": lambda s: json.dumps({"a": [s]}),
    "json in json": lambda s: json.dumps(json.dumps(s)),
    "json with umlauts": lambda s: json.dumps(s, ensure_ascii=False),
    "python": lambda s: repr(["sudo", s]),
    "shell": lambda s: shlex.join(["echo", s]),
    "shell in json": lambda s: json.dumps(shlex.quote(s)),
    "url": lambda s: f"https://user:{quote(s, safe='')}@host/",
    "path": lambda s: f"https://host/{quote(s)}",
    "form": lambda s: urlencode({"password": s}),
    "plus": lambda s: quote_plus(s),
    "html": lambda s: f'<a title="{html.escape(s)}">',
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "url base64": lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
@given(secret=secrets)
@example(secret='it\'s a "canary" & <more> ünï\\code 100%')
def test_forms(form: str, secret: str) -> None:
    redactor = Redactor()
    redactor.hide(secret)
    text = FORMS[form](secret)
    assert redactor.finds(text)
    redacted = redactor.text(text)
    assert MASK in redacted
    assert secret not in redacted.replace(MASK, "")
    assert FORMS[form](secret) not in redacted


@given(st.binary(max_size=5), secrets, st.binary(max_size=5))
@example(b"user:", "canary-7f3a", b"")
def test_within_longer_base64(before: bytes, secret: str, after: bytes) -> None:
    assume(len(secret.encode()) >= 8)
    redactor = Redactor()
    redactor.hide(secret)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + secret.encode() + after).decode()
        assert MASK in redactor.text(text)


words = st.sampled_from(["x", " ", "node01 ", "1"])


@given(st.lists(secrets, min_size=1, max_size=3), st.lists(words | st.integers(0, 2)))
def test_everything_else_stays(hidden: list[str], parts: list[str | int]) -> None:
    redactor = Redactor()
    text = "".join(hidden[part % len(hidden)] if isinstance(part, int) else part for part in parts)
    assert redactor.text(text) == text
    for secret in hidden:
        redactor.hide(secret)
    left = redactor.text(text)
    assert not [secret for secret in hidden if secret in left]
    assert redactor.text("nothing of it") == "nothing of it" or any(s in "nothing of it" for s in hidden)


def test_the_longest_goes_first() -> None:
    redactor = Redactor()
    redactor.hide("canary")
    redactor.hide("canary-7f3a")
    assert redactor.text("canary-7f3a canary") == f"{MASK} {MASK}"


def test_values_keep_their_shape() -> None:
    redactor = Redactor()
    value = {"a": ["canary-7f3a", 1, None, {"canary-7f3a": ("x canary-7f3a",)}], "b": 1.5}
    assert redactor.value(value) is value
    redactor.hide("canary-7f3a")
    assert redactor.value(value) == {"a": [MASK, 1, None, {MASK: [f"x {MASK}"]}], "b": 1.5}


def test_what_is_too_short_is_refused() -> None:
    redactor = Redactor()
    with pytest.raises(ValueError, match="shorter than 4 characters"):
        redactor.hide("abc")
    assert redactor.text("abcdef") == "abcdef"


def test_in_xml() -> None:
    redactor = Redactor()
    redactor.hide("a<b>&\"c'")
    assert redactor.text(in_xml("a<b>&\"c'")) == f'<e a="{MASK}">{MASK}</e>'
