"""REST under ``/api/v1/``, its description, the two health addresses, and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from models_app.api import (
    agents,
    alert_receivers,
    alert_rules,
    alerts,
    applied_plans,
    audit,
    demands,
    endpoints,
    errors,
    fit,
    follow,
    health,
    history,
    history_summary,
    hosts,
    load_times,
    metrics,
    models,
    ollamas,
    operations,
    plans,
    schedules,
    servers,
    speeds,
    strategy,
    telemetry,
    tiers,
)
from models_app.api.auth import AUTH, for_members
from models_app.api.bodies import Bodies
from models_app.api.docs import Docs


class Api(NinjaAPI):
    """The API, whose description tells of the problem documents once for every operation."""

    def get_openapi_schema(self, *args: Any, **kwargs: Any) -> OpenAPISchema:
        """The OpenAPI description."""
        schema = super().get_openapi_schema(*args, **kwargs)
        schema["components"]["schemas"].update(errors.description())
        for operation in (each for methods in schema["paths"].values() for each in methods.values()):
            operation["responses"].update(errors.RESPONSES)
        return schema


class Renderer(BaseRenderer):
    """JSON by pydantic's writer, which takes a fifth of the time of ``json`` for a long list."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:  # noqa: ARG002 - ninja's signature
        """The answer's bytes."""
        return to_json(data)


api = Api(
    title="Berth",
    version="1",
    description="See and steer the VRAM of a team's GPUs. Errors are problem documents (RFC 9457) with a stable `code`.",
    auth=AUTH,
    docs=Docs(settings={"persistAuthorization": False, "defaultModelsExpandDepth": 0}),
    parser=Bodies(),
    renderer=Renderer(),
    docs_decorator=for_members,
    docs_url="docs",
    openapi_url="openapi.json",
    urls_namespace="api",
)
errors.install(api)
for prefix, router in (
    ("hosts", hosts.hosts),
    ("agents", agents.router),
    ("gpus", hosts.gpus),
    ("endpoints", endpoints.router),
    ("models", models.models),
    ("fit", fit.router),
    ("speeds", speeds.router),
    ("strategy", strategy.router),
    ("hardware-tiers", tiers.router),
    ("loaded-models", models.loaded),
    ("telemetry", telemetry.router),
    ("telemetry/history", history.router),
    ("telemetry/history/summary", history_summary.router),
    ("operations", operations.router),
    ("alerts", alerts.router),
    ("alert-rules", alert_rules.router),
    ("alert-receivers", alert_receivers.router),
    ("operations", follow.router),
    ("managed-servers/ollamas", ollamas.router),
    ("managed-servers", servers.router),
    ("demands", demands.router),
    ("plans", plans.router),
    ("plans", applied_plans.plans),
    ("demands", applied_plans.demands),
    ("schedules", schedules.router),
    ("load-times", load_times.router),
    ("audit-entries", audit.router),
):
    api.add_router(f"v1/{prefix}", router)


@csrf_exempt
@login_not_required
def unknown(request: HttpRequest, rest: str) -> HttpResponse:
    """Everything else under ``/api/``."""
    return errors.respond(errors.Problem(404, "not_found", "There is no such address; /api/docs lists them."))


def _for_scripts(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """The API authenticates by itself, and answers a wrong method like any other error: a script wants no page."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = login_not_required(_for_any_method(pattern.callback))
    return patterns


def _for_any_method(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """``HEAD`` is a ``GET`` whose body the server leaves out, ``OPTIONS`` tells the methods, any other is a problem."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        asked = request.method
        if asked == "HEAD":
            request.method = "GET"
        response = view(request, *args, **kwargs)
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        allowed = _allowed(response)
        if asked == "OPTIONS":
            return HttpResponse(status=204, headers={"Allow": allowed})
        problem = errors.respond(errors.Problem(405, "method_not_allowed", f"This address takes {allowed}."))
        problem["Allow"] = allowed
        return problem

    return answer


def _allowed(response: HttpResponseNotAllowed) -> str:
    methods = {method.strip() for method in response["Allow"].split(",")}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


_patterns, _app, _namespace = api.urls
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", login_not_required(health.alive), name="healthz"),
    path("readyz", login_not_required(health.ready), name="readyz"),
    path("metrics", login_not_required(metrics.metrics), name="metrics"),
    path("api/", (_for_scripts(_patterns), _app, _namespace)),
    re_path(r"^api/(?P<rest>(?s:.+))\Z", unknown),
]
