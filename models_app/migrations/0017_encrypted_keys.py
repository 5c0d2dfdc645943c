"""Endpoints' API keys and webhooks' secrets, which were stored as they are, are encrypted."""

from django.db import migrations, models

from controlpanel.encrypted import EncryptedField, Unreadable, decrypted, encrypted

FIELDS = (("endpoint", "api_key"), ("receiver", "secret"))


def encrypt(apps, schema_editor):
    for model, field in FIELDS:
        manager = apps.get_model("models_app", model).objects
        for pk, text in manager.exclude(**{field: ""}).values_list("pk", field):
            manager.filter(pk=pk).update(**{field: encrypted(text)})


def decrypt(apps, schema_editor):
    """What cannot be read is lost with the way back."""
    for model, field in FIELDS:
        manager = apps.get_model("models_app", model).objects
        for pk, stored in manager.exclude(**{field: ""}).values_list("pk", field):
            text = decrypted(stored)
            manager.filter(pk=pk).update(**{field: "" if isinstance(text, Unreadable) else text})


class Migration(migrations.Migration):
    dependencies = [
        ("models_app", "0016_audit_address"),
    ]

    operations = [
        *(migrations.AlterField(model, field, models.TextField(blank=True)) for model, field in FIELDS),
        migrations.RunPython(encrypt, decrypt),
        *(migrations.AlterField(model, field, EncryptedField(blank=True)) for model, field in FIELDS),
    ]
