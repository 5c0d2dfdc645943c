"""A short text from a llama-server, in either of its modes, to see how fast it writes."""

from __future__ import annotations

from models_app.backends.base import LONG_PROMPT
from models_app.backends.errors import ServerFault, UnsupportedCall
from models_app.backends.http import Call, Http
from models_app.backends.llama_answers import generation
from models_app.backends.protocol import Generation
from models_app.backends.shapes import Object

_NOT_FOR_TEXT = "does not support logits"


async def generate(http: Http, name: str, most_tokens: int) -> Generation:
    """Exactly so many tokens: the end of the text is ignored, and so is what the cache holds of the prompt.

    A router that has not loaded the model refuses rather than loading it. Raises ``BackendError``.
    """
    body: Object = {
        "model": name,
        "messages": [{"role": "user", "content": LONG_PROMPT}],
        "max_tokens": most_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }
    path, query = "/v1/chat/completions", {"autoload": "false"}
    try:
        return generation(await http.json("POST", path, call=Call.LOAD, body=body, query=query))
    except ServerFault as error:
        if _NOT_FOR_TEXT in error.message:
            raise UnsupportedCall(f"{name} writes no text.") from error
        raise
