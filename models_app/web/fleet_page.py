"""Which hosts a page of the fleet shows, and the fleet's sums where these are not all of them."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace

from django.http import QueryDict

from models_app.inventory.models import Host
from models_app.operations.fleet_sums import sums_of_all
from models_app.operations.fleet_view import FleetView, Sums
from models_app.web.listing import Listed, Listing

HOSTS_A_PAGE = 20
SCREEN = "fleet"
LONGEST_PART, LONGEST_NAME = 100, 1000
SUMS_SECONDS, SUMS_REST = 5.0, 20
"""The sums of many hosts are as old as this at most, or as so many times what they cost."""
LISTING = Listing[Host](sorts={"name": "name"}, default_sort="name", searches=("name",), per_page=HOSTS_A_PAGE)


@dataclass(frozen=True, slots=True)
class FleetPage:
    """One page. ``sums`` is ``None`` where it shows every host; else they are good until ``sums_until`` (monotonic)."""

    listed: Listed[Host]
    host_ids: tuple[int, ...]
    sums: Sums | None = None
    sums_until: float = 0.0

    def with_sums(self, view: FleetView) -> FleetView:
        """The page's hosts beside the sums of all."""
        return FleetView(view.hosts, self.sums or view.sums)

    @property
    def is_part(self) -> bool:
        """Whether there are hosts that it does not show."""
        return self.sums is not None


def fleet_page(query: QueryDict, before: FleetPage | None = None) -> FleetPage:
    """The page that the parameters ask for; ``before`` is the same page as it was found last."""
    listed = LISTING.asked(query, Host.objects.only("pk"))
    found = FleetPage(listed, tuple(host.pk for host in listed.page))
    if not listed.is_narrowed and listed.page.paginator.num_pages == 1:
        return found
    if before and before.sums and time.monotonic() < before.sums_until:
        return replace(found, sums=before.sums, sums_until=before.sums_until)
    began = time.monotonic()
    sums = sums_of_all()
    took = time.monotonic() - began
    return replace(found, sums=sums, sums_until=time.monotonic() + max(SUMS_SECONDS, SUMS_REST * took))


def screen_name(query: QueryDict) -> str:
    """The page's screen as a word for the socket's address."""
    asked = QueryDict(mutable=True)
    asked.update({name: str(query[name])[:LONGEST_PART] for name in ("q", "page") if query.get(name)})
    text = urlsafe_b64encode(asked.urlencode().encode()).decode().rstrip("=")
    return f"{SCREEN}-{text}" if text else SCREEN


def query_of(screen: str) -> QueryDict | None:
    """The parameters that ``screen_name`` wrote; ``None`` for the name of another screen."""
    name, _, text = screen.partition("-")
    if name != SCREEN or len(text) > LONGEST_NAME:
        return None
    try:
        return QueryDict(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None
