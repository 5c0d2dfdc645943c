"""The pages' addresses."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, path

from models_app.web.views import (
    account,
    applies,
    audit,
    endpoints,
    fleet,
    history,
    hosts,
    load,
    login,
    models,
    operation_pages,
    operations,
    users,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", fleet.page, name="fleet"),
    path("load/", load.page, name="load"),
    path("operations/", operations.collection, name="operations"),
    path("operations/<int:operation_id>/", operation_pages.detail, name="operation"),
    path("operations/<int:operation_id>/cancel/", operations.cancel, name="operation_cancel"),
    path("operations/<int:operation_id>/resume/", applies.resume, name="operation_resume"),
    path("operations/<int:operation_id>/roll-back/", applies.roll_back, name="operation_roll_back"),
    path("loaded-models/<int:loaded_id>/", operations.loaded_model, name="loaded_model"),
    path("loaded-models/<int:loaded_id>/keep-alive/", operations.keep_alive, name="keep_alive"),
    path("history/", history.page, name="history"),
    path("models/", models.index, name="models"),
    path("models/pull/", models.pull, name="model_pull"),
    path("models/<int:model_id>/", models.detail, name="model_detail"),
    path("models/installed/<int:installation_id>/delete/", models.delete, name="model_delete"),
    path("hosts/", hosts.index, name="hosts"),
    path("hosts/add/", hosts.add, name="host_add"),
    path("hosts/<int:host_id>/edit/", hosts.edit, name="host_edit"),
    path("hosts/<int:host_id>/remove/", hosts.remove, name="host_remove"),
    path("hosts/<int:host_id>/look/", hosts.look, name="host_look"),
    path("hosts/<int:host_id>/endpoints/add/", endpoints.add, name="host_endpoint_add"),
    path("endpoints/<int:endpoint_id>/edit/", endpoints.edit, name="host_endpoint_edit"),
    path("endpoints/<int:endpoint_id>/remove/", endpoints.remove, name="host_endpoint_remove"),
    path("endpoints/<int:endpoint_id>/look/", endpoints.look, name="host_endpoint_look"),
    path("users/", users.index, name="users"),
    path("users/new/", users.new, name="user_new"),
    path("users/<int:user_id>/", users.detail, name="user_detail"),
    path("users/<int:user_id>/role/", users.change_role, name="user_role"),
    path("users/<int:user_id>/deactivate/", users.deactivate, name="user_deactivate"),
    path("users/<int:user_id>/reactivate/", users.reactivate, name="user_reactivate"),
    path("users/<int:user_id>/password/", users.reset_password, name="user_password"),
    path("account/", account.account, name="account"),
    path("account/tokens/", account.tokens, name="tokens"),
    path("account/tokens/<int:token_id>/revoke/", account.revoke, name="token_revoke"),
    path("audit/", audit.audit, name="audit"),
    path("login/", login.LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
