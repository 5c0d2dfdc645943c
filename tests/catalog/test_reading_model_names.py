"""What a model's name tells."""

from __future__ import annotations

import pytest

from models_app.catalog.names import family, quantization


@pytest.mark.parametrize(
    ("name", "expected_family", "expected_quantization"),
    [
        ("llama3.1:8b-instruct-q4_K_M", "llama3.1", "Q4_K_M"),
        ("llama3.1:8b", "llama3.1", ""),
        ("nomic-embed-text:latest", "nomic-embed-text", ""),
        ("qwen2.5-coder:14b", "qwen2.5-coder", ""),
        ("ada/my-model:q8_0", "my-model", "Q8_0"),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "llama-3.2", "Q4_K_M"),
        ("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "gemma-3", "Q4_K_M"),
        ("llama-3.1-8b-instruct-q8_0", "llama-3.1", "Q8_0"),
        ("Qwen2.5-Coder-32B-Instruct-IQ3_XXS.gguf", "qwen2.5-coder", "IQ3_XXS"),
        ("/srv/models/gpt-oss-120b-mxfp4-00001-of-00003.gguf", "gpt-oss", "MXFP4"),
        ("bge-m3-f16", "bge-m3", "F16"),
        ("mixtral-8x7b-v0.1.Q5_K_S", "mixtral", "Q5_K_S"),
        ("mixtral-truncated-q4_k_m", "mixtral-truncated", "Q4_K_M"),
        ("tiny", "tiny", ""),
        ("q8_0", "q8_0", "Q8_0"),
        (".gguf", ".gguf", ""),
    ],
)
def test_a_name_gives_family_and_quantization(name: str, expected_family: str, expected_quantization: str) -> None:
    assert (family(name), quantization(name)) == (expected_family, expected_quantization)
