"""What the API says and hears of the servers that Berth starts itself: two kinds, and one shape of answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Field, Schema
from pydantic import BaseModel, ConfigDict

from models_app.agent.supervision.spec import Spec
from models_app.inventory.managed import must_restart
from models_app.inventory.models import ManagedServer
from models_app.operations.ollama_specs import parse_ollama_spec
from models_app.operations.server_specs import parse_spec

HostReference = Annotated[int | str, Field(description="The host's id or its name.", union_mode="left_to_right")]


class LlamaSettings(Schema):
    """How a llama-server is started. What is left out is its own choice."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="What the server calls its model.", max_length=200)
    model: str = Field(description="The whole path of a GGUF file in a folder that the host's owner allows.")
    binary: str = Field("", description="The allow-list's name of the program; empty for its first.")
    gpus: list[str] = Field([], description="UUIDs of the GPUs that it sees; empty for all.", max_length=64)
    context_length: int | None = Field(None, description="Tokens per slot.")
    parallel: int | None = Field(None, description="Slots.")
    gpu_layers: int | None = None
    batch: int | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    flash_attention: bool | None = None
    kv_offload: bool | None = Field(None, description="False for a KV cache in host RAM.")
    threads: int | None = None
    extra: list[str] = Field(
        [], description="Further words of the command line, of flags that the owner allows.", max_length=64
    )


class OllamaSettings(Schema):
    """How an Ollama is started. What is left out is its own choice."""

    model_config = ConfigDict(extra="forbid")

    models: str = Field(description="The whole path of a folder of models, in one that the host's owner allows.")
    gpus: list[str] = Field(
        [], description="UUIDs of the GPUs that it sees; empty only on a host without GPUs.", max_length=64
    )
    binary: str = Field("", description="The allow-list's name of the program; empty for its first.")
    parallel: int | None = Field(None, description="Requests at once, of each model (OLLAMA_NUM_PARALLEL).")
    context_length: int | None = Field(None, description="Tokens (OLLAMA_CONTEXT_LENGTH).")
    most_loaded: int | None = Field(None, description="Models in memory at once (OLLAMA_MAX_LOADED_MODELS).")
    keep_alive: str = Field("", description="As in 30m, or -1 for ever (OLLAMA_KEEP_ALIVE).")
    flash_attention: bool | None = Field(None, description="OLLAMA_FLASH_ATTENTION.")
    kv_cache_type: str = Field("", description="f16, q8_0 or q4_0 (OLLAMA_KV_CACHE_TYPE).")


class ServerIn(LlamaSettings):
    """A new llama-server, for one model file."""

    host: HostReference
    server_name: str = Field("", description="Empty for the model's name.", max_length=80)


class OllamaIn(OllamaSettings):
    """A new Ollama, for many models on GPUs of its own."""

    host: HostReference
    server_name: str = Field(max_length=80)


class ServerChange(LlamaSettings):
    """All settings anew. A server that runs keeps its own until it is restarted."""

    server_name: str = Field(max_length=80)


class OllamaChange(OllamaSettings):
    """The same for an Ollama."""

    server_name: str = Field(max_length=80)


class ServerOut(BaseModel):
    """A server. ``must_restart``: it runs with other settings than these. ``problem`` is how it last ended unasked."""

    id: int
    endpoint_id: int
    kind: str
    server_name: str
    host: str
    host_id: int
    settings: dict[str, Any]
    state: str
    process_id: int | None
    port: int | None
    started_at: datetime | None
    restarts: int
    problem: str
    must_restart: bool


class LogOut(BaseModel):
    """The end of a server's log, oldest line first."""

    lines: list[str]


class FileOut(BaseModel):
    """A model file; ``size_bytes`` is that of all its parts."""

    path: str
    size_bytes: int


class FilesOut(BaseModel):
    """Files by path. Where ``is_complete`` is false, search for a part of the path."""

    files: list[FileOut]
    is_complete: bool


class OllamaChoicesOut(BaseModel):
    """What a host's owner allows for an Ollama; a folder of models may also lie within one of these."""

    programs: list[str]
    folders: list[str]


def server_out(row: ManagedServer) -> ServerOut:
    """The row as the API shows it."""
    same = ("id", "endpoint_id", "state", "process_id", "port", "started_at", "restarts", "problem")
    return ServerOut(
        **{name: getattr(row, name) for name in same},
        kind=row.endpoint.kind,
        server_name=row.endpoint.name,
        host=row.endpoint.host.name,
        host_id=row.endpoint.host_id,
        settings=row.spec,
        must_restart=must_restart(row),
    )


def spec_in(body: LlamaSettings | OllamaSettings, name: str) -> Spec:
    """The settings of a server of that name as its kind understands them. Raises ``RequestRefused``."""
    if isinstance(body, OllamaSettings):
        return parse_ollama_spec(name, {field: getattr(body, field) for field in OllamaSettings.model_fields})
    return parse_spec({field: getattr(body, field) for field in LlamaSettings.model_fields})
