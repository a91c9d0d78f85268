"""What single providers do that the contract of all does not reach."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image, PngImagePlugin
from reaching import files, order_of, paint, reaching
from simulated import Outcome, Simulated, picture
from simulated_comfyui import CHECKPOINTS, SimulatedComfyui
from simulated_huggingface import SimulatedHuggingface
from simulated_ideogram import SimulatedIdeogram
from simulated_recraft import SimulatedRecraft
from simulated_replicate import SimulatedReplicate
from simulated_stability import SimulatedStability
from strict import parts

from pinxit.backends.interface import PaintOrder, PaintUsage
from pinxit.backends.upstream._provider import Access, Answer, mask_part, nearest_ratio
from pinxit.backends.upstream.comfyui import PLAIN, ComfyUI, without_texts
from pinxit.backends.upstream.fal import Fal
from pinxit.errors import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ContentPolicyViolation,
    InvalidValue,
)
from pinxit.images.decoding import read_header
from pinxit.images.encoding import inspect
from pinxit.images.request import InputPicture
from pinxit.images.size import Size

SENT = read_header(picture(96, 64, "png", "to begin from"))


def sent_form(server: Simulated) -> dict[str, Any]:
    """The parts of the last form that came in, texts as texts."""
    found = {}
    call = next(call for call in reversed(server.calls) if call.method == "POST")
    for part in parts(call.headers["content-type"], call.body):
        found[part.name] = part.raw if part.filename else part.value
    return found


def mask() -> InputPicture:
    """OpenAI's: the left half is transparent and is to be painted."""
    image = Image.new("RGBA", (96, 64), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 48, 64))
    out = io.BytesIO()
    image.save(out, "png")
    return read_header(out.getvalue())


def answer(document: object, status: int = 200) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(document).encode())


def fal_order() -> PaintOrder:
    return PaintOrder("fal-ai/flux/dev", "a fox", Size(1024, 768), (7,), 28, guidance_scale=3.5)


def test_fal_withholds_a_picture_by_a_flag():
    said = {"images": [{"url": "https://example.com/black.png"}], "has_nsfw_concepts": [True]}
    with pytest.raises(ContentPolicyViolation) as caught:
        Fal(Access("https://queue.fal.run", "key")).read_response(answer(said), fal_order())
    assert caught.value.stage == "output"


@pytest.mark.parametrize(
    ("kind", "error"), [("runner_scheduling_failure", BackendUnavailable), ("generation_timeout", BackendError)]
)
def test_what_fal_never_began_may_be_tried_elsewhere(kind: str, error: type[Exception]):
    said = {"status": "COMPLETED", "response_url": "x", "error": "no", "error_type": kind}
    with pytest.raises(error) as caught:
        Fal(Access("https://queue.fal.run", "key")).read_response(answer(said), fal_order())
    assert type(caught.value) is error


async def test_replicate_takes_ratios_and_is_asked_again_when_the_wait_is_over():
    server = SimulatedReplicate()
    server.wait_is_enough = False
    async with reaching(server) as backend:
        order = order_of(backend, "black-forest-labs/flux-schnell", size=Size(672, 384))
        [file] = files(await paint(backend, order))
    assert file.size == Size(672, 384)
    given = server.calls[0].json["input"]
    assert (given["aspect_ratio"], given["megapixels"], given["go_fast"]) == ("16:9", "0.25", False)
    assert sum(call.path.startswith("/v1/predictions/") for call in server.calls) == server.polls_needed + 1


