"""A provider is one file: written into the folder, it can be configured, asked, and is in every list."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from simulated import picture

from front import MakeFront
from pinxit.backends import upstream

FILE = '''
"""Acme, which answers with the bytes of a picture."""

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder
from pinxit.backends.upstream._provider import Answer, Call, Done, Picture, Provider, Step, UpstreamModel
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

SIZES = (Size(64, 64), Size(96, 64))


class Acme(Provider):
    """Paints foxes."""

    name = "acme"
    title = "Acme"
    documentation = ("https://acme.example/docs (2026-11-22)",)
    credential_variable = "ACME_KEY"
    models = (
        UpstreamModel(
            ModelSpec(
                "acme-1",
                "Foxes.",
                Capabilities(SIZES, SIZES[0], SIZES[0], seed=False, encodings=(Encoding.PNG,)),
                "acme",
                "proprietary",
                0,
                PriceList((PriceRule(20_000),)),
            )
        ),
    )

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        size = {"width": order.size.width, "height": order.size.height}
        return Call("POST", "/paint", json={"text": order.prompt, **size})

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        return Done([Picture(data=answer.body)])
'''


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The one file, in a folder that is one of the package's."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    (folder / "acme.py").write_text(FILE, "utf-8")
    monkeypatch.setattr(upstream, "__path__", [*upstream.__path__, str(folder)])
    upstream.list_kinds.cache_clear()
    yield
    monkeypatch.undo()
    upstream.list_kinds.cache_clear()
    sys.modules.pop("pinxit.backends.upstream.acme", None)


@pytest.fixture
async def acme_url() -> Iterator[str]:
    async def paint(request: web.Request) -> web.Response:
        if request.headers.get("authorization") != "Bearer the-key-of-acme":
            return web.Response(status=401)
        asked = await request.json()
        return web.Response(
            body=picture(asked["width"], asked["height"], "png", asked["text"]), content_type="image/png"
        )

    app = web.Application()
    app.add_routes([web.post("/paint", paint)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.usefixtures("acme")
async def test_one_file_is_all_that_a_provider_needs(make_front: MakeFront, acme_url: str):
    assert "acme" in upstream.list_kinds()
    assert upstream.load_kind("acme").title == "Acme"
    front = await make_front(providers={"acme": {"base_url": acme_url, "credential": "the-key-of-acme"}})
    listed = await front.client.get("/v1/models", headers=front.authorization)
    assert "acme/acme-1" in {model["id"] for model in listed.json()["data"]}
    dry = await front.generate(model="acme/acme-1", size="96x64", dry_run=True)
    assert dry.status_code == 200, dry.text
    painted = await front.generate(model="acme/acme-1", size="96x64")
    assert painted.status_code == 200, painted.text
    assert (painted.json()["size"], painted.headers["x-pinxit-backend"]) == ("96x64", "acme/acme-1")


@pytest.mark.usefixtures("acme")
async def test_what_its_file_leaves_open_is_done_for_it(make_front: MakeFront, acme_url: str):
    front = await make_front(providers={"acme": {"base_url": acme_url, "credential": "not-the-key"}})
    refused = await front.generate(model="acme/acme-1", size="64x64")
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "upstream_unavailable")
    assert "not-the-key" not in refused.text


def test_without_the_file_there_is_no_such_provider():
    assert "acme" not in upstream.list_kinds()
