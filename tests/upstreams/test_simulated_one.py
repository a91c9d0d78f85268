"""Each simulated provider answers the documented way: a picture, a wrong key, two of the documented errors."""

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import encode_basic_auth
from PIL import Image
from simulated import Outcome, Simulated, picture
from simulated_a1111 import SimulatedA1111
from simulated_azure_openai import SimulatedAzureOpenai
from simulated_google import SimulatedGoogle
from simulated_infron import SimulatedInfron
from simulated_openai import SimulatedOpenai
from simulated_openrouter import SimulatedOpenrouter
from simulated_together import SimulatedTogether
from simulated_xai import SimulatedXai

pytestmark = pytest.mark.fast


@dataclass(frozen=True)
class Order:
    """The plainest documented order, what to change to make it wrong, and where the answer's parts are."""

    provider: type[Simulated]
    path: str
    body: Mapping[str, Any]
    size: tuple[int, int]
    found: tuple[str | int, ...]
    """The way through the answer to the first picture: base64, a data URL or a URL."""
    headers: Mapping[str, str] = field(default_factory=dict)
    forbidden: int = 401
    unknown: int | None = 400
    """The status for an unknown field; None where the documentation has none because they are let through."""
    refusal: int = 400
    limited: int = 429


def bearer(_provider: type[Simulated]) -> dict[str, str]:
    return {"Authorization": f"Bearer {_provider.credential}"}


ORDERS = [
    Order(
        SimulatedOpenai,
        "/v1/images/generations",
        {"model": "gpt-image-2", "prompt": "an otter", "size": "1536x864"},
        (1536, 864),
        ("data", 0, "b64_json"),
        bearer(SimulatedOpenai),
    ),
    Order(
        SimulatedGoogle,
        "/v1beta/models/gemini-3-pro-image:generateContent",
        {
            "contents": [{"role": "user", "parts": [{"text": "an otter"}]}],
            "generationConfig": {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "3:2"}},
        },
        (1264, 848),
        ("candidates", 0, "content", "parts", 0, "inlineData", "data"),
        {"x-goog-api-key": SimulatedGoogle.credential},
        forbidden=400,
        refusal=200,
    ),
    Order(
        SimulatedOpenrouter,
        "/api/v1/images",
        {"model": "openai/gpt-image-2", "prompt": "an otter", "resolution": "1K", "aspect_ratio": "16:9"},
        (1360, 768),
        ("data", 0, "b64_json"),
        bearer(SimulatedOpenrouter),
        refusal=403,
    ),
    Order(
        SimulatedTogether,
        "/v1/images/generations",
        {"model": "black-forest-labs/FLUX.2-dev", "prompt": "an otter", "width": 1024, "height": 768, "steps": 20},
        (1024, 768),
        ("data", 0, "url"),
        bearer(SimulatedTogether),
    ),
    Order(
        SimulatedXai,
        "/v1/images/generations",
        {"model": "grok-imagine-image", "prompt": "an otter", "aspect_ratio": "2:1", "resolution": "1k"},
        (1456, 720),
        ("data", 0, "url"),
        bearer(SimulatedXai),
        forbidden=400,
    ),
    Order(
        SimulatedAzureOpenai,
        "/openai/deployments/gpt-image-2/images/generations?api-version=2025-04-01-preview",
        {"prompt": "an otter", "size": "1536x1024"},
        (1536, 1024),
        ("data", 0, "b64_json"),
        {"api-key": SimulatedAzureOpenai.credential},
    ),
    Order(
        SimulatedInfron,
        "/v1/images/generations",
        {"model": "google/nano-banana-pro-text-to-image", "prompt": "an otter", "size": "1:1"},
        (1024, 1024),
        ("data", 0, "url"),
        bearer(SimulatedInfron),
    ),
    Order(
        SimulatedA1111,
        "/sdapi/v1/txt2img",
        {"prompt": "an otter", "width": 640, "height": 512, "steps": 20, "sampler_name": "Euler a", "seed": 7},
        (640, 512),
        ("images", 0),
        {"Authorization": encode_basic_auth(*SimulatedA1111.credential.split(":"))},
        unknown=None,
    ),
]


