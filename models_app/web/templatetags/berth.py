"""Filters and tags of every template: bytes, times and names in words, icons, the navigation.

A built-in by the settings, so that no template has to load it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlpanel.encrypted import Unreadable
from models_app.alerts.delivery.messages import figure_words
from models_app.backends.protocol import Capability, EndpointInfo
from models_app.inventory.routes import agent_endpoint, is_managed_url
from models_app.live import current_revision

register = template.Library()

GIB, MIB = 1024**3, 1024**2
PAGES = (
    ("fleet", "Fleet", False),
    ("models", "Models", False),
    ("plans", "Plans", False),
    ("operations", "Operations", False),
    ("history", "History", False),
    ("alerts", "Alerts", False),
    ("hosts", "Hosts", False),
    ("users", "Users", True),
    ("audit", "Audit", True),
)
"""The name of each page's address, its title, and whether it is for admins only."""
_BELONGS_TO = {"server": "host", "ollama": "host", "schedule": "plan", "load": "fleet", "keep": "fleet"}
"""What the addresses of other names are about: the first words of the names, without a plural."""
_ABILITIES = {
    Capability.LOAD: "load",
    Capability.UNLOAD: "unload",
    Capability.PULL: "download",
    Capability.DELETE: "delete",
    Capability.KEEP_ALIVE: "change the keep-alive",
    Capability.RESTART: "restart",
    Capability.GENERATE: "measure the speed",
}


@register.filter
def is_managed(endpoint: Any) -> bool:
    """Whether Berth starts the server of an endpoint, a row or a view."""
    return is_managed_url(endpoint.url)


@register.filter
def is_through_agent(endpoint: Any) -> bool:
    """Whether an endpoint, a row or a view, is reached by the agent of its host alone."""
    return agent_endpoint(endpoint.url) is not None


@register.filter
def gib(value: int | None) -> str:
    """Bytes as a number of GiB with one decimal, for where the unit stands beside it."""
    return "–" if value is None else f"{value / GIB:.1f}"


@register.filter(name="bytes")
def in_bytes(value: int | None) -> str:
    """Bytes with their unit: MiB below 1 GiB, GiB from there on; little is not nothing."""
    if value is None:
        return "–"
    if 0 < value < MIB / 2:
        return "< 1 MiB"
    if abs(value) < GIB:
        return f"{value / MIB:.0f} MiB"
    return f"{value / GIB:.1f} GiB"


@register.filter
def measured(value: float, unit: str) -> str:
    """A number of an alert's evidence with its unit."""
    return figure_words(value, unit)


@register.filter
def verdict(sentence: str, tone: str) -> SafeString:
    """A sentence that begins with its verdict and a colon, the verdict made to stand out; ``tone`` is good, warn or bad."""
    said, colon, why = sentence.partition(":")
    return format_html('<b class="verdict {}">{}{}</b>{}', tone, said, colon, why)


@register.filter
def watts(milliwatts: int | None) -> str:
    """Milliwatts as whole watts."""
    return "–" if milliwatts is None else f"{milliwatts / 1000:.0f} W"


@register.filter
def tokens(count: int | None) -> str:
    """A context length as people say it: 16384 is 16k."""
    if count is None:
        return ""
    return f"{count // 1024}k" if count >= 1024 and count % 1024 == 0 else f"{count:,}"


@register.filter
def rate(tokens_per_second: float | None) -> str:
    """A speed of writing: 7.3 tok/s, 41 tok/s."""
    if tokens_per_second is None:
        return "–"
    return f"{tokens_per_second:.1f} tok/s" if tokens_per_second < 10 else f"{tokens_per_second:,.0f} tok/s"


@register.filter
def as_percent(share: float) -> str:
    """A share from 0 to 1 in whole percent."""
    return f"{share:.0%}".replace("%", " %")


@register.filter
def parameters(count: int | None) -> str:
    """A number of weights as people say it: 8.0 B, 137 M, 260 K."""
    if count is None:
        return "–"
    if count < 1e6:
        return f"{count / 1e3:.0f} K"
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


