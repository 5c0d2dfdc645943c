"""The Django application."""

from django.apps import AppConfig


class ModelsAppConfig(AppConfig):
    """Berth's one application."""

    name = "models_app"
    verbose_name = "Berth"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Open the ways to what lies behind agents: lower layers do not know of them."""
        from models_app.agent_link import remote  # noqa: PLC0415 - imports models, which have just been loaded

        remote.install()
