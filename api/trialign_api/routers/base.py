"""What all routers share."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from trialign_api.deps import only_known_query


def router_of(tag: str, prefix: str = "") -> APIRouter:
    """A router whose routes an application takes as they are: the application's defaults and overrides stay outside.

    `include_router` would analyse every signature and response model anew, with the first request of each application.
    """
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[Depends(only_known_query)],
        generate_unique_id_function=lambda route: route.name,
    )
