"""REST under ``/api/v1/``, its description, and the two health addresses."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path
from ninja import NinjaAPI
from ninja.openapi.docs import Swagger

from models_app.api import endpoints, errors, health, hosts, models, operations, telemetry
from models_app.api.auth import AUTH, for_members

api = NinjaAPI(
    title="Berth",
    version="1",
    description="See and steer the VRAM of a team's GPUs. Errors are problem documents (RFC 9457) with a stable `code`.",
    auth=AUTH,
    docs=Swagger(settings={"persistAuthorization": False}),
    docs_decorator=for_members,
    docs_url="docs",
    openapi_url="openapi.json",
    urls_namespace="api",
)
errors.install(api)
for prefix, router in (
    ("hosts", hosts.hosts),
    ("gpus", hosts.gpus),
    ("endpoints", endpoints.router),
    ("models", models.models),
    ("loaded-models", models.loaded),
    ("telemetry", telemetry.router),
    ("operations", operations.router),
):
    api.add_router(f"v1/{prefix}", router)


def unknown(request: HttpRequest, rest: str) -> HttpResponse:
    """Everything else under ``/api/``."""
    return errors.respond(errors.Problem(404, "not_found", "There is no such address; /api/docs lists them."))


def _without_login_page(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """The API authenticates by itself: a script wants a 401, not a login page."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = login_not_required(pattern.callback)
    return patterns


_patterns, _app, _namespace = api.urls
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", login_not_required(health.alive), name="healthz"),
    path("readyz", login_not_required(health.ready), name="readyz"),
    path("api/", (_without_login_page(_patterns), _app, _namespace)),
    path("api/<path:rest>", login_not_required(unknown)),
]
