#!/usr/bin/env python
"""Berth's command line: ``python manage.py help`` lists what it can do."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlpanel.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Berth cannot start: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
