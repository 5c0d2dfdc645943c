"""What a model's name tells: its family and its quantisation."""

from __future__ import annotations

import re

_TYPE = r"(?:i?q[1-8]_\w+|tq[12]_0|q[48]|f16|bf16|f32|fp16|mxfp4\w*|nvfp4)"
_QUANTIZATION = re.compile(rf"(?:^|[-_.:])({_TYPE})(?=$|[-.])", re.IGNORECASE)
_FILE_TAIL = re.compile(r"(?:-\d{5}-of-\d{5})?(?:\.gguf)?$", re.IGNORECASE)
_REPOSITORY_TAIL = re.compile(r"[-_.](?:gguf|imatrix).*$", re.IGNORECASE)
_SIZE = re.compile(r"[-_.:](?:\d+x)?\d+(?:\.\d+)?[bm](?=$|[-_.:])", re.IGNORECASE)


def family(name: str) -> str:
    """The family as people speak of it, in lower case: ``llama3.1`` of ``llama3.1:8b-instruct-q4_K_M``.

    A file's name or a repository's is cut before its size or its quantisation: ``llama-3.1`` of
    ``bartowski/Llama-3.1-8B-Instruct-GGUF:Q8_0``.
    """
    last_part = _FILE_TAIL.sub("", name).rpartition("/")[2]
    model = _REPOSITORY_TAIL.sub("", last_part.partition(":")[0])
    for pattern in (_SIZE, _QUANTIZATION):
        match = pattern.search(model)
        if match and match.start() > 0:
            model = model[: match.start()]
    return model.lower() or name.lower()


def quantization(name: str) -> str:
    """The quantisation that a name gives away, in llama.cpp's upper case; empty where it gives none."""
    matches = _QUANTIZATION.findall(_FILE_TAIL.sub("", name))
    return matches[-1].upper() if matches else ""
