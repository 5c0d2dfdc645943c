"""Contexts, slots and windows are rounded as llama.cpp rounds them."""

import pytest

from models_app.estimator.context import Context, resolve_context
from models_app.estimator.profiles import CURRENT, PROFILES
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.types import LoadSettings
from tests.tools.model_shapes import header_of


def resolved(settings: LoadSettings, model: str = "llama-3.1-8b", profile: str = CURRENT.name) -> Context:
    return resolve_context(read_shape(header_of(model)), settings, PROFILES[profile])


def test_a_context_is_rounded_up_to_256_cells() -> None:
    assert resolved(LoadSettings(context_length=5000)).cells == 5120


def test_slots_divide_the_rounded_context_and_are_rounded_again() -> None:
    # 8 slots of 257 tokens are 2056, rounded to 2304; an eighth of that is 288, rounded to 512
    context = resolved(LoadSettings(context_length=257, parallel=8))
    assert (context.cells, context.streams, context.slots) == (512, 8, 8)


def test_slots_that_share_a_cache_have_one_stream() -> None:
    context = resolved(LoadSettings(context_length=8192, parallel=4, unified_kv=True))
    assert (context.cells, context.streams, context.slots) == (8192, 1, 4)


@pytest.mark.parametrize(
    ("settings", "cells"),
    [
        (LoadSettings(context_length=131072), 768),
        (LoadSettings(context_length=131072, ubatch=2048), 2304),
        (LoadSettings(context_length=131072, parallel=4, unified_kv=True), 1024),
        (LoadSettings(context_length=512), 512),
        (LoadSettings(context_length=131072, swa_full=True), 131072),
    ],
)
def test_a_window_holds_its_tokens_and_a_micro_batch(settings: LoadSettings, cells: int) -> None:
    assert resolved(settings, "gpt-oss-20b").window_cells == cells


def test_older_servers_kept_windows_at_full_length() -> None:
    context = resolved(LoadSettings(context_length=131072), "gpt-oss-20b", "llama.cpp-2024")
    assert context.window_cells == 131072


def test_logits_are_reserved_for_the_slots_except_for_embeddings_and_in_older_servers() -> None:
    assert resolved(LoadSettings(parallel=4)).output_rows == 4
    assert resolved(LoadSettings(parallel=4, draft_length=2)).output_rows == 12
    assert resolved(LoadSettings(embedding=True)).output_rows == 512
    assert resolved(LoadSettings(), profile="llama.cpp-2025-12").output_rows == 512


def test_a_batch_is_no_longer_than_the_context() -> None:
    assert resolved(LoadSettings(context_length=100)).ubatch == 100
