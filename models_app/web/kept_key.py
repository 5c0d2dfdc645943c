"""The API key between *Test connection* and saving, for a browser without JavaScript: in the session, encrypted, never
in the page.

It is used for the address that it was typed for and no other, and it is gone once the form is saved or opened anew.
"""

from __future__ import annotations

from django.http import HttpRequest, QueryDict

from controlpanel.encrypted import Unreadable, decrypted, encrypted
from models_app.inventory.addresses import address_key
from models_app.web.host_forms import EndpointForm

_KEPT = "kept_key"
_HELP = "The key of the last test is kept for this address: leave this empty to use it."


def posted(request: HttpRequest) -> QueryDict | None:
    """What was sent, with the kept key where none was typed; ``None`` where the form is only opened."""
    kept = request.session.get(_KEPT, {})
    if request.method != "POST":
        forget_key(request)
        return None
    if request.POST.get("api_key") or kept.get("form") != request.path or not _is_for(kept, request.POST.get("url", "")):
        return request.POST
    key = decrypted(kept["key"])
    if isinstance(key, Unreadable):
        return request.POST
    data = request.POST.copy()
    data["api_key"] = key
    return data


def keep_key(request: HttpRequest, form: EndpointForm) -> None:
    """After a test whose answer is a whole page, in which what was typed into the field is lost."""
    key, url = form.cleaned_data.get("api_key"), form.cleaned_data.get("url", "")
    if key and "HX-Request" not in request.headers:
        request.session[_KEPT] = {"form": request.path, "url": url, "key": encrypted(key)}
        form["api_key"].help_text = _HELP


def forget_key(request: HttpRequest) -> None:
    """The form is done with."""
    if _KEPT in request.session:
        del request.session[_KEPT]


def _is_for(kept: dict[str, str], url: str) -> bool:
    try:
        return bool(kept) and address_key(kept["url"]) == address_key(url)
    except ValueError:
        return False
