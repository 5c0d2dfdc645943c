"""Which model names may be sent to an endpoint.

A name travels into URLs, JSON, file paths on the endpoint's host and, for a pull, into the address of a registry. What no
endpoint could mean is refused here, before anything is sent.
"""

from __future__ import annotations

import re
import unicodedata

from models_app.backends.errors import InvalidName

MAX_NAME_LENGTH = 200
OLLAMA_REGISTRY = "registry.ollama.ai"

# Ollama's own grammar (types/model/name.go): [host[:port]/][namespace/]model[:tag]
_OLLAMA_NAME = re.compile(
    r"(?:(?:(?P<host>\w[\w.:-]*)/)?(?P<namespace>\w[\w-]{0,79})/)?(?P<model>\w[\w.-]{0,79})(?::(?P<tag>\w[\w.-]{0,79}))?",
    re.ASCII,
)


def check_name(name: str) -> str:
    """The name itself, if a server could load a model by it. Raises ``InvalidName`` for all others."""
    check_served_name(name)
    if ".." in name or "\\" in name or "//" in name or name.startswith(("/", "~")):
        raise InvalidName("A model name is no path and no address: it holds no “..”, “\\” or “//” and starts with no “/”.")
    return name


def check_served_name(name: str) -> str:
    """The name itself, if a server could call its model so; a path is allowed. Raises ``InvalidName``."""
    if not name or name != name.strip():
        raise InvalidName("A model name is needed, without spaces around it.")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidName(f"The model name is too long: {len(name)} characters, at most {MAX_NAME_LENGTH}.")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise InvalidName("The model name holds characters that cannot be printed.")
    return name


def canonical_ollama_name(name: str) -> str:
    """The name as Ollama lists it: with its tag, without its own registry. Raises ``InvalidName``."""
    match = _OLLAMA_NAME.fullmatch(check_name(name))
    if match is None:
        raise InvalidName(f"“{name}” is no Ollama model name, such as llama3.2:1b or someone/model:tag.")
    host, namespace, model, tag = match.group("host", "namespace", "model", "tag")
    if host and host.lower() != OLLAMA_REGISTRY:
        return f"{host}/{namespace}/{model}:{tag or 'latest'}"
    prefix = f"{namespace}/" if namespace and namespace != "library" else ""
    return f"{prefix}{model}:{tag or 'latest'}"


def check_registry(name: str, allowed_registries: frozenset[str]) -> str:
    """The name itself, if it may be downloaded. Raises ``InvalidName`` for a registry that is not allowed.

    The registry is the first part of a name with more than two parts, or one with a dot or a port in it.
    """
    first, *rest = check_name(name).split("/")
    names_registry = len(rest) > 1 or (bool(rest) and ("." in first or ":" in first))
    if names_registry and first.lower() not in allowed_registries:
        raise InvalidName(
            f"Models from the registry “{first}” may not be downloaded.",
            hint="An admin can add it to the allowed registries.",
        )
    return name