@pytest.fixture(params=ORDERS, ids=lambda order: order.provider.name)
def order(request: pytest.FixtureRequest) -> Order:
    return request.param


async def test_paints(order: Order) -> None:
    async with order.provider().serving() as there, aiohttp.ClientSession() as session:
        async with session.post(there.url + order.path, json=order.body, headers=order.headers) as answer:
            found = await answer.json()
            assert answer.status == 200, found
        for step in order.found:
            found = found[step]
        image = Image.open(io.BytesIO(await fetch(session, found)))
        assert image.size == order.size
        assert there.painted == 1
        assert there.calls[0].json == order.body


async def fetch(session: aiohttp.ClientSession, found: str) -> bytes:
    if found.startswith("http"):
        async with session.get(found) as answer:
            assert answer.status == 200
            return await answer.read()
    return base64.b64decode(found.rpartition("base64,")[2])


async def test_wrong_key(order: Order) -> None:
    headers = {
        name: value.replace("secret", "other").replace("Basic ", "Basic AAAA") for name, value in order.headers.items()
    }
    await expect(order, Outcome.PAINT, order.forbidden, order.body, headers)


async def test_unknown_field(order: Order) -> None:
    if order.unknown:
        await expect(order, Outcome.PAINT, order.unknown, {**order.body, "unheard_of": 1}, order.headers)


async def test_refusal(order: Order) -> None:
    await expect(order, Outcome.REFUSE, order.refusal, order.body, order.headers)


async def test_rate_limit(order: Order) -> None:
    await expect(order, Outcome.RATE_LIMIT, order.limited, order.body, order.headers)


async def test_every_outcome_is_answered(order: Order) -> None:
    for outcome in set(Outcome) - {Outcome.PAINT, Outcome.REFUSE, Outcome.FAIL_LATER} - set(order.provider.impossible):
        await expect(order, outcome, None, order.body, order.headers)


async def expect(order: Order, outcome: Outcome, status: int | None, body: Any, headers: Mapping[str, str]) -> None:
    """An error, JSON unless documented otherwise, and nothing painted; any error status where `status` is None."""
    if outcome in order.provider.impossible:
        return
    async with order.provider().serving() as there, aiohttp.ClientSession() as session:
        there.outcome = outcome
        async with session.post(there.url + order.path, json=body, headers=headers) as answer:
            told = await answer.text()
            assert answer.status == status if status else answer.status >= 400, told
        assert there.painted == 0


async def task(there: SimulatedInfron, session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url, headers=bearer(SimulatedInfron)) as answer:
        assert answer.status == 200
        return (await answer.json())["data"]


async def test_infron_task() -> None:
    body = {"model": "openai/gpt-image-2/text-to-image", "prompt": "an otter", "size": "1024x1536"}
    async with SimulatedInfron().serving() as there, aiohttp.ClientSession() as session:
        for outcome, last in ((Outcome.PAINT, "completed"), (Outcome.FAIL_LATER, "failed")):
            there.outcome = outcome
            headers = bearer(SimulatedInfron)
            async with session.post(f"{there.url}/v1/images/generations", json=body, headers=headers) as answer:
                url = (await answer.json())["data"]["urls"]["query"]
            told = [await task(there, session, url) for _ in range(3)]
            assert [each["status"] for each in told] == ["in_progress", last, last]
            assert there.painted == 1
        assert told[-1]["fail_reason"] == "upstream 400"


