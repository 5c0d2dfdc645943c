"""Signs of life of the worker and the reconciler, and the lease by which one reconciler works at a time.

The worker's beat is written by a task, so a fresh one proves queue and worker together.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone

WORKER, RECONCILER = "worker", "reconciler"
ALIVE_FOR = timedelta(seconds=15)
LEASE_FOR = timedelta(seconds=10)


class Heartbeat(models.Model):
    """A sign of life of the one ``reconciler`` (whose lease this is) or of the ``worker``, for readiness."""

    name = models.CharField(max_length=20, primary_key=True)
    holder = models.CharField(max_length=36, blank=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%H:%M:%S}"


def beat(name: str) -> None:
    """Say that the part is alive."""
    Heartbeat.objects.update_or_create(name=name, defaults={"at": timezone.now()})


def is_alive(name: str) -> bool:
    """Whether the part gave a sign of life lately."""
    return Heartbeat.objects.filter(name=name, at__gt=timezone.now() - ALIVE_FOR).exists()


def hold(name: str, holder: str) -> bool:
    """Take or renew the part's lease for ``holder``; false while another holder's lease lasts."""
    now = timezone.now()
    free = Q(holder=holder) | Q(holder="") | Q(at__lt=now - LEASE_FOR)
    if Heartbeat.objects.filter(free, name=name).update(holder=holder, at=now):
        return True
    return Heartbeat.objects.get_or_create(name=name, defaults={"holder": holder, "at": now})[1]


def release(name: str, holder: str) -> None:
    """Give the lease back, so that another holder need not wait for its end."""
    Heartbeat.objects.filter(name=name, holder=holder).update(holder="")
