"""The Django application."""

from django.apps import AppConfig


class ModelsAppConfig(AppConfig):
    """Berth's one application."""

    name = "models_app"
    verbose_name = "Berth"
    default_auto_field = "django.db.models.BigAutoField"
