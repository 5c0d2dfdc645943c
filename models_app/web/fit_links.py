"""Links that fill in the form of a load: with other options, or as a swap that makes room first."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from models_app.estimator.advice import Advice, Remedy
from models_app.inventory.managed import is_managed
from models_app.operations.models import Operation
from models_app.web.load_form import REQUESTS, LoadForm


def offer_link(form: LoadForm, advice: Advice) -> str:
    """The form with the advice filled in; of a managed server, its settings; empty where neither has a field for it."""
    settings = advice.settings
    values = {
        Remedy.CONTEXT: ("context_length", settings.context_length),
        Remedy.BATCH: ("batch", settings.ubatch),
        Remedy.LAYERS: ("gpu_layers", settings.gpu_layers),
        Remedy.KV_IN_RAM: ("kv_offload", "off"),
    }
    name, value = values.get(advice.remedy, ("", None))
    if name in form.option_fields() and value:
        return link(form, **{name: str(value)})
    if name and value and form.endpoint is not None and is_managed(form.endpoint):
        return f"{reverse('server_edit', args=[form.endpoint.pk])}?{urlencode({name: value})}"
    return ""


def swap_link(form: LoadForm, loaded_ids: Sequence[int], **options: str) -> str:
    """The same load after unloading these, too; empty where there are none."""
    if not loaded_ids:
        return ""
    query = _query(form, options)
    query["kind"] = Operation.Kind.SWAP
    query.setlist("unload", [str(pk) for pk in dict.fromkeys([*form.unload_ids, *loaded_ids])])
    return f"{reverse('load')}?{query.urlencode()}"


def link(form: LoadForm, **options: str) -> str:
    """The form with these options, or the model, changed."""
    return f"{reverse('load')}?{_query(form, options).urlencode()}"


def _query(form: LoadForm, options: dict[str, str]) -> QueryDict:
    """The form as filled so far with some options changed."""
    query = QueryDict(mutable=True)
    query.update({"kind": str(form.data["kind"]), "model": form.model, "endpoint": str(form.data["endpoint"])})
    given = {name: form.data.get(name, "") for name in form.option_fields()} | {REQUESTS: form.requests_per_hour} | options
    for name, value in given.items():
        if value:
            query[name] = value
    query.setlist("unload", [str(pk) for pk in form.unload_ids])
    return query
