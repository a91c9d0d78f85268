"""The pictures that a simulated provider gives as addresses: they lie at the simulation itself."""

import secrets

from aiohttp import web

MIME = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


class Host:
    """Keeps pictures under `/files/…` of a simulation, whose address it is told when one is put there."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}

    def put(self, base: str, data: bytes, encoding: str) -> str:
        """The address at which `data` can be had, without any credential, as the providers' own stores do it."""
        name = f"{secrets.token_hex(12)}.{encoding}"
        self._files[name] = data, MIME[encoding]
        return f"{base}/files/{name}"

    def route(self) -> web.RouteDef:
        """The route of the store."""
        return web.get("/files/{name}", self._get)

    async def _get(self, request: web.Request) -> web.Response:
        found = self._files.get(request.match_info["name"])
        if found is None:
            return web.Response(status=404)
        return web.Response(body=found[0], content_type=found[1])
