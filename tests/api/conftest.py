"""Scripts that talk to the API: with a write token, with a read token, with none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from models_app.accounts.models import ApiToken
from models_app.accounts.roles import Via, actor
from models_app.accounts.tokens import create_token


@dataclass
class Script:
    """A client that sends JSON and a token."""

    secret: str
    client: Client

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/v1/{path}", query, headers=self._headers())

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.post(
            f"/api/v1/{path}", body, content_type="application/json", headers={**self._headers(), **headers}
        )

    def send(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        call = getattr(self.client, method)
        return call(f"/api/v1/{path}", body, content_type=content_type, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}


@pytest.fixture
def script_of(db: None) -> Callable[[User, ApiToken.Scope], Script]:
    def make(user: User, scope: ApiToken.Scope) -> Script:
        _, secret = create_token(actor(user, Via.COMMAND), user, "a script", scope)
        return Script(secret, Client(raise_request_exception=False))

    return make


@pytest.fixture
def writer(admin: User, script_of: Callable[[User, ApiToken.Scope], Script]) -> Script:
    return script_of(admin, ApiToken.Scope.WRITE)


@pytest.fixture
def reader(member: User, script_of: Callable[[User, ApiToken.Scope], Script]) -> Script:
    return script_of(member, ApiToken.Scope.READ)
