"""Berth's settings. Everything that an installation may change comes from the environment, see ``environment.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from controlpanel import environment as env
from controlpanel.secret_key import secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

# ── where things are ─────────────────────────────────────────────────────────
DATA_DIR = Path(env.text("BERTH_DATA_DIR", "./data", "Folder of the database, the secret key and the lock.")).absolute()
HOST = env.text("BERTH_HOST", "127.0.0.1", "Address to listen on. Anything but loopback belongs behind TLS.")
PORT = env.whole("BERTH_PORT", 8000, "Port to listen on.", least=1, most=65_535)
DATABASE_URL = env.text("DATABASE_URL", "", "`postgres://user:password@host/name`; empty for SQLite in the data folder.")
REDIS_URL = env.text("REDIS_URL", "", "`redis://host:6379/0` for several processes; empty for everything in one process.")


SECRET_KEY = secret_key(
    env.text("BERTH_SECRET_KEY", "", "Signs sessions, encrypts keys; empty for one made once in the data folder."), DATA_DIR
)
SECRET_KEY_FALLBACKS = env.words(
    "BERTH_SECRET_KEY_FALLBACKS", "", "Earlier secret keys, comma-separated: what was made with them is still read."
)
DEBUG = env.flag("BERTH_DEBUG", False, "Django's debug pages. Never in production.")
DEMO = env.flag("BERTH_DEMO", False, "Marks every page as a simulated fleet; set by `make demo`.")

# ── doors ────────────────────────────────────────────────────────────────────
BEHIND_TLS = env.flag("BERTH_BEHIND_TLS", False, "A proxy terminates TLS: secure cookies, HSTS, X-Forwarded-Proto trusted.")
PROXIES = env.networks(
    "BERTH_PROXIES",
    "127.0.0.1,::1",
    "Where the TLS proxy is, as the panel sees it: its `X-Forwarded-For` says who a client is.",
)
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    *env.host_names("BERTH_ALLOWED_HOSTS", "", "Further host names under which browsers reach the panel, comma-separated."),
]
if HOST not in {"127.0.0.1", "localhost", "::1", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
    ALLOWED_HOSTS.append(HOST)
CSRF_TRUSTED_ORIGINS = [f"https://{name}" for name in ALLOWED_HOSTS if BEHIND_TLS]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_TLS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
ADMIN_USER = env.text("BERTH_ADMIN_USER", "admin", "Name of the first admin.")
ADMIN_PASSWORD = env.text("BERTH_ADMIN_PASSWORD", "", "Its password; empty for one generated and printed once.")
LOGIN_URL = "login"
CSRF_FAILURE_VIEW = "models_app.web.views.errors.csrf_failure"
LOGIN_REDIRECT_URL = "fleet"
LOGOUT_REDIRECT_URL = "login"
LOGIN_ATTEMPTS_PER_MINUTE = env.whole(
    "BERTH_LOGIN_ATTEMPTS", 10, "Wrong passwords a minute for one name or address.", least=1
)
ENDPOINT_PORTS = env.ports("BERTH_ENDPOINT_PORTS", "80,443,1024-65535", "Ports that an endpoint's address may name.")
MODEL_REGISTRIES = env.words(
    "BERTH_MODEL_REGISTRIES", "", "Registries other than Ollama's own that models may be pulled from."
)

# ── what the panel does ──────────────────────────────────────────────────────
HEADROOM_FRACTION = env.fraction("BERTH_HEADROOM", 0.10, "Share of each GPU's VRAM that admission keeps free.")
THRESHOLD_FRACTION = env.fraction("BERTH_THRESHOLD", 0.90, "Share of VRAM at which the bar shows its threshold mark.")
SAMPLE_SECONDS = env.seconds("BERTH_SAMPLE_SECONDS", 1, "Time between two samples of the GPUs.")
OBSERVE_SECONDS = env.seconds("BERTH_OBSERVE_SECONDS", 2, "Time between two looks at each endpoint's loaded models.")
CALL_TIMEOUT_SECONDS = env.seconds("BERTH_CALL_TIMEOUT", 10, "Limit of a short call to an endpoint.")
LOAD_TIMEOUT_SECONDS = env.seconds("BERTH_LOAD_TIMEOUT", 600, "Limit of one load.")
PULL_TIMEOUT_SECONDS = env.seconds("BERTH_PULL_TIMEOUT", 14_400, "Limit of one pull.")
VERIFY_TIMEOUT_SECONDS = env.seconds("BERTH_VERIFY_TIMEOUT", 15, "How long the memory may take to show a load or unload.")
WORKER_CONCURRENCY = env.whole("BERTH_WORKER_CONCURRENCY", 8, "Operations that one worker runs side by side.", least=1)
PREDICT = env.flag("BERTH_PREDICT", False, "Load what usually follows the last request, where nothing has to make way.")
DISCOVERY = env.flag("BERTH_DISCOVERY", True, "Look for an Ollama and llama-servers on the panel's own host.")
MANAGED_FILE = Path(
    env.text(
        "BERTH_MANAGED_FILE",
        "",
        "Allow-list of the servers that Berth may start on its own machine; empty for `managed.toml` in the data folder.",
    )
    or DATA_DIR / "managed.toml"
)
LLAMA_FIT_PARAMS = env.text(
    "BERTH_LLAMA_FIT_PARAMS",
    "",
    "Path of llama.cpp's `llama-fit-params`; empty for the one beside a running llama-server, `off` to ask none.",
)
HISTORY_RAW_HOURS = env.whole("BERTH_HISTORY_RAW_HOURS", 2, "Hours for which every sample is kept.", least=1, most=48)
HISTORY_10S_HOURS = env.whole("BERTH_HISTORY_10S_HOURS", 48, "Hours for which steps of 10 s are kept.", least=1)
HISTORY_1MIN_DAYS = env.whole("BERTH_HISTORY_1MIN_DAYS", 30, "Days for which steps of 1 min are kept.", least=1, most=3660)
HISTORY_1H_DAYS = env.whole("BERTH_HISTORY_1H_DAYS", 730, "Days for which steps of 1 h are kept.", least=1, most=3660)
OPERATIONS_DAYS = env.whole(
    "BERTH_OPERATIONS_DAYS", 365, "Days for which ended operations are kept, with steps and log; `0` for ever.", most=36_600
)
AUDIT_DAYS = env.whole(
    "BERTH_AUDIT_DAYS", 730, "Days for which entries of the audit trail are kept; `0` for ever.", most=36_600
)
METRICS_NETWORKS = env.networks(
    "BERTH_METRICS_NETWORKS",
    "",
    "Networks that may read `/metrics` without a token, such as `127.0.0.0/8`, comma-separated.",
)
PANEL_URL = env.web_address(
    "BERTH_URL", "", "The panel's address as people reach it, for links in messages: `https://berth.example`."
)
EMAIL_BACKEND = "models_app.alerts.delivery.smtp.BoundedBackend"
EMAIL_HOST = env.text("BERTH_EMAIL_HOST", "", "Mail server for alerts by e-mail; empty for none.")
EMAIL_PORT = env.whole("BERTH_EMAIL_PORT", 587, "Port of the mail server.", least=1, most=65_535)
EMAIL_HOST_USER = env.text("BERTH_EMAIL_USER", "", "User at the mail server; empty for none.")
EMAIL_HOST_PASSWORD = env.text("BERTH_EMAIL_PASSWORD", "", "Its password.")
EMAIL_USE_SSL = EMAIL_PORT == 465
EMAIL_USE_TLS = not EMAIL_USE_SSL and env.flag("BERTH_EMAIL_STARTTLS", True, "STARTTLS on any port but 465, which is TLS.")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("BERTH_EMAIL_FROM", "berth@localhost", "Sender of the panel's e-mails.")
SKIP_VERIFICATION = env.flag("BERTH_TEST_SKIP_VERIFICATION", False, "Test hook: believe endpoints without measuring.")

# ── Django ───────────────────────────────────────────────────────────────────
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "csp",
    "ninja",
    "models_app",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "models_app.web.static_files.StaticFilesMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "models_app.web.middleware.SignInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "models_app.web.middleware.page_for_what_cannot_be_opened",
]
ROOT_URLCONF = "controlpanel.urls"
ASGI_APPLICATION = "controlpanel.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "models_app.web.context.panel",
            ],
            "builtins": [f"models_app.web.templatetags.{name}" for name in ("berth", "bars", "comparing")],
        },
    },
]
CONNECTION_SECONDS = 60
SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": DATA_DIR / "berth.sqlite3",
    "CONN_MAX_AGE": CONNECTION_SECONDS,
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
    },
}
# For a server that does not answer, and for one that went away without a word: libpq would wait a quarter of an hour.
POSTGRESQL_OPTIONS: dict[str, Any] = {"connect_timeout": 5, "keepalives_idle": 30, "tcp_user_timeout": 30_000}


def _database() -> Any:
    if not DATABASE_URL:
        return SQLITE
    try:
        found = dj_database_url.parse(DATABASE_URL, conn_max_age=CONNECTION_SECONDS, conn_health_checks=True)
    except ValueError:  # its words may quote the password
        raise ImproperlyConfigured("DATABASE_URL is not an address such as postgres://user:password@host/name.") from None
    if found["ENGINE"] != "django.db.backends.postgresql":
        return found
    return found | {"ENGINE": "controlpanel.postgresql", "OPTIONS": POSTGRESQL_OPTIONS | found.get("OPTIONS", {})}


DATABASES: dict[str, Any] = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS: dict[str, Any] = {
    "default": (
        {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}
REDIS_PATIENCE = {"socket_connect_timeout": 3, "socket_timeout": 5}
CACHES: dict[str, Any] = {
    "own": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "OPTIONS": REDIS_PATIENCE}
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    ),
}
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = env.text("BERTH_STATIC_ROOT", "", "Folder for `collectstatic`, where a proxy serves static files.") or None
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

# ── Celery ───────────────────────────────────────────────────────────────────
CELERY_BROKER_URL = REDIS_URL or "localhost"
CELERY_BROKER_TRANSPORT = None if REDIS_URL else "models_app.runtime.queue:Transport"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = REDIS_PATIENCE if REDIS_URL else {}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # what a busy worker has taken would wait while another one is idle
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker would end after three quarters of an hour without Redis

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_LEVEL = env.one_of("BERTH_LOG_LEVEL", "INFO", "Least level that is logged.", among=LOG_LEVELS)
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"}},
    "filters": {"one_line": {"()": "controlpanel.logs.OneLine"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["one_line"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "celery": {"level": "WARNING"},
        "py.warnings": {"level": "ERROR"},
    },
}
