"""The panel's addresses: pages, REST and health."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("models_app.api.urls")),
    path("", include("models_app.web.urls")),
]

handler500 = "models_app.web.views.errors.server_error"
