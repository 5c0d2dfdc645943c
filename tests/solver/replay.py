"""A simulator that runs a transition in any order that its graph allows and charges every load its peak."""

from __future__ import annotations

import random
from collections.abc import Iterable

from models_app.solver.transitions import Act, Step, Transition
from models_app.solver.types import Assignment, Problem


def bytes_on(problem: Problem, placed: Assignment, device: str, *, loading: bool) -> int:
    """What an instance holds on a device, or takes at the highest while it loads; from the raw figures."""
    option = placed.option
    shares = option.peak_bytes if loading and option.peak_bytes else option.device_bytes
    shares = [max(high, low) for high, low in zip(shares, option.device_bytes, strict=True)]
    held = sum(size for name, size in zip(placed.devices, shares, strict=True) if name == device)
    host = {endpoint.id: endpoint.host for endpoint in problem.endpoints}[placed.endpoint]
    pools = [it.id for it in problem.devices if it.host == host and it.kind.value == "host_ram"]
    pools = pools or [it.id for it in problem.devices if it.host == host and it.kind.value == "unified"]
    return held + (option.host_ram_bytes if pools and device == pools[0] else 0)


def replay(problem: Problem, plan: Transition, rng: random.Random) -> tuple[list[str], list[Assignment]]:
    """Every step over a limit, in words, and what is loaded in the end. Steps start and end at random."""
    loaded, waiting, running, done, wrong = list(problem.current), list(plan.steps), [], set(), []
    before = {device.id: _used(problem, loaded, (), device.id) for device in problem.devices}
    while waiting or running:
        ready = [step for step in waiting if set(step.after) <= done]
        if ready and (not running or rng.random() < 0.6):
            step = rng.choice(ready)
            waiting.remove(step)
            running.append(step)
            wrong += _over(problem, loaded, running, step, before)
            continue
        step = running.pop(rng.randrange(len(running)))
        done.add(step.number)
        loaded.remove(step.assignment) if step.act is Act.UNLOAD else loaded.append(step.assignment)
    return wrong, loaded


def _used(problem: Problem, loaded: Iterable[Assignment], running: Iterable[Step], device: str) -> int:
    steady = sum(bytes_on(problem, placed, device, loading=False) for placed in loaded)
    coming = (step.assignment for step in running if step.act is Act.LOAD)
    return steady + sum(bytes_on(problem, placed, device, loading=True) for placed in coming)


def _over(
    problem: Problem, loaded: list[Assignment], running: list[Step], started: Step, before: dict[str, int]
) -> list[str]:
    """A device that was above its limit before anything began may only fall."""
    wrong = []
    for device in problem.devices:
        limit = max(0, device.capacity_bytes - device.headroom_bytes - device.used_by_others_bytes)
        used = _used(problem, loaded, running, device.id)
        if started.act is Act.LOAD and used > limit and bytes_on(problem, started.assignment, device.id, loading=True):
            wrong.append(f"step {started.number}: {device.id} at {used} of {limit} (began at {before[device.id]})")
    return wrong
