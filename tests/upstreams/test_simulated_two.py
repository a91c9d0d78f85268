"""Simulated providers do what their documentation says: the way that works, a wrong credential, documented errors."""

import base64
import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import ClientSession, FormData
from PIL import Image
from simulated import Outcome, Simulated, picture
from simulated_black_forest_labs import SimulatedBlackForestLabs
from simulated_comfyui import SimulatedComfyui
from simulated_fal import SimulatedFal
from simulated_huggingface import SimulatedHuggingface
from simulated_ideogram import SimulatedIdeogram
from simulated_recraft import SimulatedRecraft
from simulated_replicate import SimulatedReplicate
from simulated_stability import SimulatedStability

KEY = Simulated.credential


@dataclass(frozen=True)
class Known:
    """How a plain client speaks to one provider, and what it should hear."""

    make: Callable[[], Simulated]
    headers: Mapping[str, str]
    path: str
    body: Any
    """JSON, or the fields of a form where `form` is true."""
    collect: Callable[[ClientSession, Simulated, Any], Awaitable[tuple[int, Any]]]
    """From the first answer's body to the final status and answer; a picture is bytes."""
    size: tuple[int, int] = (1024, 1024)
    unauthorized: int | None = 401
    """The status for a wrong credential, or None where there are no credentials."""
    errors: Mapping[Outcome, tuple[int, str]] = field(default_factory=dict)
    """For an outcome the final status and words that its answer holds."""
    wrong: Mapping[str, Any] = field(default_factory=dict)
    """Fields that make the body wrong, and the documented status for that."""
    wrong_status: int = 422
    form: bool = False
    ignores_unknown: bool = False


async def fal(session: ClientSession, simulated: Simulated, first: Any) -> tuple[int, Any]:
    for _ in range(10):
        async with session.get(first["status_url"]) as answer:
            if answer.status == 200:
                break
            assert answer.status == 202
    async with session.get(first["response_url"]) as answer:
        result = await answer.json()
    if answer.status != 200:
        return answer.status, result
    return await download(session, result["images"][0]["url"])


async def replicate(session: ClientSession, simulated: Simulated, first: Any) -> tuple[int, Any]:
    for _ in range(10):
        async with session.get(first["urls"]["get"]) as answer:
            found = await answer.json()
        if found["status"] in {"succeeded", "failed"}:
            break
    return await download(session, found["output"][0]) if found["output"] else (answer.status, found)


async def black_forest_labs(session: ClientSession, simulated: Simulated, first: Any) -> tuple[int, Any]:
    for _ in range(10):
        async with session.get(first["polling_url"]) as answer:
            found = await answer.json()
        if found["status"] != "Pending":
            break
    return await download(session, found["result"]["sample"]) if found["result"] else (answer.status, found)


async def listed(session: ClientSession, simulated: Simulated, first: Any) -> tuple[int, Any]:
    return await download(session, first["data"][0]["url"])


async def comfyui(session: ClientSession, simulated: Simulated, first: Any) -> tuple[int, Any]:
    for _ in range(10):
        async with session.get(f"{simulated.url}/history/{first['prompt_id']}") as answer:
            found = await answer.json()
        if found:
            break
    outputs = found[first["prompt_id"]]["outputs"]
    if not outputs:
        return answer.status, found
    async with session.get(simulated.url + "/view", params=outputs["9"]["images"][0]) as answer:
        return answer.status, await answer.read()


def graph(latent: dict[str, Any]) -> dict[str, Any]:
    """ComfyUI's default workflow with that node for its latent picture."""
    sampler = {"seed": 7, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}
    links = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    return {
        "3": {"class_type": "KSampler", "inputs": {**sampler, **links}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": SimulatedComfyui.models[0]}},
        "5": latent,
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "an otter", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "pinxit"}},
    }


def empty(width: int, height: int) -> dict[str, Any]:
    inputs = {"width": width, "height": height, "batch_size": 1}
    return {"class_type": "EmptyLatentImage", "inputs": inputs}


async def download(session: ClientSession, url: str) -> tuple[int, bytes]:
    async with ClientSession() as bare, bare.get(url) as answer:
        return answer.status, await answer.read()


