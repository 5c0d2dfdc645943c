"""The panel's addresses: pages, REST and health."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("models_app.api.urls")),
    path("", include("models_app.web.urls")),
]

handler400 = "models_app.web.views.errors.bad_request"
handler500 = "models_app.web.views.errors.server_error"