class Watched(SimulatedReplicate):
    """Says when a prediction is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.wait_is_enough = False
        self.polls_needed = 10**9
        self.asked = asyncio.Event()

    def _shape(self, prediction: Any) -> dict[str, Any]:
        if prediction.polls:
            self.asked.set()
        return super()._shape(prediction)


async def test_a_prediction_that_nobody_wants_any_more_is_cancelled():
    server = Watched()
    async with reaching(server) as backend:
        painting = asyncio.create_task(paint(backend, order_of(backend, "black-forest-labs/flux-dev")))
        await asyncio.wait_for(server.asked.wait(), 10)
        painting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await painting
    assert server.calls[-1].path.endswith("/cancel")


async def test_stability_withholds_a_picture_by_a_header():
    server = SimulatedStability()
    server.filters_pictures = True
    async with reaching(server) as backend:
        with pytest.raises(ContentPolicyViolation) as caught:
            await paint(backend, order_of(backend, "stable-image-core"))
    assert caught.value.stage == "output"


async def test_seed_nought_means_any_at_stability_so_another_is_sent():
    server = SimulatedStability()
    async with reaching(server) as backend:
        order = order_of(backend, "sd3.5-large", seeds=(0,), style="anime", negative_prompt="dogs")
        await paint(backend, order)
    form = sent_form(server)
    assert 0 < int(form["seed"]) < 2**32 - 1
    assert (form["style_preset"], form["negative_prompt"], form["cfg_scale"]) == ("anime", "dogs", "4")


async def test_ideogram_withholds_a_picture_after_painting():
    server = SimulatedIdeogram()
    server.unsafe_pictures = True
    async with reaching(server) as backend:
        with pytest.raises(ContentPolicyViolation) as caught:
            await paint(backend, order_of(backend, "ideogram-v3"))
    assert caught.value.stage == "output"


async def test_ideogram_weighs_the_picture_and_takes_qualities_as_speeds():
    server = SimulatedIdeogram()
    async with reaching(server) as backend:
        order = order_of(backend, "ideogram-v3", files=(SENT,), strength=0.7, quality="low", style="design")
        await paint(backend, order)
    form = sent_form(server)
    assert (form["image_weight"], form["rendering_speed"], form["style_type"]) == ("30", "TURBO", "DESIGN")
    assert form["magic_prompt"] == "OFF"
    assert form["image"] == SENT.data


@pytest.mark.parametrize(
    ("server", "model", "painted"), [(SimulatedIdeogram(), "ideogram-v3", 0), (SimulatedRecraft(), "recraftv3", 255)]
)
async def test_masks_are_black_and_white_as_the_provider_wants_them(server: Simulated, model: str, painted: int):
    async with reaching(server) as backend:
        [file] = files(await paint(backend, order_of(backend, model, files=(SENT,), mask=mask())))
    assert server.calls[-2 if model == "ideogram-v3" else -1].path.endswith("/inpaint")
    assert file.size == Size(96, 64)
    with Image.open(io.BytesIO(sent_form(server)["mask"])) as image:
        assert (image.size, image.mode) == ((96, 64), "L")
        assert (image.getpixel((0, 0)), image.getpixel((95, 63))) == (painted, 255 - painted)


def test_a_mask_of_another_size_is_fitted():
    assert inspect(mask_part(mask(), Size(48, 32)).content)[1] == Size(48, 32)  # type: ignore[arg-type]


async def test_recraft_says_what_it_cost():
    async with reaching(SimulatedRecraft()) as backend:
        events = await paint(backend, order_of(backend, "recraftv4"))
    assert [event.cost_micros for event in events if isinstance(event, PaintUsage)] == [40_000]


async def test_hugging_face_sends_orders_through_to_fal_and_bills_an_organisation():
    server = SimulatedHuggingface()
    options = {"inference_provider": "fal-ai", "bill_to": "acme"}
    async with reaching(server, options) as backend:
        assert [spec.id for spec in backend.models()] == [
            "black-forest-labs/FLUX.1-schnell",
            "black-forest-labs/FLUX.1-dev",
        ]
        [file] = files(await paint(backend, order_of(backend, "black-forest-labs/FLUX.1-dev", size=Size(832, 1216))))
    assert file.size == Size(832, 1216)
    assert server.calls[0].path == "/fal-ai/fal-ai/flux/dev"
    assert server.calls[0].headers["x-hf-bill-to"] == "acme"


@pytest.mark.parametrize(
    ("kind", "options"),
    [(SimulatedHuggingface, {"inference_provider": "moon"}), (SimulatedIdeogram, {"magic_prompt": "maybe"})],
)
async def test_options_are_checked(kind: type[Simulated], options: dict[str, str]):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        async with reaching(kind(), options):
            pass


def workflow() -> dict[str, Any]:
    """The plain one for another checkpoint, with the prompt in a sentence."""
    graph: dict[str, Any] = json.loads(json.dumps(PLAIN))
    graph["checkpoint"]["inputs"]["ckpt_name"] = CHECKPOINTS[1]
    graph["prompt"]["inputs"]["text"] = "photo of {{prompt}}, seed {{seed}}"
    return graph


async def test_a_workflow_is_filled_from_its_file(tmp_path: Path):
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(workflow()), "utf-8")
    server = SimulatedComfyui()
    async with reaching(server, {"workflows": {CHECKPOINTS[0]: str(path)}}) as backend:
        order = order_of(backend, CHECKPOINTS[0], prompt='a "{{seed}}" fox', size=Size(832, 1216))
        [file] = files(await paint(backend, order))
    assert file.size == Size(832, 1216)
    graph = server.calls[0].json["prompt"]
    assert graph["prompt"]["inputs"]["text"] == 'photo of a "{{seed}}" fox, seed 7'
    assert graph["sampler"]["inputs"]["seed"] == 7
    assert graph["checkpoint"]["inputs"]["ckpt_name"] == CHECKPOINTS[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workflows": []}, "mapping"),
        ({"workflows": {"a": "/nowhere/at/all.json"}}, "cannot be read"),
        ({"workflows": {"a": {}}}, "not a workflow"),
        ({"workflows": {"a": {"nodes": []}}}, "API"),
        ({"workflows": {"a": {"1": {"class_type": "X", "inputs": {"text": "a fox"}}}}}, "must leave {{prompt}}"),
        ({"workflows": {"a": {"1": {"class_type": "X", "inputs": {"text": "{{prompt}}{{moon}}"}}}}}, "{{moon}}"),
        ({"edit_workflows": {"a": {"1": {"class_type": "X", "inputs": {"text": "{{prompt}}"}}}}}, "{{image}}"),
    ],
)
def test_a_workflow_that_cannot_be_used_is_told_at_the_start(options: dict[str, Any], said: str):
    with pytest.raises(ConfigurationError) as caught:
        ComfyUI(Access("http://127.0.0.1:8188", "", options))
    assert said in caught.value.message


def test_a_workflow_for_no_model_is_told_at_the_start():
    provider = ComfyUI(Access("http://127.0.0.1:8188", "", {"workflows": {"nobody": workflow()}}))
    with pytest.raises(ConfigurationError, match="nobody"):
        provider.offer(SimulatedComfyui().configured_models())


async def test_comfyui_says_why_a_run_failed():
    server = SimulatedComfyui()
    server.outcome = Outcome.FAIL_LATER
    async with reaching(server) as backend:
        with pytest.raises(BackendError, match="OutOfMemoryError in KSampler"):
            await paint(backend, order_of(backend, CHECKPOINTS[0]))


async def test_comfyui_tells_what_is_wrong_with_the_graph():
    graph = workflow()
    graph["sampler"]["inputs"]["scheduler"] = "of my own"
    async with reaching(SimulatedComfyui(), {"workflows": {CHECKPOINTS[0]: graph}}) as backend:
        with pytest.raises(InvalidValue, match="scheduler"):
            await paint(backend, order_of(backend, CHECKPOINTS[0]))


def test_the_workflow_is_taken_out_of_a_picture():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", "the whole graph")
    texts.add_itxt("workflow", "the whole graph")
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(out, "png", pnginfo=texts)
    bare = without_texts(out.getvalue())
    assert b"graph" in out.getvalue()
    assert b"graph" not in bare
    with Image.open(io.BytesIO(bare)) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (1, 2, 3)
    assert without_texts(b"no png") == b"no png"


def test_the_ratio_of_the_most_similar_shape_is_found():
    ratios = {"1:1": Size(1024, 1024), "16:9": Size(1344, 768), "9:16": Size(768, 1344)}
    found = [nearest_ratio(Size(*sides), ratios) for sides in ((1000, 900), (2000, 1000), (100, 400))]
    assert found == ["1:1", "16:9", "9:16"]


class Endless(SimulatedComfyui):
    """Says when a run is asked for, and never ends one."""

    def __init__(self) -> None:
        super().__init__()
        self.polls_needed = 10**9
        self.asked = asyncio.Event()

    async def _history(self, request: web.Request) -> web.Response:
        self.asked.set()
        return await super()._history(request)


async def test_a_run_that_nobody_wants_any_more_leaves_the_queue():
    server = Endless()
    async with reaching(server) as backend:
        painting = asyncio.create_task(paint(backend, order_of(backend, CHECKPOINTS[0])))
        await asyncio.wait_for(server.asked.wait(), 10)
        painting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await painting
    assert server.calls[-1].path == "/queue"
    assert not server._runs
