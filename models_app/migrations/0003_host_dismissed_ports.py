from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("models_app", "0002_heartbeat_and_step_baseline"),
    ]

    operations = [
        migrations.AddField(
            model_name="host",
            name="dismissed_ports",
            field=models.JSONField(blank=True, default=list),
        ),
    ]