@register.filter
def clock(seconds: float | None) -> str:
    """A duration in seconds as minutes and seconds, 3:12, with hours and days where there are any."""
    if seconds is None:
        return ""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@register.filter
def until(moment: datetime | None) -> str:
    """The time left to a moment, as ``clock`` says it."""
    return "" if moment is None else clock((moment - timezone.now()).total_seconds())


@register.filter
def grouped(number: int | str) -> str:
    """A whole number in groups of three digits; anything else as it is."""
    return f"{number:,}" if isinstance(number, int) else number


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago a moment was, in its one largest unit: 40 s, 2 min, 3 h, 5 days."""
    if moment is None:
        return ""
    seconds = max(0, int((timezone.now() - moment).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 2 * 86_400 else f"{seconds // 86_400} days"


@register.filter
def moment(moment: datetime) -> str:
    """A time of day, with its date where that is not today's."""
    is_today = timezone.localdate(moment) == timezone.localdate()
    return f"{timezone.localtime(moment):%H:%M}" if is_today else f"{timezone.localtime(moment):%Y-%m-%d %H:%M}"


@register.filter
def span(seconds: float | timedelta | None) -> str:
    """A measured duration: 1.1 s, 42 s, 3 min 5 s."""
    if seconds is None:
        return ""
    value = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if value < 10:
        return f"{value:.1f} s"
    return f"{value:.0f} s" if value < 120 else f"{int(value // 60)} min {int(value % 60)} s"


@register.filter
def is_unreadable(text: str) -> bool:
    """Whether it was encrypted with a secret key that is not known any more."""
    return isinstance(text, Unreadable)


@register.filter
def short_name(name: str) -> str:
    """A model's name as people say it: of a file's path, which some servers tell, only the file's own name."""
    parts = re.split(r"[/\\]", name)
    is_path = name.lower().endswith(".gguf") or re.match(r"[/\\~.]|[A-Za-z]:[/\\]", name)
    return parts[-1] or name if is_path else name


@register.filter
def abilities(info: EndpointInfo) -> str:
    """What an endpoint can be asked to do, in words."""
    return ", ".join(sorted(_ABILITIES[each] for each in info.capabilities if each in _ABILITIES))


@register.simple_tag
def icon(name: str, kind: str = "") -> SafeString:
    """An icon of the sprite; ``kind`` is good, warn, bad or run. Icons only ever accompany words."""
    classes = f"icon {kind}".strip()
    href = f"{static('img/icons-1.62.0.svg')}#{name}"
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}"></use></svg>', classes, href)


@register.inclusion_tag("components/nav.html", takes_context=True)
def nav(context: Mapping[str, Any]) -> dict[str, Any]:
    """The main navigation: the pages that exist, the current one marked."""
    match = getattr(context.get("request"), "resolver_match", None)
    subject = ((match.url_name or "") if match else "").split("_")[0].removesuffix("s")
    here = _BELONGS_TO.get(subject, subject)
    pages = [(title, _address(name), here == name.removesuffix("s")) for name, title in _pages(context)]
    return {"pages": [page for page in pages if page[1]]}


def _pages(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, title) for name, title, admins_only in PAGES if context.get("is_admin") or not admins_only]


def _address(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


@register.simple_tag(takes_context=True)
def with_query(context: Mapping[str, Any], **changes: str | int | None) -> str:
    """The page's query string with some parameters changed; ``None`` removes one. For sort headers and paging."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = str(value)
    return f"?{query.urlencode()}"


@register.filter
def at(mapping: Mapping[Any, Any], key: Any) -> Any:
    """What a mapping holds under a key, or nothing."""
    return mapping.get(key)


@register.filter
def words(text: str) -> list[str]:
    """The words of a text, for a short loop."""
    return text.split()


@register.simple_tag
def revision() -> int:
    """The revision of the latest live event, which tells a page's socket whether the page is already old."""
    return current_revision()
