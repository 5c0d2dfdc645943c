"""The Django project around ``models_app``."""

from controlpanel.celery import app as celery_app

__all__ = ["celery_app"]
