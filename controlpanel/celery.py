"""The Celery application. A task's message is one operation's id; the row is the truth, the message only the nudge."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlpanel.settings")

app = Celery("berth")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["models_app.operations", "models_app.plans"])
