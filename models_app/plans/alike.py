"""What is alike is reckoned once: a model that is installed on many servers is the same to most of them.

Two servers are alike if they are of one kind with the same options and look at equal GPUs with equal room.
"""

from __future__ import annotations

from collections.abc import Hashable

from models_app.operations.builds import profile_of
from models_app.operations.facts import Facts
from models_app.operations.subject import Subject
from models_app.plans.fleet import Fleet, Server
from models_app.plans.records import RAM
from models_app.plans.ways import Case


class Likeness:
    """Tells what is alike in a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._servers = {server.id: _server_key(fleet, server) for server in fleet.servers}
        self._subjects: dict[Hashable, dict[tuple[int, int], Subject]] = {}

    def of(self, case: Case) -> Hashable:
        """The same for cases of one demand that have the same ways, but for the server."""
        candidate = case.candidate
        return self._servers[case.server.id], id(case.subjects), candidate.rank, candidate.label, case.load_seconds

    def subjects(self, server: Server, facts: Facts) -> dict[tuple[int, int], Subject]:
        """Where subjects of such facts are kept, by their context and slots: one place for all that are alike."""
        return self._subjects.setdefault((server.options, _facts_key(facts)), {})


def _facts_key(facts: Facts) -> Hashable:
    """The same for facts of which the same subjects come. A command line may name files that only its host has."""
    launch = facts.situation.launch
    return (
        facts.variant.pk if facts.variant else None,
        facts.size_bytes,
        facts.endpoint.kind,
        profile_of(facts.endpoint).name,
        str(facts.situation),
        facts.endpoint.host_id if launch else None,
        None if facts.measurements is None else tuple(past.pk for past in facts.measurements),
    )


def _server_key(fleet: Fleet, server: Server) -> Hashable:
    pools = [fleet.pool[uuid] for uuid in server.gpus]
    return (
        server.kind,
        server.mode,
        server.sets,
        server.options,
        server.can_load,
        RAM + server.host in fleet.pool,
        tuple((pool.name, pool.total_bytes, pool.usable_bytes, pool.headroom_bytes) for pool in pools),
    )
