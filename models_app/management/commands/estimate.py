"""``manage.py estimate FILE``: what a model file will take on each device, as a table or as JSON. Needs no database.

``manage.py estimate --model NAME`` asks the catalog for a model's header instead.
"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from models_app.catalog.find import find_variant
from models_app.estimator.header import header_estimate
from models_app.estimator.oracle import asked_settings, oracle_estimate, parse_plan, planner_arguments
from models_app.estimator.profiles import CURRENT, PROFILES, BuildProfile, build_profile
from models_app.estimator.server_fit import Unset, fitted, shrunk
from models_app.estimator.shape import Shape
from models_app.estimator.shape_reader import read_shape
from models_app.estimator.types import CACHE_TYPES, Estimate, EstimateError, LoadSettings
from models_app.gguf.errors import GgufError
from models_app.gguf.splits import read_model
from models_app.operations.reckoning import variant_estimate
from models_app.probes.planner import PlannerFailed, run_planner

_TERMS = ("weights_bytes", "kv_bytes", "recurrent_bytes", "compute_bytes", "overhead_bytes", "total_bytes")
_SWITCH = {"on": True, "off": False, "auto": None}


class Command(BaseCommand):
    """Estimate a load from the header of a GGUF file."""

    help = "Say what a GGUF model will take on each device."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", nargs="?", help="a GGUF file; any part of a split model")
        parser.add_argument("--model", metavar="NAME", help="a model of the catalog, in place of a file")
        parser.add_argument("--ctx", type=int, default=4096, help="tokens of the whole context (--ctx-size; 4096)")
        parser.add_argument("--parallel", type=int, default=1, help="slots, which divide the context (1)")
        parser.add_argument("--kv-unified", action="store_true", help="the slots share one cache of the whole context")
        parser.add_argument("--ngl", type=int, help="layers on the GPU, the output layer included (all)")
        parser.add_argument("--gpu-bytes", type=_whole_numbers, metavar="N[,N]", help="free bytes of each GPU; 0 for none")
        parser.add_argument("--cache-type-k", choices=CACHE_TYPES, default="f16")
        parser.add_argument("--cache-type-v", choices=CACHE_TYPES, default="f16")
        parser.add_argument("--batch", type=int, default=2048)
        parser.add_argument("--ubatch", type=int, default=512)
        parser.add_argument("--flash-attn", choices=tuple(_SWITCH), default="auto")
        parser.add_argument("--swa-full", action="store_true", help="sliding windows at full length")
        parser.add_argument("--no-kv-offload", action="store_true", help="keep the KV cache in host RAM")
        parser.add_argument("--n-cpu-moe", type=int, default=0, help="layers whose experts stay in host RAM")
        parser.add_argument("--draft", type=int, default=0, help="tokens that the model's MTP head drafts (off)")
        parser.add_argument("--embedding", action="store_true", help="as an embedding server")
        parser.add_argument("--split", type=_shares, default=(), metavar="1,1", help="shares of the GPUs")
        parser.add_argument("--build", choices=tuple(PROFILES), default=CURRENT.name, help="the server's generation")
        parser.add_argument("--oracle", type=Path, metavar="PATH", help="llama-fit-params, to ask llama.cpp's own planner")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if (options["file"] is None) == (options["model"] is None):
            raise CommandError("Give a GGUF file, or --model and a name of the catalog.", returncode=2)
        if options["oracle"] and options["file"] is None:
            raise CommandError("The planner reads a file: give one.", returncode=2)
        try:
            estimate = _of_file(options) if options["model"] is None else _of_catalog(options)
        except (GgufError, EstimateError, PlannerFailed) as error:
            raise CommandError(str(error), returncode=2) from None
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}", returncode=2) from None
        self.stdout.write(json.dumps(as_json(estimate), indent=2) if options["json"] else as_table(estimate))


def _of_file(options: dict[str, Any]) -> Estimate:
    shape, settings = read_shape(read_model(options["file"])), _settings(options)
    profile, gpu_bytes = build_profile(options["build"]), options["gpu_bytes"]
    if options["oracle"] is None:
        return _noted(header_estimate(shape, settings, profile, gpu_bytes), shape, settings, profile, gpu_bytes)
    arguments = planner_arguments(settings, [number / 1024**3 for number in gpu_bytes or ()])
    plan = parse_plan(run_planner(options["oracle"], Path(options["file"]).resolve(), arguments))
    gpu_bytes = (1,) * (len(plan) - 1) if gpu_bytes is None else gpu_bytes
    wanted, asked = (header_estimate(shape, each, profile, gpu_bytes) for each in (settings, asked_settings(settings)))
    return oracle_estimate(wanted, asked, plan)


def _noted(
    estimate: Estimate, shape: Shape, settings: LoadSettings, profile: BuildProfile, gpu_bytes: tuple[int, ...] | None
) -> Estimate:
    """The estimate, and what a server that was given this context would change by itself on GPUs of this room."""
    if not gpu_bytes or not profile.fits_by_itself:
        return estimate

    def of(settings: LoadSettings) -> Estimate:
        return header_estimate(shape, settings, profile, gpu_bytes)

    unset = Unset(context=False, layers=settings.gpu_layers is None and not settings.split and not settings.cpu_moe_layers)
    chosen = fitted(of, settings, unset, shape.layer_count, gpu_bytes, shape.expert_count > 0)
    note = shrunk(settings, chosen, shape.layer_count)
    return replace(estimate, notes=(*estimate.notes, note)) if note else estimate


def _of_catalog(options: dict[str, Any]) -> Estimate:
    try:
        variant = find_variant(options["model"])
    except DatabaseError as error:
        raise CommandError(f"The catalog cannot be read: {error}", returncode=2) from None
    if variant is None:
        raise CommandError(f"The catalog has no model {options['model']!r}.", returncode=2)
    return variant_estimate(variant, _settings(options), build_profile(options["build"]), options["gpu_bytes"])


def as_json(estimate: Estimate) -> dict[str, Any]:
    """The estimate as the JSON object that ``--json`` prints."""
    return {
        "grade": estimate.grade.value,
        "build_profile": estimate.build_profile,
        "devices": [
            {"name": device.name, "kind": device.kind.value} | {term: getattr(device, term) for term in _TERMS}
            for device in estimate.devices
        ],
        "total_bytes": estimate.total_bytes,
        "error_bytes": estimate.error_bytes,
    }


def as_table(estimate: Estimate) -> str:
    """The estimate in MiB, one line a device."""
    titles = ["device", *(term.removesuffix("_bytes") for term in _TERMS)]
    rows = [[device.name, *(_mib(getattr(device, term)) for term in _TERMS)] for device in estimate.devices]
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in [titles, *rows]]
    lines.append(f"Total {_mib(estimate.total_bytes)} MiB, give or take {_mib(estimate.error_bytes)} MiB.")
    lines.append(f"Evidence: {estimate.grade.value}. Build: {estimate.build_profile}.")
    return "\n".join([*lines, *estimate.notes])


def _settings(options: dict[str, Any]) -> LoadSettings:
    slots = 1 if options["kv_unified"] else options["parallel"]
    return LoadSettings(
        context_length=-(-options["ctx"] // max(1, slots)),
        parallel=options["parallel"],
        unified_kv=options["kv_unified"],
        gpu_layers=options["ngl"],
        batch=options["batch"],
        ubatch=options["ubatch"],
        cache_type_k=options["cache_type_k"],
        cache_type_v=options["cache_type_v"],
        flash_attention=_SWITCH[options["flash_attn"]],
        split=options["split"],
        swa_full=options["swa_full"],
        kv_offload=not options["no_kv_offload"],
        cpu_moe_layers=options["n_cpu_moe"],
        draft_length=options["draft"],
        embedding=options["embedding"],
    )


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no list of whole numbers") from None
    if any(number < 0 for number in numbers):
        raise ArgumentTypeError("bytes must not be negative")
    return tuple(number for number in numbers if number)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no list of numbers") from None


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.1f}"
