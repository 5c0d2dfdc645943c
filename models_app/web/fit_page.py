"""The answer to "does it fit?" for the screen: each term on each device, the room there, and what would make room."""

from __future__ import annotations

from dataclasses import dataclass

from models_app.backends.protocol import LoadOptions
from models_app.catalog.models import Installation
from models_app.estimator.advice import Advice
from models_app.estimator.speed import MEASURED, UNCHANGED, Speed
from models_app.inventory.models import Host, LoadedModel
from models_app.operations.fit import DeviceFit, EndpointFit, fit
from models_app.operations.preview import fit_preview
from models_app.operations.siblings import Sibling
from models_app.operations.verdicts import FitPreview
from models_app.probes.types import HostSample
from models_app.telemetry.latest import latest
from models_app.web.fit_links import link, offer_link, swap_link
from models_app.web.fit_terms import LEARNED_NOTE, Term, evidence, terms_of
from models_app.web.keep_alive_tips import KeepAliveTip, keep_alive_tip
from models_app.web.load_form import LoadForm


@dataclass(frozen=True, slots=True)
class Place:
    """One device: what is free on it, what the model would take, and the links that make it fit there.

    ``used_bytes`` is what is in use or promised before the load, ``limit_bytes`` where the headroom begins. ``is_chosen``
    marks where the server is expected to put the model.
    """

    device: DeviceFit
    is_chosen: bool
    used_bytes: int
    limit_bytes: int
    swap_link: str
    layers_link: str

    @property
    def spare_bytes(self) -> int:
        """What is left for others after the load."""
        return self.device.room.available_bytes - (self.device.needed_bytes or 0)


@dataclass(frozen=True, slots=True)
class Offer:
    """A piece of advice; ``link`` fills it into the form, empty where the form has no field for it."""

    advice: Advice
    link: str


@dataclass(frozen=True, slots=True)
class Instead:
    """A smaller variant that is installed at the same place; ``link`` fills in the form with it."""

    sibling: Sibling
    link: str


@dataclass(frozen=True, slots=True)
class FitPage:
    """What the page shows. ``columns`` names the devices of the ``terms``; ``swap_link`` unloads what the preview names."""

    preview: FitPreview
    evidence: str
    columns: tuple[str, ...]
    terms: tuple[Term, ...]
    notes: tuple[str, ...]
    swap_link: str
    places: tuple[Place, ...] = ()
    offers: tuple[Offer, ...] = ()
    instead: tuple[Instead, ...] = ()
    speed: Speed | None = None
    tip: KeepAliveTip | None = None

    @property
    def speed_evidence(self) -> tuple[str, ...]:
        """Where the predicted speeds come from."""
        speeds = [each.advice.speed for each in self.offers] + [each.sibling.speed for each in self.instead]
        named = dict.fromkeys(speed.evidence for speed in speeds)
        return tuple(evidence for evidence in named if evidence not in (UNCHANGED, MEASURED))


def fit_page(form: LoadForm) -> FitPage | None:
    """The answer for the form as filled so far; ``None`` before a model is chosen. Raises ``RequestRefused``.

    What the server would choose for itself becomes the hint of the form's empty fields.
    """
    if form.endpoint is None or not form.model:
        return None
    options = form.options()
    unload = list(LoadedModel.objects.filter(endpoint=form.endpoint, pk__in=form.unload_ids))
    unload += [form.loaded_here] if form.loaded_here else []  # a reload gives back first what the model takes now
    installed = Installation.objects.filter(endpoint=form.endpoint, name=form.model).select_related("variant").first()
    if installed is None:
        preview = fit_preview(form.endpoint, form.model, options, unload=unload)
        return _page(form, None, preview, options)
    answer = fit(installed.variant, [form.endpoint], options, unload, fresh_sample(form.endpoint.host))[0]
    form.suggest(answer.settings)
    return _page(form, answer, answer.preview, options)


def fresh_sample(host: Host) -> dict[int, HostSample]:
    """The newest sample by the host's id, if it is as new as those that the fleet is watched by."""
    newest = latest(host)
    return {host.pk: newest.sample} if newest and not newest.is_stale else {}


def _page(form: LoadForm, answer: EndpointFit | None, preview: FitPreview, options: LoadOptions) -> FitPage:
    columns, terms = terms_of(preview)
    return FitPage(
        preview=preview,
        evidence=evidence(form, preview, options),
        columns=columns,
        terms=terms,
        notes=tuple(note for note in preview.unknown if not note.startswith(LEARNED_NOTE)),
        swap_link=swap_link(form, [each.loaded_model_id for each in preview.would_free]),
        places=_places(form, answer) if answer else (),
        offers=_offers(form, answer) if answer else (),
        instead=tuple(Instead(each, link(form, model=each.name)) for each in answer.siblings) if answer else (),
        speed=answer.speed if answer else None,
        tip=_tip(form),
    )


def _tip(form: LoadForm) -> KeepAliveTip | None:
    """How long the model should stay, where the endpoint can be told."""
    if form.endpoint is None or "keep_alive" not in form.fields:
        return None
    typed = form.data.get("keep_alive")

    def address(text: str) -> str:
        return "" if typed == text else link(form, keep_alive=text)

    return keep_alive_tip(form.endpoint, form.model, form.requests_per_hour, address)


def _places(form: LoadForm, answer: EndpointFit) -> tuple[Place, ...]:
    chosen = {room.uuid for room in answer.preview.chosen}
    return tuple(_place(form, device, device.room.uuid in chosen) for device in answer.devices)


def _offers(form: LoadForm, answer: EndpointFit) -> tuple[Offer, ...]:
    """The advice; no layer at all on the GPU is none."""
    return tuple(Offer(each, offer_link(form, each)) for each in answer.advice if each.settings.gpu_layers != 0)


def _place(form: LoadForm, device: DeviceFit, is_chosen: bool) -> Place:
    room, offered = device.room, form.option_fields()
    here = {"gpu": room.uuid} if room.uuid and "gpu" in offered else {}
    partly = device.layers if device.layers != device.layer_count and "gpu_layers" in offered else None
    return Place(
        device=device,
        is_chosen=is_chosen,
        used_bytes=room.total_bytes - room.free_bytes + room.held_bytes - room.freed_bytes,
        limit_bytes=room.total_bytes - room.headroom_bytes,
        swap_link=swap_link(form, [each.loaded_model_id for each in device.evict], **here),
        layers_link=link(form, gpu_layers=str(partly), **here) if partly else "",
    )
