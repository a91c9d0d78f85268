"""What is special about single providers, against the same simulations as the contract suite."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from simulated import Outcome, Simulated, picture
from test_providers import LIMITS, LOOPBACK, base_url, files, order_for, paint, painting, simulated

from pinxit.backends.interface import Asked, Capabilities, ModelSpec, PaintOrder, PaintUsage
from pinxit.backends.upstream import load_kind
from pinxit.backends.upstream._base import UpstreamBackend
from pinxit.backends.upstream._provider import Access, Again, Answer, Done, Provider, UpstreamModel
from pinxit.errors import (
    BackendBusy,
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ContentPolicyViolation,
    InvalidValue,
)
from pinxit.images.decoding import read_header
from pinxit.images.request import Encoding
from pinxit.images.size import Size


def provider(kind: str, **options: Any) -> Provider:
    return load_kind(kind)(Access("http://127.0.0.1:1", "secret", options))


def answer(document: object, status: int = 200, keys: tuple[str, ...] = ()) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps(document).encode(), keys)


def model_of(kind: str, id_: str) -> UpstreamModel:
    return next(model for model in load_kind(kind).models if model.spec.id == id_)


def configured(id_: str, sizes: Sequence[Size] = (Size(1024, 1024),), **more: Any) -> UpstreamModel:
    can = Capabilities(tuple(sizes), sizes[0], sizes[0], encodings=(Encoding.PNG,), **{"seed": False, **more})
    return UpstreamModel(ModelSpec(id_, "Configured.", can, "upstream", "unknown", 0))


def sent(count: int = 1) -> dict[str, Any]:
    """Pictures to begin from, as `Asked` has them."""
    return {"images": tuple(read_header(picture(96, 64, "png", str(number))) for number in range(count))}


@asynccontextmanager
async def arranged(
    kind: str, models: Sequence[UpstreamModel] = (), *, credential: str | None = None, **options: Any
) -> AsyncIterator[tuple[Simulated, UpstreamBackend]]:
    """As `painting`, with the operator's own options and models."""
    async with simulated(kind).serving() as server:
        chosen = server.credential if credential is None else credential
        its = load_kind(kind)(Access(base_url(kind, server), chosen, options))
        if found := models or server.configured_models():
            its.offer(found)
        backend = UpstreamBackend(kind, its, limits=LIMITS, allowed_networks=LOOPBACK)
        await backend.open()
        try:
            yield server, backend
        finally:
            await backend.close()


def usage(events: Sequence[object]) -> PaintUsage:
    return next(event for event in events if isinstance(event, PaintUsage))


@pytest.mark.parametrize("kind", ["openai", "azure_openai", "google", "openrouter", "together", "xai", "infron"])
def test_nothing_is_free(kind: str) -> None:
    for model in load_kind(kind).models:
        can = model.spec.capabilities
        for size in (*can.sizes, Size(1040, 1040)) if can.size_range else can.sizes:
            for quality in (*can.qualities, "auto"):
                assert 0 < model.spec.prices.micros(size, quality) <= 1_000_000, (model.spec.id, size, quality)


