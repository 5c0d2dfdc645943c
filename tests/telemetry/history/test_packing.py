"""Columns of numbers survive their packing, and damaged bytes are noticed."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.telemetry.history.series import Key, Kind, key_of
from models_app.telemetry.history.tables import DamagedChunk, Table, joined, numbers, pack, unpack

NAMES = st.text(min_size=1, max_size=20)


def table(*rows: tuple[float, dict[str, float]]) -> Table:
    made = Table()
    for time, row in rows:
        made.append(time, row)
    return made


@given(st.dictionaries(NAMES, st.lists(st.floats(allow_nan=False), min_size=3, max_size=3), max_size=5))
def test_any_columns_survive_packing(columns: dict[str, list[float]]) -> None:
    given = Table(numbers([60.0, 61.5, 119.999]), {name: numbers(values) for name, values in columns.items()})
    assert unpack(pack(given, 60), 60) == given


def test_a_table_without_rows_survives_packing() -> None:
    assert unpack(pack(Table(), 0), 0) == Table()


@pytest.mark.parametrize(("first", "last"), [(0, -5), (0, 20), (0, 0), (1, 10_000)])
def test_damaged_bytes_are_noticed(first: int, last: int) -> None:
    packed = pack(table(*((float(n), {"used": n * 1e9}) for n in range(60))), 0)
    with pytest.raises(DamagedChunk):
        unpack(packed[first:last], 0)


NEVER_PACKED = [b"", b"[]\n", b"{}\n", b'[-1,["used"]]\n', b'[2,["used"]]\n' + bytes(24), b'["x",[]]\n\0']


@pytest.mark.parametrize("body", NEVER_PACKED)
def test_bytes_that_were_never_packed_are_noticed(body: bytes) -> None:
    with pytest.raises(DamagedChunk):
        unpack(zlib.compress(body), 0)


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(DamagedChunk):
        unpack(zlib.compress(bytes(80 * 1024**2)), 0)


def test_a_minute_of_a_gpu_packs_small() -> None:
    minute = Table()
    for second in range(60):
        own = {"boot": 12345.0, "sequence": 1e6 + second, "used": 18e9 + second % 3 * 2**21, "utilization": second % 20}
        minute.append(second, own | {"model:1:llama3.1:8b": 6e9, "model:1:qwen3:14b": 11e9, "unexplained:": 1e9})
    assert len(pack(minute, 0)) < 800


def test_a_share_that_appears_later_was_nothing_before_and_another_figure_unknown() -> None:
    whole = table((1, {"used": 5}), (2, {"used": 6, "other:python": 3, "power": 7}), (3, {"used": 7}))
    assert list(whole.columns["other:python"]) == [0, 3, 0]
    assert list(whole.columns["power"]) == [-1, 7, -1]
    assert joined([table((0, {"used": 1})), whole]).columns["other:python"].tolist() == [0, 0, 3, 0]


@pytest.mark.parametrize("name", ["llama3.1:8b", "hf.co/a/b:Q4_K_M", "odd|na me", "ünï:cödé\n"])
def test_a_series_is_named_by_its_column(name: str) -> None:
    for key in (Key(Kind.MODEL, name, 12), Key(Kind.OTHER, name), Key(Kind.UNEXPLAINED), Key(Kind.POWER), Key(Kind.USED)):
        assert key_of(key.column) == key
