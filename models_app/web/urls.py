"""The pages' addresses."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, path

from models_app.web.views import fleet, load, login, operations

urlpatterns: list[URLPattern | URLResolver] = [
    path("", fleet.page, name="fleet"),
    path("load/", load.page, name="load"),
    path("operations/", operations.collection, name="operations"),
    path("operations/<int:operation_id>/", operations.detail, name="operation"),
    path("operations/<int:operation_id>/cancel/", operations.cancel, name="operation_cancel"),
    path("loaded-models/<int:loaded_id>/", operations.loaded_model, name="loaded_model"),
    path("loaded-models/<int:loaded_id>/keep-alive/", operations.keep_alive, name="keep_alive"),
    path("login/", login.LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
