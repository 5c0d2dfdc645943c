"""What a llama-server's command line says about memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.backends.llama_launch import ALL_LAYERS, launch_settings


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("llama-server --ctx-size 32768 -np 4", {"ctx_size": 32_768, "parallel": 4}),
        ("-c 0 -ngl all -ub 256", {"ctx_size": 0, "n_gpu_layers": ALL_LAYERS, "ubatch_size": 256}),
        ("-ctk q8_0 -ctv Q4_0 -fa on", {"cache_type_k": "q8_0", "cache_type_v": "q4_0", "flash_attn": True}),
        ("--tensor-split 3,1 -sm layer", {"tensor_split": [3.0, 1.0], "split_mode": "layer"}),
        ("-sm none -mg 1", {"split_mode": "none", "main_gpu": 1}),
        ("-kvu --swa-full -nkvo -ncmoe 12", {"kv_unified": True, "swa_full": True, "kv_offload": False, "n_cpu_moe": 12}),
        ("--ctx-size=4096 --ctx-size 8192", {"ctx_size": 8192}),
        ("--embeddings", {"embedding": True}),
    ],
)  # fmt: skip
def test_flags_are_read_in_their_long_and_their_short_form(words: str, settings: dict[str, Any]) -> None:
    assert launch_settings(words.split()) == settings


@pytest.mark.parametrize(
    "words", ["-c", "-c many", "-c -5", "-np 0", "-ts 0,0", "-ts nan", "-ctk q9_9", "-fa auto", "-b 1e3"]
)
def test_what_makes_no_sense_is_left_out(words: str) -> None:
    assert launch_settings(words.split()) == {}


@given(st.lists(st.text(max_size=20) | st.sampled_from(["-c", "-ts", "-fa", "--ctx-size=", "-ngl", "-np"]), max_size=30))
def test_no_command_line_breaks_the_reading(words: list[str]) -> None:
    assert isinstance(launch_settings(words), dict)