IMAGE = base64.b64encode(picture(96, 64)).decode()
DATA_URL = f"data:image/png;base64,{IMAGE}"
EDITS = [
    Order(
        SimulatedGoogle,
        "/v1/models/gemini-2.5-flash-image:generateContent",
        {
            "contents": [{"parts": [{"text": "a hat"}, {"inlineData": {"mimeType": "image/png", "data": IMAGE}}]}],
            "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]},
        },
        (1248, 832),
        ("candidates", 0, "content", "parts", 0, "inlineData", "data"),
        {"x-goog-api-key": SimulatedGoogle.credential},
    ),
    Order(
        SimulatedOpenrouter,
        "/api/v1/images",
        {
            "model": "google/gemini-2.5-flash-image",
            "prompt": "a hat",
            "size": "1024x1024",
            "input_references": [{"type": "image_url", "image_url": {"url": DATA_URL}}],
        },
        (1024, 1024),
        ("data", 0, "b64_json"),
        bearer(SimulatedOpenrouter),
    ),
    Order(
        SimulatedTogether,
        "/v1/images/generations",
        {
            "model": "black-forest-labs/FLUX.1-kontext-pro",
            "prompt": "a hat",
            "image_url": DATA_URL,
            "response_format": "base64",
        },
        (1024, 1024),
        ("data", 0, "b64_json"),
        bearer(SimulatedTogether),
    ),
    Order(
        SimulatedXai,
        "/v1/images/edits",
        {
            "model": "grok-imagine-image-2.0",
            "prompt": "a hat",
            "images": [{"type": "image_url", "url": DATA_URL}, {"url": DATA_URL}],
            "response_format": "b64_json",
            "resolution": "2k",
        },
        (2048, 2048),
        ("data", 0, "b64_json"),
        bearer(SimulatedXai),
    ),
    Order(
        SimulatedInfron,
        "/v1/images/edits",
        {
            "model": "google/nano-banana-image-to-image",
            "prompt": "a hat",
            "image_urls": [DATA_URL],
            "output_format": "b64_json",
        },
        (1024, 1024),
        ("data", 0, "b64_json"),
        bearer(SimulatedInfron),
    ),
    Order(
        SimulatedA1111,
        "/sdapi/v1/img2img",
        {"prompt": "a hat", "init_images": [DATA_URL], "mask": IMAGE, "denoising_strength": 0.6, "width": 100},
        (96, 512),
        ("images", 0),
        {"Authorization": encode_basic_auth(*SimulatedA1111.credential.split(":"))},
    ),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda order: order.provider.name)
async def test_paints_from_a_picture(edit: Order) -> None:
    await test_paints(edit)


@pytest.mark.parametrize("edit", EDITS, ids=lambda order: order.provider.name)
async def test_what_is_no_picture_is_found_wrong(edit: Order) -> None:
    body = json.loads(json.dumps(edit.body).replace(IMAGE, base64.b64encode(b"no picture").decode()))
    await expect(edit, Outcome.PAINT, None, body, edit.headers)


async def test_openai_edit() -> None:
    """A mask of another size than its picture is found wrong; one of the same size is not."""
    async with SimulatedOpenai().serving() as there, aiohttp.ClientSession() as session:
        for side, status in ((64, 200), (32, 400)):
            form = aiohttp.FormData({"model": "gpt-image-1.5", "prompt": "a hat", "n": "2", "input_fidelity": "high"})
            form.add_field("image[]", picture(64, 64), filename="a.png", content_type="image/png")
            form.add_field("mask", picture(side, side), filename="mask.png", content_type="image/png")
            headers = bearer(SimulatedOpenai)
            async with session.post(f"{there.url}/v1/images/edits", data=form, headers=headers) as answer:
                assert answer.status == status, await answer.text()
        assert there.painted == 2


async def test_xai_bills_what_it_refuses() -> None:
    body = {"model": "grok-imagine-image", "prompt": "an otter", "n": 2}
    async with SimulatedXai().serving() as there, aiohttp.ClientSession() as session:
        there.outcome = Outcome.REFUSE
        headers = bearer(SimulatedXai)
        async with session.post(f"{there.url}/v1/images/generations", json=body, headers=headers) as answer:
            assert (await answer.json())["usage"] == {"cost_in_usd_ticks": 400_000_000}
        assert (there.painted, there.refused_and_billed) == (0, 2)