class TestOpenAI:
    @pytest.mark.parametrize(
        ("id_", "size", "quality", "micros"),
        [
            ("gpt-image-2", Size(1024, 1024), "high", 211_000),
            ("gpt-image-2", Size(1024, 1536), "low", 5_000),
            ("gpt-image-2", Size(3840, 2160), "auto", 401_000),
            ("gpt-image-2", Size(2048, 2048), "medium", 101_000),
            ("gpt-image-2.6-flare", Size(1024, 1024), "auto", 210_720),
            ("gpt-image-1-mini", Size(1536, 1024), "medium", 15_000),
        ],
    )
    def test_prices(self, id_: str, size: Size, quality: str, micros: int) -> None:
        assert model_of("openai", id_).spec.prices.micros(size, quality) == micros

    async def test_every_corner_of_the_range_of_sizes_is_painted(self) -> None:
        async with painting("openai") as (_, backend):
            order = order_for(backend, "gpt-image-2")
            sides = model_of("openai", "gpt-image-2").spec.capabilities.size_range.sides
            for size in (Size(width, height) for width in (sides[0], sides[-1]) for height in (sides[0], sides[-1])):
                [file] = files(await paint(backend, replace(order, size=size)))
                assert file.size == size

    async def test_the_tokens_of_the_answer_make_the_cost(self) -> None:
        async with painting("openai") as (_, backend):
            found = usage(await paint(backend, order_for(backend, "gpt-image-2", **sent(2))))
        assert (found.input_tokens, found.output_tokens) == (606, 1000)
        assert found.cost_micros == 6 * 5 + 600 * 8 + 1000 * 30

    async def test_a_mask_goes_along_as_it_came(self) -> None:
        async with painting("openai") as (server, backend):
            mask = read_header(picture(96, 64, "png", "mask"))
            assert files(await paint(backend, order_for(backend, "gpt-image-2", **sent(2), mask=mask)))
            body = server.calls[-1].body
            assert body.count(b'name="image[]"') == 2
            assert body.count(b'name="mask"') == 1
            assert mask.data in body

    async def test_a_refusal_says_where_and_why(self) -> None:
        async with painting("openai") as (server, backend):
            server.outcome = Outcome.REFUSE
            with pytest.raises(ContentPolicyViolation) as caught:
                await paint(backend, order_for(backend, "gpt-image-2"))
        assert (caught.value.stage, tuple(caught.value.categories)) == ("input", ("sexual",))

    async def test_a_parameter_that_is_wrong_is_named(self) -> None:
        async with painting("openai") as (server, backend):
            server.outcome = Outcome.BAD_REQUEST
            with pytest.raises(InvalidValue) as caught:
                await paint(backend, order_for(backend, "gpt-image-2"))
        assert caught.value.param == "size"

    async def test_a_model_that_is_not_there_is_the_operators_affair(self) -> None:
        async with arranged("openai", [configured("gpt-image-9")]) as (_, backend):
            with pytest.raises(BackendUnavailable):
                await paint(backend, order_for(backend, "gpt-image-9"))

    async def test_png_has_no_compression(self) -> None:
        async with painting("openai") as (server, backend):
            order = order_for(backend, "gpt-image-2", compression=50)
            await paint(backend, order)
            assert "output_compression" not in server.calls[-1].json
            await paint(backend, replace(order, asked=replace(order.asked, encoding=Encoding.WEBP)))
            assert server.calls[-1].json["output_compression"] == 50


