from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness_devnet.node.store import FileStore, StoreError

RECORDS = [b"first", b"", b"third block" * 20]


def _reopened(path):
    store = FileStore(path)
    found = []
    for number, (position, data) in enumerate(store.recover()):
        store.index(str(number), position)
        found.append(data)
    return store, found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 300))
def test_a_torn_tail_is_cut_off_and_writing_goes_on(tmp_path, lost):
    path = tmp_path / "blocks"
    path.unlink(missing_ok=True)
    store = FileStore(path)
    ends = []
    for data in RECORDS:
        store.append(data.hex(), data)
        ends.append(path.stat().st_size)
    store.close()
    kept = max(0, ends[-1] - lost)
    with path.open("r+b") as file:
        file.truncate(kept)
    store, found = _reopened(path)
    assert found == RECORDS[: sum(end <= kept for end in ends)]
    store.append("new", b"new block")
    assert store.read("new") == b"new block"
    store.close()
    store, again = _reopened(path)
    assert again == [*found, b"new block"]
    assert [store.read(str(i)) for i in range(len(again))] == again
    store.close()


def test_a_damaged_record_ends_recovery_and_is_reported_when_read(tmp_path):
    path = tmp_path / "blocks"
    store = FileStore(path)
    for data in (b"aaaa", b"bbbb"):
        store.append(data.decode(), data)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        store.read("bbbb")
    with pytest.raises(KeyError):
        store.read("unknown")
    store.close()
    store, found = _reopened(path)
    assert found == [b"aaaa"]
    store.close()
