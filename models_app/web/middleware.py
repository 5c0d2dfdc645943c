"""What every request for a page passes through: the way to the login, and a page for an address that cannot be opened."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from models_app.web.access import View


class SignInMiddleware(LoginRequiredMiddleware):
    """Sends visitors to the login, and from there to the page that they had open: what a form is sent to cannot be opened.

    A script of the page is told to leave the page, so that the login does not appear inside of it.
    """

    def handle_no_permission(self, request: HttpRequest, view_func: View) -> HttpResponseRedirect:
        """To the login."""
        is_script = "HX-Request" in request.headers
        is_page = request.method in ("GET", "HEAD") and not is_script
        back = request.get_full_path() if is_page else page_of(request)
        answer = redirect_to_login(back, self.get_login_url(view_func), self.get_redirect_field_name(view_func))
        if is_script:
            answer.status_code = 204
            answer["HX-Redirect"] = answer.url
            del answer["Location"]
        return answer


def page_of(request: HttpRequest) -> str:
    """The path of the panel's page that a request comes from; the Fleet's, where it is not known."""
    address = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(address, {request.get_host()}):
        return "/"
    parts = urlsplit(address)
    path = "/" + parts.path.lstrip("/")  # two slashes would begin the name of another host
    return f"{path}{'?' if parts.query else ''}{parts.query}"


def page_for_what_cannot_be_opened(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """A page with the way back, where somebody opens the address that a form is sent to."""

    def middleware(request: HttpRequest) -> HttpResponse:
        answer = get_response(request)
        is_page = request.method == "GET" and not answer.get("Content-Type", "").startswith("application/")
        if answer.status_code != 405 or not is_page:
            return answer
        page = render(request, "405.html", status=405)
        page["Allow"] = answer["Allow"]
        return page

    return middleware