KNOWN = [
    Known(
        SimulatedFal,
        {"Authorization": f"Key {KEY}"},
        "/fal-ai/flux/dev",
        {"prompt": "an otter", "image_size": "square_hd", "seed": 7},
        fal,
        wrong={"num_images": 5},
        errors={
            Outcome.REFUSE: (422, "content_policy_violation"),
            Outcome.NO_CREDIT: (403, "Exhausted balance"),
            Outcome.FAIL_LATER: (504, "request_timeout"),
            Outcome.OUTAGE: (503, "nginx"),
            Outcome.BAD_REQUEST: (422, "prompt"),
        },
    ),
    Known(
        SimulatedReplicate,
        {"Authorization": f"Bearer {KEY}"},
        "/v1/models/black-forest-labs/flux-schnell/predictions",
        {"input": {"prompt": "an otter", "seed": 7, "output_format": "png"}},
        replicate,
        wrong={"input": {"prompt": "an otter", "aspect_ratio": "7:5"}},
        errors={
            Outcome.REFUSE: (200, "E005"),
            Outcome.NO_CREDIT: (402, "Insufficient credit"),
            Outcome.RATE_LIMIT: (429, "resets in ~30s"),
            Outcome.FAIL_LATER: (200, "interrupted"),
            Outcome.OUTAGE: (503, ""),
            Outcome.BAD_REQUEST: (422, "invalid_fields"),
        },
    ),
    Known(
        SimulatedBlackForestLabs,
        {"x-key": KEY},
        "/v1/flux-2-pro",
        {"prompt": "an otter", "width": 512, "height": 768},
        black_forest_labs,
        size=(512, 768),
        unauthorized=403,
        wrong={"width": 500},
        errors={
            Outcome.REFUSE: (200, "Request Moderated"),
            Outcome.NO_CREDIT: (402, "insufficient_credits"),
            Outcome.RATE_LIMIT: (429, "rate_limit_exceeded"),
            Outcome.FAIL_LATER: (200, "Error"),
            Outcome.OUTAGE: (503, ""),
            Outcome.BAD_REQUEST: (422, "loc"),
        },
    ),
    Known(
        SimulatedStability,
        {"Authorization": f"Bearer {KEY}"},
        "/v2beta/stable-image/generate/ultra",
        {"prompt": "an otter", "aspect_ratio": "16:9", "seed": "7"},
        listed,
        size=(1344, 768),
        form=True,
        wrong={"aspect_ratio": "7:5"},
        wrong_status=400,
        errors={
            Outcome.REFUSE: (403, "content_moderation"),
            Outcome.NO_CREDIT: (402, "payment_required"),
            Outcome.RATE_LIMIT: (429, "rate_limit_exceeded"),
            Outcome.OUTAGE: (500, "internal_error"),
            Outcome.BAD_REQUEST: (400, "bad_request"),
        },
    ),
    Known(
        SimulatedIdeogram,
        {"Api-Key": KEY},
        "/v1/ideogram-v3/generate",
        {"prompt": "an otter", "aspect_ratio": "16x9"},
        listed,
        size=(1312, 736),
        form=True,
        wrong={"num_images": "9"},
        wrong_status=400,
        errors={
            Outcome.REFUSE: (422, "safety check"),
            Outcome.RATE_LIMIT: (429, "inflight_limit"),
            Outcome.NO_CREDIT: (402, "insufficient_funds"),
            Outcome.OUTAGE: (503, ""),
            Outcome.BAD_REQUEST: (400, "prompt"),
        },
    ),
    Known(
        SimulatedRecraft,
        {"Authorization": f"Bearer {KEY}"},
        "/v1/images/generations",
        {"prompt": "an otter", "model": "recraftv4_1_flash", "size": "3:2", "n": 1},
        listed,
        size=(1280, 832),
        wrong={"n": 7},
        wrong_status=400,
        errors={
            Outcome.REFUSE: (400, "content_policy_violation"),
            Outcome.RATE_LIMIT: (429, ""),
            Outcome.OUTAGE: (503, ""),
            Outcome.BAD_REQUEST: (400, "bad_request"),
        },
    ),
    Known(
        SimulatedHuggingface,
        {"Authorization": f"Bearer {KEY}"},
        "/hf-inference/models/black-forest-labs/FLUX.1-schnell",
        {"inputs": "an otter", "parameters": {"width": 512, "height": 768, "seed": 7}},
        listed,
        size=(512, 768),
        wrong={"parameters": {"width": "wide"}},
        errors={
            Outcome.NO_CREDIT: (402, "monthly included credits"),
            Outcome.RATE_LIMIT: (429, ""),
            Outcome.OUTAGE: (503, ""),
            Outcome.BAD_REQUEST: (422, "inputs"),
        },
    ),
    Known(
        SimulatedComfyui,
        {},
        "/prompt",
        {"prompt": graph(empty(768, 512)), "prompt_id": "0b4c2f9e-0000-4000-8000-000000000001"},
        comfyui,
        size=(768, 512),
        unauthorized=None,
        wrong={"prompt": graph(empty(8, 512))},
        wrong_status=400,
        ignores_unknown=True,
        errors={
            Outcome.OUTAGE: (500, ""),
            Outcome.FAIL_LATER: (200, "execution_error"),
            Outcome.BAD_REQUEST: (400, "required_input_missing"),
        },
    ),
]
ALL = pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.make.name)


