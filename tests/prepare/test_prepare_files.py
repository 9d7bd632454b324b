"""`copy` and `template`: what is asked for is there, once; nothing else is touched, whatever files are called."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from harness.api import CommandRecord, InfrastructureError, TaskContext, TaskResult

pytestmark = [pytest.mark.anyio, pytest.mark.real]

HOSTILE = [
    "plain",
    "with space",
    "-rf",
    "--help",
    "a\nb",
    "$(touch pwned)",
    "`touch pwned`; touch pwned",
    "quote'\"",
    "back\\slash",
    "[red]markup",
    "<b>",
    "é ☃ 😀",
    "...",
    "*",
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with files of all kinds of names, one of them no UTF-8, in folders of such names."""
    root = tmp_path / "source"
    root.mkdir()
    for index, name in enumerate(HOSTILE):
        (root / name).write_text(f"{index}\n")
        (root / f"{name}.d").mkdir()
        (root / f"{name}.d" / name).write_text(name)
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_bytes(b"\x00\xff")
    (root / "empty").mkdir()
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    return root


async def test_a_folder_of_hostile_names_is_copied_exactly_and_once(
    machine: Any, task: Any, ctx: TaskContext, source: Path, tmp_path: Path, tree: Any
) -> None:
    dest = tmp_path / "de st'$(touch pwned)"
    copy = task("copy", src=source, dest=str(dest))
    async with machine() as here:
        would = await copy.check(here, ctx)
        assert would.changed and not dest.exists()
        assert (await copy.apply(here, ctx)).changed
        first = tree(dest)
        assert {name: (kind, content) for name, (kind, _, content) in first.items()} == {
            name: (kind, content) for name, (kind, _, content) in tree(source).items()
        }
        assert first["program"][1] == 0o755 and first["plain"][1] == 0o644
        for result in (await copy.check(here, ctx), await copy.apply(here, ctx)):
            assert result == TaskResult(changed=False)
        assert tree(dest) == first
    assert not list(tmp_path.rglob("pwned"))
    assert not Path("pwned").exists()


@pytest.mark.parametrize(("size", "visits"), [(64 * 1024, 1), (64 * 1024 + 1, 2)])
async def test_a_small_file_that_is_new_takes_one_visit(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path, commands: list[CommandRecord], size: int, visits: int
) -> None:
    source, dest = tmp_path / "source", tmp_path / "dest"
    async with machine() as here:
        for byte, needed in ((b"a", visits), (b"b", 2)):  # what is there is looked at before it is replaced
            source.write_bytes(byte * size)
            commands.clear()
            copy = task("copy", src=source, dest=str(dest), mode="0600")
            assert (await copy.apply(here, ctx)).changed
            assert len(commands) == needed
            assert dest.read_bytes() == byte * size and dest.stat().st_mode & 0o777 == 0o600
        commands.clear()
        assert not (await copy.apply(here, ctx)).changed and len(commands) == 1


