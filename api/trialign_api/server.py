"""How the application is served: its connections, whose word on addresses counts, and its log."""

from __future__ import annotations

import logging
import resource

import uvicorn

from trialign_api.app import create_app
from trialign_api.connections import GuardedConnection
from trialign_api.logfmt import Logfmt
from trialign_api.settings import Settings


def server(settings: Settings) -> uvicorn.Server:
    """A server of the control plane that is not running yet."""
    config = uvicorn.Config(
        create_app(settings),
        http=GuardedConnection,
        log_config=None,
        access_log=False,  # the application has its own, which names routes
        timeout_graceful_shutdown=5,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
    )
    return uvicorn.Server(config)


def log_to_stderr() -> None:
    """One line an event, with time and level, for people and programs alike."""
    handler = logging.StreamHandler()
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("trialign_api").setLevel(logging.INFO)


def raise_handle_limit() -> None:
    """As many open files as the system lets this process have: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
