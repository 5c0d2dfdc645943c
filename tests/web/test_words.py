"""The filters that put figures and names into words."""

from __future__ import annotations

import pytest

from models_app.web.templatetags.berth import short_name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/srv/models/llama-3.2-3b-q4_k_m.gguf", "llama-3.2-3b-q4_k_m.gguf"),
        ("models/phi-4.gguf", "phi-4.gguf"),
        (r"C:\models\phi-4.gguf", "phi-4.gguf"),
        ("./phi-4.gguf", "phi-4.gguf"),
        ("/srv/models/", "/srv/models/"),
        ("llama3.1:8b", "llama3.1:8b"),
        ("hf.co/bartowski/Llama-3.1-8B-Instruct-GGUF:Q8_0", "hf.co/bartowski/Llama-3.1-8B-Instruct-GGUF:Q8_0"),
    ],
)
def test_only_a_path_is_cut_to_the_name_of_the_file(name, said):
    assert short_name(name) == said
