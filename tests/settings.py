"""The panel's settings for its tests: a data folder of its own, a database file that threads can share, a fast hasher."""

import os
import tempfile

os.environ["BERTH_DATA_DIR"] = tempfile.mkdtemp(prefix="berth-tests-")
os.environ.setdefault("BERTH_DISCOVERY", "0")
# A Redis for each worker of pytest-xdist, where tests.services has started them.
if (redis_urls := os.environ.get("BERTH_TEST_REDIS_URLS", "").split()) and (
    worker := os.environ.get("PYTEST_XDIST_WORKER", "")
):
    os.environ["REDIS_URL"] = redis_urls[int(worker.removeprefix("gw"))]

from controlpanel.settings import *  # noqa: F403
from controlpanel.settings import DATA_DIR, DATABASES

DATABASES["default"].setdefault("TEST", {})
DATABASES["default"]["CONN_MAX_AGE"] = 0  # PostgreSQL drops no database to which an idle thread is still connected
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"]["NAME"] = str(DATA_DIR / "test.sqlite3")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