async def order(known: Known, simulated: Simulated, **changes: Any) -> tuple[int, Any]:
    """The final status and answer of one order, asked for as often as it takes."""
    async with ClientSession(headers=known.headers) as session:
        async with session.post(simulated.url + known.path, **content(known, changes)) as answer:
            read = await answer.json() if answer.content_type == "application/json" else await answer.read()
        if answer.status >= 400 or isinstance(read, bytes):
            return answer.status, read
        return await known.collect(session, simulated, read)


def content(known: Known, changes: Mapping[str, Any]) -> dict[str, Any]:
    if not known.form:
        return {"json": {**known.body, **changes}}
    form = FormData(default_to_multipart=True)
    for name, value in {**known.body, **changes}.items():
        if value is None:
            continue
        form.add_field(name, value, filename="input.png" if isinstance(value, bytes) else None)
    return {"data": form}


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size


@ALL
async def test_a_picture_of_the_asked_size_comes_and_is_counted_once(known: Known) -> None:
    async with known.make().serving() as simulated:
        status, data = await order(known, simulated)
    assert (status, size_of(data)) == (200, known.size)
    assert simulated.painted == 1


@ALL
async def test_a_wrong_credential_is_refused(known: Known) -> None:
    if known.unauthorized is None:
        assert not known.headers
        return
    async with known.make().serving() as simulated, ClientSession() as session:
        wrong = {name: value + "x" for name, value in known.headers.items()}
        async with session.post(simulated.url + known.path, headers=wrong, **content(known, {})) as answer:
            assert answer.status == known.unauthorized
    assert simulated.painted == 0


@ALL
async def test_a_field_outside_the_documented_range_is_refused(known: Known) -> None:
    async with known.make().serving() as simulated:
        status, answer = await order(known, simulated, **known.wrong)
        assert (status, simulated.painted) == (known.wrong_status, 0), answer
        unknown, _ = await order(known, simulated, surprise="1")
    assert unknown == (200 if known.ignores_unknown else known.wrong_status)


@ALL
async def test_every_outcome_has_its_documented_form(known: Known) -> None:
    async with known.make().serving() as simulated:
        for outcome, (expected, words) in known.errors.items():
            simulated.outcome = outcome
            status, answer = await order(known, simulated)
            assert status == expected, outcome
            assert words in str(answer), outcome
    assert simulated.painted == 0
    left = set(Outcome) - set(known.errors) - set(simulated.impossible)
    assert left == {Outcome.PAINT}


@ALL
def test_it_names_its_sources_and_its_models(known: Known) -> None:
    simulated = known.make()
    assert simulated.documentation
    assert all("2026-" in page for page in simulated.documentation)
    assert set(simulated.edits) <= set(simulated.models)


PICTURE = base64.b64encode(picture(320, 256)).decode()


async def test_a_job_of_fal_can_be_cancelled_while_it_waits_and_not_afterwards() -> None:
    async with SimulatedFal().serving() as simulated, ClientSession(headers=KNOWN[0].headers) as session:
        async with session.post(simulated.url + "/fal-ai/flux-2", json={"prompt": "an otter"}) as answer:
            first = await answer.json()
        async with session.put(first["cancel_url"]) as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "OK"})
        async with session.put(first["cancel_url"]) as answer:
            assert answer.status == 404