class TestOpenAICompatible:
    @pytest.mark.parametrize("options", [{}, {"response_format": "url"}, {"response_format": "none"}])
    @pytest.mark.parametrize("gives_paths", [False, True])
    @pytest.mark.parametrize("answers_with", ["url", "b64_json"])
    @pytest.mark.parametrize("ignores", [False, True])
    async def test_whatever_form_the_picture_comes_in(
        self, options: Mapping[str, Any], gives_paths: bool, answers_with: str, ignores: bool
    ) -> None:
        async with arranged("openai_compatible", **options) as (server, backend):
            server.gives_paths, server.answers_with, server.ignores_response_format = gives_paths, answers_with, ignores
            assert files(await paint(backend, order_for(backend, "flux.1-dev")))
            assert ("response_format" in server.calls[0].json) == (options.get("response_format") != "none")

    async def test_no_credential_no_header(self) -> None:
        async with arranged("openai_compatible", credential="") as (server, backend):
            assert files(await paint(backend, order_for(backend, "flux.1-dev")))
            assert "authorization" not in server.calls[0].headers

    async def test_each_picture_has_its_seed_and_nothing_more_than_its_model_knows(self) -> None:
        async with arranged("openai_compatible") as (server, backend):
            await paint(backend, order_for(backend, "Qwen/Qwen-Image", 3))
            asked = [call.json for call in server.calls if call.method == "POST"]
            assert sorted(body["seed"] for body in asked) == [7, 8, 9]
            assert all("n" not in body for body in asked)
            await paint(backend, order_for(backend, "flux.1-dev", quality="high"))
            body = next(call.json for call in reversed(server.calls) if call.method == "POST")
            assert set(body) == {"model", "prompt", "size", "response_format"}

    async def test_fields_renamed_and_added(self) -> None:
        options = {"rename": {"num_inference_steps": "step"}, "extra": {"output_format": "png"}}
        async with arranged("openai_compatible", **options) as (server, backend):
            await paint(backend, order_for(backend, "Qwen/Qwen-Image"))
            assert server.calls[0].json["step"] == 20
            assert server.calls[0].json["output_format"] == "png"
            assert "num_inference_steps" not in server.calls[0].json

    async def test_one_picture_to_begin_from_is_an_image_several_are_a_list(self) -> None:
        async with arranged("openai_compatible") as (server, backend):
            await paint(backend, order_for(backend, "Qwen/Qwen-Image", **sent(), strength=0.4))
            assert b'name="strength"\r\n\r\n0.4' in next(call.body for call in server.calls if call.method == "POST")
            for count, name in ((1, b'name="image"'), (2, b'name="image[]"')):
                await paint(backend, order_for(backend, "Qwen/Qwen-Image", **sent(count)))
                body = next(call.body for call in reversed(server.calls) if call.method == "POST")
                assert body.count(name) == count

    def test_more_pictures_than_asked_for_are_left_alone(self) -> None:
        order = order_of("flux.1-dev")
        two = {"data": [{"b64_json": "AAAA"}, {"url": "data:image/png;base64,BBBB"}]}
        done = provider("openai_compatible").read_response(answer(two), order)
        assert isinstance(done, Done)
        assert [found.base64 for found in done.pictures] == ["AAAA"]

    @pytest.mark.parametrize("options", [{"response_format": "png"}, {"rename": "x"}, {"extra": []}, {"unknown": 1}])
    def test_options_that_make_no_sense(self, options: Mapping[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            provider("openai_compatible", **options)


def order_of(model: str, n: int = 1, **more: Any) -> PaintOrder:
    """An order for a provider alone, without a backend."""
    seeds = tuple(range(7, 7 + n))
    return PaintOrder(model, "a fox", more.pop("size", Size(1024, 1024)), seeds, 1, asked=Asked(**more))


class TestGoogle:
    def test_every_size_has_its_ratio_and_tier(self) -> None:
        for model in load_kind("google").models:
            for size in model.spec.capabilities.sizes:
                body = provider("google").build_request(order_of(model.spec.id, size=size), model).json
                ratio, tier = model.facts[str(size)]
                wanted = {"aspectRatio": ratio, **({"imageSize": tier} if tier else {})}
                assert body["generationConfig"]["imageConfig"] == wanted
                assert model.spec.prices.micros(size, "auto") > 0

    @pytest.mark.parametrize(
        ("size", "wanted"),
        [(Size(1000, 1000), ("1:1", "1K")), (Size(2000, 1125), ("16:9", "2K")), (Size(3000, 4000), ("3:4", "4K"))],
    )
    def test_a_size_in_no_table_is_the_nearest(self, size: Size, wanted: tuple[str, str]) -> None:
        body = provider("google").build_request(order_of("new", size=size), configured("new", [size])).json
        image = body["generationConfig"]["imageConfig"]
        assert (image["aspectRatio"], image["imageSize"]) == wanted

    async def test_what_was_painted_may_be_refused(self) -> None:
        async with painting("google") as (server, backend):
            server.outcome, server.refuses_picture = Outcome.REFUSE, True
            with pytest.raises(ContentPolicyViolation) as caught:
                await paint(backend, order_for(backend, "gemini-3-pro-image"))
        assert caught.value.stage == "output"

    async def test_it_says_when_to_come_back(self) -> None:
        async with painting("google") as (server, backend):
            server.outcome = Outcome.RATE_LIMIT
            with pytest.raises(BackendBusy) as caught:
                await paint(backend, order_for(backend, "gemini-3-pro-image"))
        assert caught.value.retry_after_seconds == 6

    def test_sketches_of_a_model_that_thinks_are_no_pictures(self) -> None:
        parts = [
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thought": True},
            {"text": "Here it is."},
            {"inlineData": {"mimeType": "image/png", "data": "BBBB"}},
            {"inlineData": {"mimeType": "image/png", "data": "CCCC"}, "thought": True},
        ]
        document = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
        done = provider("google").read_response(answer(document), order_of("gemini-3-pro-image"))
        assert isinstance(done, Done)
        assert [found.base64 for found in done.pictures] == ["BBBB"]

    def test_words_instead_of_a_picture(self) -> None:
        document = {"candidates": [{"content": {"parts": [{"text": "No."}]}, "finishReason": "NO_IMAGE"}]}
        with pytest.raises(BackendError, match="NO_IMAGE"):
            provider("google").read_response(answer(document), order_of("gemini-3-pro-image"))


class TestOpenRouter:
    async def test_the_answer_says_what_it_cost(self) -> None:
        async with painting("openrouter") as (_, backend):
            assert usage(await paint(backend, order_for(backend, "openai/gpt-image-2"))).cost_micros == 40_000

    async def test_an_error_after_the_model_began(self) -> None:
        async with painting("openrouter") as (server, backend):
            server.outcome, server.began = Outcome.OUTAGE, True
            with pytest.raises(BackendError):
                await paint(backend, order_for(backend, "openai/gpt-image-2"))

    async def test_a_refusal_says_why(self) -> None:
        async with painting("openrouter") as (server, backend):
            server.outcome = Outcome.REFUSE
            with pytest.raises(ContentPolicyViolation) as caught:
                await paint(backend, order_for(backend, "openai/gpt-image-2"))
        assert tuple(caught.value.categories) == ("sexual",)

    def test_a_refusal_in_the_words_of_the_models_maker(self) -> None:
        raw = '{"error": {"code": "moderation_blocked"}}'
        document = {"error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": raw}}}
        error = provider("openrouter").read_error(answer(document, 400), order_of("openai/gpt-image-2"))
        assert isinstance(error, ContentPolicyViolation)