async def test_only_what_differs_is_sent_and_what_else_is_there_stays(
    machine: Any, task: Any, ctx: TaskContext, source: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "dest"
    async with machine() as here:
        await task("copy", src=source, dest=str(dest)).apply(here, ctx)
        (dest / "plain").write_text("edited\n")
        (dest / "mine").write_text("mine")
        untouched = (dest / "with space").stat().st_ino
        result = await task("copy", src=source, dest=str(dest)).apply(here, ctx)
        assert result.detail == f"{dest}/plain: content"
        assert (dest / "plain").read_text() == "0\n"
        assert (dest / "mine").read_text() == "mine"
        assert (dest / "with space").stat().st_ino == untouched


async def test_check_shows_the_difference_and_touches_nothing(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path, tree: Any
) -> None:
    (tmp_path / "there").write_text("one\ntwo\n")
    (tmp_path / "there").chmod(0o640)
    before = tree(tmp_path)
    async with machine() as here:
        result = await task("copy", content="one\n2\n", dest=f"{tmp_path}/there", mode="0600").check(here, ctx)
        new = await task("copy", content="x\n", dest=f"{tmp_path}/deep/er/new").check(here, ctx)
    assert tree(tmp_path) == before
    assert result.changed and result.detail == f"{tmp_path}/there: content, mode 0640 → 0600"
    assert "-two\n+2\n" in result.diff
    assert "--- /dev/null" in new.diff and "+x\n" in new.diff


async def test_what_is_no_text_is_shown_by_its_size(machine: Any, task: Any, ctx: TaskContext, tmp_path: Path) -> None:
    (tmp_path / "src").write_bytes(b"\x00\x01\xff")
    (tmp_path / "dest").write_bytes(b"12345")
    async with machine() as here:
        result = await task("copy", src=tmp_path / "src", dest=f"{tmp_path}/dest").check(here, ctx)
    assert result.diff == f"{tmp_path}/dest: 5 → 3 bytes\n"


async def test_without_mode_a_file_keeps_its_own(machine: Any, task: Any, ctx: TaskContext, tmp_path: Path) -> None:
    dest = tmp_path / "secret"
    dest.write_text("old")
    dest.chmod(0o600)
    async with machine() as here:
        await task("copy", content="new", dest=str(dest)).apply(here, ctx)
        assert (dest.read_text(), dest.stat().st_mode & 0o777) == ("new", 0o600)
        inode = dest.stat().st_ino
        result = await task("copy", content="new", dest=str(dest), mode="0644").apply(here, ctx)
        assert result.detail == f"{dest}: mode 0600 → 0644"
        assert dest.stat().st_mode & 0o777 == 0o644
        assert dest.stat().st_ino == inode  # its content was not sent again


@pytest.mark.skipif(os.geteuid() != 0, reason="files are given to others by root")
async def test_owners_are_given_and_kept(machine: Any, task: Any, ctx: TaskContext, tmp_path: Path) -> None:
    dest = tmp_path / "owned"
    async with machine() as here:
        owned = task("copy", content="1", dest=str(dest), owner="nobody:daemon", mode="4755")
        assert (await owned.apply(here, ctx)).changed
        assert (dest.owner(), dest.group(), dest.stat().st_mode & 0o7777) == ("nobody", "daemon", 0o4755)
        assert not (await owned.apply(here, ctx)).changed
        await task("copy", content="2", dest=str(dest)).apply(here, ctx)
        assert (dest.owner(), dest.group()) == ("nobody", "daemon")
        with pytest.raises(InfrastructureError, match="there is no user nosuchuser"):
            await task("copy", content="3", dest=str(dest), owner="nosuchuser").apply(here, ctx)
        assert dest.read_text() == "2"
        assert list(tmp_path.iterdir()) == [dest]  # no temporary file


async def test_a_large_file_is_sent_by_itself_and_leaves_nothing_staged(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path
) -> None:
    content = os.urandom(3 * 1024 * 1024 + 17)
    (tmp_path / "large").write_bytes(content)
    before = set(Path("/tmp").glob(".harness-*"))
    async with machine() as here:
        copy = task("copy", src=tmp_path / "large", dest=f"{tmp_path}/in/")
        assert (await copy.apply(here, ctx)).changed
        assert not (await copy.apply(here, ctx)).changed
    assert (tmp_path / "in" / "large").read_bytes() == content
    assert not set(Path("/tmp").glob(".harness-*")) - before


async def test_a_link_is_replaced_and_its_target_stays(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path
) -> None:
    (tmp_path / "target").write_text("target")
    (tmp_path / "link").symlink_to("target")
    async with machine() as here:
        await task("copy", content="file", dest=f"{tmp_path}/link").apply(here, ctx)
    assert not (tmp_path / "link").is_symlink()
    assert ((tmp_path / "link").read_text(), (tmp_path / "target").read_text()) == ("file", "target")


async def test_a_folder_in_the_place_of_a_file_is_refused(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    async with machine() as here:
        with pytest.raises(InfrastructureError, match="there is a folder already"):
            await task("copy", content="file", dest=f"{tmp_path}/folder").apply(here, ctx)


async def test_the_machines_own_words_tell_what_went_wrong(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    dest = f"{tmp_path}/file/deeper/x"
    async with machine() as here:
        with pytest.raises(InfrastructureError) as caught:
            await task("copy", content="x", dest=dest).apply(here, ctx)
    assert str(caught.value) == f"exit status 1: {dest}: Not a directory"


async def test_a_source_that_changes_meanwhile_is_not_taken_for_the_one_that_was_looked_at(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path
) -> None:
    (tmp_path / "src").write_text("one")
    copy = task("copy", src=tmp_path / "src", dest=f"{tmp_path}/dest")
    async with machine() as here:
        await copy.check(here, ctx)
        (tmp_path / "src").write_text("two")
        with pytest.raises(InfrastructureError, match="was changed while it was copied"):
            await copy.apply(here, ctx)
    assert not (tmp_path / "dest").exists()


async def test_contents_are_in_no_argument(
    machine: Any, task: Any, ctx: TaskContext, tmp_path: Path, commands: list[CommandRecord]
) -> None:
    async with machine() as here:
        await task("copy", content="canary-7391", dest=f"{tmp_path}/dest").apply(here, ctx)
    assert commands and "canary-7391" not in str(commands)


def test_what_cannot_be_copied_is_told_before(task: Any, ctx: TaskContext, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to("/etc")
    assert task("copy", src=folder, dest="/x").problems(ctx) == [
        f"{folder}/link is a link to a folder, which is not followed"
    ]
    os.mkfifo(tmp_path / "fifo")
    assert task("copy", src=tmp_path / "fifo", dest="/x").problems(ctx) == [
        f"{tmp_path}/fifo is neither a file nor a folder"
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dest": "/x"}, "write one of src and content"),
        ({"src": "/etc/passwd", "content": "x", "dest": "/x"}, "write one of src and content"),
        ({"content": "x", "dest": "x"}, "is not absolute"),
        ({"content": "x", "dest": "/x/"}, "content needs the name of a file"),
        ({"content": "x", "dest": "/x\0"}, "NUL"),
        ({"content": "x", "dest": "/x", "mode": 420}, "write it as text"),
        ({"content": "x", "dest": "/x", "mode": "999"}, "is no mode"),
        ({"content": "x", "dest": "/x", "owner": "-R"}, "is no owner"),
        ({"src": "no/such/file", "dest": "/x"}, "there is no file or folder"),
    ],
)
def test_options_of_copy_are_checked(task: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        task("copy", **options)


async def test_a_template_knows_the_host_and_vars(machine: Any, task: Any, ctx: TaskContext, tmp_path: Path) -> None:
    (tmp_path / "conf.j2").write_text(
        "{% if color %}\n{{ inventory_hostname }} {{ color }}\n{% endif %}\nrate {{ rate }}\n"
    )
    template = task("template", src=tmp_path / "conf.j2", dest=f"{tmp_path}/out/", vars={"rate": 3, "color": "blue"})
    assert template.problems(ctx) == ()
    async with machine() as here:
        assert "+here blue\n" in (await template.check(here, ctx)).diff
        assert (await template.apply(here, ctx)).changed
        assert not (await template.apply(here, ctx)).changed
    assert (tmp_path / "out" / "conf").read_text() == "here blue\nrate 3\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\n{{ colour }}\n", 'line 2: undefined variable "colour"; did you mean "color"?'),
        ("{% for %}", "line 1: template: "),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ 'x' * 10000000000 }}", "too large"),
        (b"\xff", "is not UTF-8 text"),
    ],
)
def test_what_is_wrong_in_a_template_is_told_in_plan(
    task: Callable[..., Any], ctx: TaskContext, tmp_path: Path, text: str | bytes, said: str
) -> None:
    (tmp_path / "t.j2").write_bytes(text if isinstance(text, bytes) else text.encode())
    [problem] = task("template", src=tmp_path / "t.j2", dest="/x").problems(ctx)
    assert problem.startswith(f"{tmp_path}/t.j2") and said in problem