async def test_black_forest_labs_edits_a_picture_and_keeps_its_size() -> None:
    known = KNOWN[2]
    async with SimulatedBlackForestLabs().serving() as simulated:
        status, data = await order(known, simulated, input_image=PICTURE, width=None, height=None)
        bad, _ = await order(known, simulated, input_image="not a picture")
    assert (status, size_of(data), bad) == (200, (320, 256), 422)


async def test_replicate_holds_the_request_if_asked() -> None:
    known = KNOWN[1]
    headers = {**known.headers, "Prefer": "wait=5"}
    async with SimulatedReplicate().serving() as simulated, ClientSession(headers=headers) as session:
        answer = await session.post(simulated.url + known.path, json=known.body)
        assert (answer.status, (await answer.json())["status"]) == (201, "succeeded")


EDITS = [
    (3, "/v2beta/stable-image/generate/ultra", {"strength": "0.5", "aspect_ratio": "1:1"}),
    (4, "/v1/ideogram-v3/inpaint", {"mask": picture(320, 256)}),
    (4, "/v2/image/precise-edit/ideogram-4-5", {"quality": "low"}),
    (4, "/v2/image/generate/ideogram-4-5", {"images": picture(320, 256), "image": None, "size": "source"}),
    (5, "/v1/images/imageToImage", {"strength": "0.5"}),
]


@pytest.mark.parametrize(("number", "path", "more"), EDITS, ids=lambda each: each if isinstance(each, str) else "")
async def test_an_edit_keeps_the_size_of_its_picture(number: int, path: str, more: dict[str, Any]) -> None:
    body = {"prompt": "an otter", "image": picture(320, 256), **more}
    known = replace(KNOWN[number], path=path, body=body, form=True)
    async with known.make().serving() as simulated:
        status, data = await order(known, simulated)
        missing, _ = await order(replace(known, body={"prompt": "an otter", "strength": "0.5"}), simulated)
    assert (status, size_of(data)) == (200, (320, 256))
    assert missing == (200 if number == 3 else 400)


async def test_hugging_face_edits_a_raw_picture_and_speaks_for_fal() -> None:
    known = KNOWN[6]
    kontext = "/hf-inference/models/black-forest-labs/FLUX.1-Kontext-dev"
    async with SimulatedHuggingface().serving() as simulated, ClientSession(headers=known.headers) as session:
        raw = {"data": picture(320, 256), "headers": {"Content-Type": "image/png"}}
        async with session.post(simulated.url + kontext, **raw) as answer:
            assert size_of(await answer.read()) == (320, 256)
        fal_body = {"prompt": "an otter", "image_size": {"width": 512, "height": 512}}
        status, data = await order(
            replace(known, path="/fal-ai/fal-ai/flux/schnell", body=fal_body, collect=images), simulated
        )
    assert (status, size_of(data)) == (200, (512, 512))


async def images(session: ClientSession, simulated: Simulated, first: Any) -> tuple[int, Any]:
    return await download(session, first["images"][0]["url"])


async def test_comfyui_paints_from_an_uploaded_picture_and_forgets_a_deleted_graph() -> None:
    async with SimulatedComfyui().serving() as simulated, ClientSession() as session:
        form = FormData(default_to_multipart=True)
        form.add_field("image", picture(320, 256), filename="input.png")
        async with session.post(simulated.url + "/upload/image", data=form) as answer:
            name = (await answer.json())["name"]
        encode = {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}}
        body = {"prompt": {**graph(encode), "10": {"class_type": "LoadImage", "inputs": {"image": name}}}}
        status, data = await order(replace(KNOWN[7], body=body), simulated)
        assert (status, size_of(data)) == (200, (320, 256))
        async with session.post(simulated.url + "/prompt", json=KNOWN[7].body) as answer:
            mine = (await answer.json())["prompt_id"]
        await (await session.post(simulated.url + "/queue", json={"delete": [mine]})).read()
        async with session.get(simulated.url + "/queue") as answer:
            assert await answer.json() == {"queue_running": [], "queue_pending": []}