class TestTogether:
    async def test_each_picture_has_its_seed(self) -> None:
        async with painting("together") as (server, backend):
            await paint(backend, order_for(backend, "black-forest-labs/FLUX.1-schnell", 3))
            assert sorted(call.json["seed"] for call in server.calls) == [7, 8, 9]

    async def test_a_parameter_that_is_wrong_has_our_name(self) -> None:
        async with painting("together") as (server, backend):
            server.outcome = Outcome.BAD_REQUEST
            with pytest.raises(InvalidValue) as caught:
                await paint(backend, order_for(backend, "black-forest-labs/FLUX.1-schnell"))
        assert caught.value.param == "num_inference_steps"


class TestXAI:
    async def test_a_refused_picture_is_a_refusal_of_what_was_painted(self) -> None:
        async with painting("xai") as (server, backend):
            server.outcome = Outcome.REFUSE
            with pytest.raises(ContentPolicyViolation) as caught:
                await paint(backend, order_for(backend, "grok-imagine-image"))
        assert caught.value.stage == "output"

    @pytest.mark.parametrize(
        ("size", "wanted"),
        [(Size(1024, 1024), ("1:1", "1k")), (Size(1920, 1080), ("16:9", "1k")), (Size(2000, 3000), ("2:3", "2k"))],
    )
    def test_a_size_is_a_ratio_and_a_tier(self, size: Size, wanted: tuple[str, str]) -> None:
        body = provider("xai").build_request(order_of("new", size=size), configured("new", [size])).json
        assert (body["aspect_ratio"], body["resolution"]) == wanted

    @pytest.mark.parametrize("data", [[], [{"b64_json": None, "url": "", "respect_moderation": False}]])
    def test_a_picture_that_is_left_out_was_refused(self, data: Sequence[object]) -> None:
        with pytest.raises(ContentPolicyViolation) as caught:
            provider("xai").read_response(answer({"data": data}), order_of("grok-imagine-image"))
        assert caught.value.stage == "output"

    def test_a_refused_prompt_does_not_tell_whose_server_this_is(self) -> None:
        said = "Content violates usage guidelines. Team: t-1, API key ID: k-1, Failed check: SAFETY_CHECK_TYPE_BIO"
        document = {"code": "The caller does not have permission to execute the specified operation", "error": said}
        error = provider("xai").read_error(answer(document, 403), order_of("grok-imagine-image"))
        assert isinstance(error, ContentPolicyViolation)
        assert "t-1" not in error.message

    async def test_ticks_are_dollars(self) -> None:
        async with painting("xai") as (_, backend):
            assert usage(await paint(backend, order_for(backend, "grok-imagine-image", 2))).cost_micros == 40_000

    async def test_several_pictures_to_begin_from(self) -> None:
        async with painting("xai") as (server, backend):
            assert files(await paint(backend, order_for(backend, "grok-imagine-image-2.0", **sent(2), quality="low")))
            assert len(server.calls[0].json["images"]) == 2
            assert server.calls[0].json["quality"] == "low"

    @pytest.mark.parametrize(
        ("size", "quality", "micros"),
        [
            (Size(1024, 1024), "low", 40_000),
            (Size(1024, 1024), "auto", 60_000),
            (Size(2048, 2048), "low", 60_000),
            (Size(2048, 2048), "medium", 80_000),
        ],
    )
    def test_prices(self, size: Size, quality: str, micros: int) -> None:
        assert model_of("xai", "grok-imagine-image-2.0").spec.prices.micros(size, quality) == micros


class TestAzureOpenAI:
    @pytest.mark.parametrize(
        ("version", "path"),
        [
            ("", "/openai/v1/images/generations"),
            ("preview", "/openai/v1/images/generations"),
            ("2025-04-01-preview", "/openai/deployments/gpt-image-2/images/generations"),
        ],
    )
    async def test_both_kinds_of_paths(self, version: str, path: str) -> None:
        options = {"api_version": version} if version else {}
        async with arranged("azure_openai", **options) as (server, backend):
            assert files(await paint(backend, order_for(backend, "gpt-image-2")))
            assert server.calls[0].path == path
            assert server.calls[0].query == ({"api-version": version} if version else {})
            assert server.calls[0].headers["api-key"] == server.credential

    async def test_a_deployment_by_another_name(self) -> None:
        deployments = {"gpt-image-1.5": "gpt-image-2"}
        for options in ({}, {"api_version": "2025-04-01-preview"}):
            async with arranged("azure_openai", deployments=deployments, **options) as (server, backend):
                assert files(await paint(backend, order_for(backend, "gpt-image-1.5", **sent())))
                assert b"gpt-image-2" in server.calls[0].body
                server.models = ()
                with pytest.raises(BackendUnavailable):
                    await paint(backend, order_for(backend, "gpt-image-1.5"))

    async def test_a_refusal_in_openais_words(self) -> None:
        async with painting("azure_openai") as (server, backend):
            server.outcome, server.refuses_like_openai = Outcome.REFUSE, True
            with pytest.raises(ContentPolicyViolation):
                await paint(backend, order_for(backend, "gpt-image-2"))


class TestInfron:
    async def test_a_model_that_only_edits(self) -> None:
        model = configured("google/nano-banana-image-to-image", edits=True, max_images=4)
        async with arranged("infron", [model]) as (server, backend):
            assert files(await paint(backend, order_for(backend, model.spec.id, **sent(2))))
            assert server.calls[0].path == "/v1/images/edits"
            assert len(server.calls[0].json["image_urls"]) == 2
            assert server.calls[0].json["size"] == "1:1"

    async def test_a_task_is_asked_after_until_it_is_done(self) -> None:
        async with painting("infron") as (server, backend):
            server.polls_needed = 3
            assert files(await paint(backend, order_for(backend, "openai/gpt-image-2/text-to-image")))
            assert sum("/images/tasks/" in call.path for call in server.calls) == 3

    def test_a_task_without_an_address(self) -> None:
        step = provider("infron").read_response(answer({"data": {"task_id": "t1", "status": "created"}}), order_of("m"))
        assert isinstance(step, Again)
        assert step.call.url == "/images/tasks/t1"


class TestA1111:
    async def test_what_it_is_sent(self) -> None:
        async with arranged("a1111", sampler_name="Euler a", extra={"tiling": True}) as (server, backend):
            model = backend.models()[1].id
            await paint(backend, order_for(backend, model, 2))
            assert sorted(call.json["seed"] for call in server.calls) == [7, 8]
            for call in server.calls:
                assert call.json["override_settings"] == {"sd_model_checkpoint": model}
                assert (call.json["steps"], call.json["cfg_scale"]) == (20, 7)
                assert (call.json["sampler_name"], call.json["tiling"]) == ("Euler a", True)

    async def test_strength_of_an_edit(self) -> None:
        async with painting("a1111") as (server, backend):
            order = order_for(backend, backend.models()[0].id, **sent(), strength=0.4)
            assert files(await paint(backend, order))
            assert server.calls[0].json["denoising_strength"] == 0.4
            assert server.calls[0].path == "/sdapi/v1/img2img"

    def test_a_program_without_its_api_is_the_operators_affair(self) -> None:
        error = provider("a1111").read_error(answer({"detail": "Not Found"}, 404), order_of("m"))
        assert isinstance(error, BackendUnavailable)

    def test_what_is_wrong_is_said(self) -> None:
        document = {"error": "HTTPException", "detail": "Sampler not found", "body": "", "errors": ""}
        error = provider("a1111").read_error(answer(document, 400), order_of("m"))
        assert isinstance(error, InvalidValue)
        assert "Sampler not found" in error.message

    def test_a_large_picture_in_a_list_is_cut_out(self) -> None:
        text = "QUJD" * 1000
        found = answer({"images": [text, "REVG"], "info": "{}"}, keys=("images",))
        assert len(found.json["images"][0]) < 100
        assert [found.picture(one) for one in found.json["images"]] == [b"ABC" * 1000, b"DEF"]
