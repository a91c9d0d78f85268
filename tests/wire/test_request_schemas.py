"""GET /v1/models/{id} has the JSON schemas of its orders: what they take, the server takes, and nothing else."""

import base64
import io
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from asgi import call
from front import Front, MakeFront
from pinxit.api.images import DANGEROUS, FOREIGN, KNOWN
from pinxit.api.request_schema import INVISIBLE, size_pattern
from pinxit.backends.interface import ModelSpec, Range, SizeRange
from pinxit.images.size import Size
from pinxit.testing.fake_backend import FAKE_1, FakeBackend

SMALL = Size(64, 64)
CAN = replace(
    FAKE_1.capabilities,
    sizes=(SMALL, Size(96, 64)),
    default_size=SMALL,
    aspect_ratios={"1:1": SMALL, "3:2": Size(96, 64)},
    max_n=2,
    max_images=2,
)
MODELS = {
    "fake-1": CAN,
    "plain": replace(
        CAN,
        seed=False,
        negative_prompt=False,
        num_inference_steps=None,
        guidance_scale=None,
        styles=(),
        transparent=False,
        streaming=False,
        mask=False,
        strength=None,
        qualities={},
        encodings=CAN.encodings[:1],
    ),
    "ranged": replace(
        CAN, sizes=(), aspect_ratios={}, size_range=SizeRange(48, 160, 16, 128 * 128), strength=Range(0.5, 0.75, 0.5)
    ),
    "no-edits": replace(CAN, edits=False, mask=False, max_images=0),
}


NAMES: dict[str, tuple[Any, ...]] = {
    **{id_: (id_,) for id_ in MODELS},
    "fake-1": ("fake-1", "dall-e-3", "gpt-image-9", None),
}


class SeveralModels(FakeBackend):
    """Models that can different things."""

    def models(self) -> Sequence[ModelSpec]:
        return [replace(FAKE_1, id=id_, capabilities=can) for id_, can in MODELS.items()]


@pytest.fixture
def quiet() -> Iterator[None]:
    """Log errors only."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    yield
    structlog.reset_defaults()


def _picture_url() -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


URL = _picture_url()
ODD = st.sampled_from(
    [None, True, False, 0, 1, 2, 3.0, 0.5, 1.5, -1, 101, 2**32, 1e300, "", "auto", "x", "a\0b", [], [1], {}, {"a": 1}]
)
SIZES = [
    "auto",
    "64x64",
    "96x64",
    "64x96",
    "1:1",
    "3:2",
    "16:9",
    "128x128",
    "160x112",
    "160x96",
    "48x48",
    "32x32",
    "064x64",
]
PICTURE = st.sampled_from(
    [URL, {"image_url": URL}, {"image_url": {"url": URL}}, {"image_url": URL, "file_id": "f"}, {}, "ftp://x/y", 7]
)
PICTURES = st.one_of(PICTURE, st.lists(PICTURE, max_size=3), st.none())
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["fake-1", "dall-e-3", "gpt-image-9", "plain", "ranged", "no-edits"]),
    "prompt": st.sampled_from(["a", " ", "\u200b", "\u200bx\n", "\U000e0041", "é", "a" * 201, "\t\x1f"]),
    "n": st.integers(0, 4),
    "output_format": st.sampled_from(["url", "b64_json", "png", "jpeg", "webp", "gif", "svg"]),
    "response_format": st.sampled_from(["url", "b64_json", "png"]),
    "size": st.sampled_from(SIZES),
    "quality": st.sampled_from(["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]),
    "background": st.sampled_from(["auto", "opaque", "transparent"]),
    "output_compression": st.integers(-1, 101),
    "moderation": st.sampled_from(["auto", "low", "off"]),
    "style": st.sampled_from(["vivid", "natural", "cubist"]),
    "user": st.sampled_from(["u", "u" * 513]),
    "safety_identifier": st.sampled_from(["u", "u" * 513]),
    "seed": st.sampled_from([0, 7, 2**32 - 1, 2**32, 7.0]),
    "negative_prompt": st.sampled_from(["", "blur", "a" * 201]),
    "num_inference_steps": st.sampled_from([0, 1, 2, 50, 51, 2.0, 2.5]),
    "steps": st.sampled_from([0, 1, 2, 50, 51]),
    "guidance_scale": st.sampled_from([0.5, 1, 7.5, 20, 21]),
    "strength": st.sampled_from([0, 0.005, 0.01, 0.5, 0.75, 1, 1.1]),
    "stream": st.booleans(),
    "partial_images": st.integers(-1, 4),
    "async": st.booleans(),
    "store": st.booleans(),
    "deadline_seconds": st.sampled_from([0, 60, 86_400, 86_401]),
    "usage": st.sampled_from([{}, {"include": True}, {"include": None}, {"include": 1}, {"more": 1}]),
    "provider": st.sampled_from([{}, {"sort": "price"}, {"sort": "speed"}, {"only": "a"}, {"first": True}]),
    "fallback_models": st.sampled_from([[], ["fake-1"]]),
    "loras": st.sampled_from([[], ["a"]]),
}
OTHERS = st.dictionaries(st.sampled_from([*sorted(FOREIGN)[:3], sorted(DANGEROUS)[0], "unheard_of"]), ODD, max_size=1)


@st.composite
def bodies(draw: st.DrawFn, *, of_edits: bool) -> dict[str, Any]:
    """Mostly good; a field or two are any value at all."""
    likely = {**LIKELY, **(dict.fromkeys(("image", "images", "image_urls"), PICTURES) if of_edits else {})}
    if of_edits:
        likely["mask"] = PICTURE
    names = draw(st.lists(st.sampled_from(sorted(likely)), max_size=4, unique=True))
    body: dict[str, Any] = {"prompt": "a robot"}
    if of_edits and draw(st.integers(0, 4)):
        body["image"] = URL
    body |= {name: draw(likely[name]) for name in names}
    if not draw(st.integers(0, 3)):
        body[draw(st.sampled_from(sorted(likely)))] = draw(ODD)
    if not draw(st.integers(0, 5)):
        body |= draw(OTHERS)
    return {**body, "dry_run": True}


AGREEMENT = settings(
    max_examples=150,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("is_strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("quiet")
async def test_schema_and_server_agree(make_front: MakeFront, model: str, is_strict: bool):
    front = await make_front(SeveralModels(), max_prompt_characters=200, fetch_image_urls=False)
    front.key = await front.make_key(strict=is_strict)
    shown = (await front.client.get(f"/v1/models/{model}", headers=front.authorization)).json()
    headers = [(b"authorization", f"Bearer {front.key}".encode()), (b"content-type", b"application/json")]
    taken = {True: 0, False: 0}
    for path, schema in (("generations", shown["request_schema"]), ("edits", shown["edit_schema"])):
        if schema is None:
            assert not shown["capabilities"]["edits"]
            continue
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator(schema)
        for number, body in enumerate(examples(of_edits=path == "edits")):
            if "model" not in body and number % 8:
                body["model"] = model
            if body.get("model") not in NAMES[model]:
                assert not validator.is_valid(body)
                continue  # another model's order, or of none
            answer = await call(front.app, "POST", f"/v1/images/{path}".encode(), headers, json.dumps(body).encode())
            is_valid = validator.is_valid(body)
            assert (answer.status == 200) == is_valid, (model, body, answer.body[:300], problems(validator, body))
            assert is_valid or answer.status in (400, 404, 422)
            taken[is_valid] += 1
    assert min(taken.values()) > 20, taken


def examples(*, of_edits: bool) -> list[dict[str, Any]]:
    """The same ones every time: what Hypothesis draws from a fixed seed."""
    found: list[dict[str, Any]] = []

    @settings(AGREEMENT, derandomize=True)
    @given(bodies(of_edits=of_edits))
    def collect(body: dict[str, Any]) -> None:
        found.append(body)

    collect()
    return found


def problems(validator: Draft202012Validator, body: dict[str, Any]) -> list[str]:
    return [error.message[:200] for error in validator.iter_errors(body)]


async def test_every_field_is_in_the_schema(front: Front):
    shown = (await front.client.get("/v1/models/fake-1", headers=front.authorization)).json()
    assert set(shown["request_schema"]["properties"]) == KNOWN | FOREIGN
    assert set(shown["edit_schema"]["properties"]) == KNOWN | FOREIGN | {"image", "images", "image_urls", "mask"}


def test_what_cannot_be_seen_is_what_unicode_says():
    import re

    invisible = re.compile(f"[{INVISIBLE}]")
    wrong = [
        hex(number)
        for number in range(0x110000)
        if (chr(number).isspace() or unicodedata.category(chr(number)) == "Cf") and not invisible.fullmatch(chr(number))
    ]
    assert wrong == []
    assert [text for text in "aé漢🦦\u0301\u2800\ue000" if invisible.fullmatch(text)] == []


# --- sizes in a range -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "allowed", [SizeRange(48, 160, 16, 128 * 128), SizeRange(1, 40), SizeRange(100, 512, 64), SizeRange(8, 100, 8, 640)]
)
def test_the_pattern_has_exactly_the_sizes_of_the_range(allowed: SizeRange):
    validator = Draft202012Validator({"pattern": size_pattern(allowed)})
    for width in range(1, 180, 3 if allowed.multiple_of == 1 else 4):
        for height in range(1, 180, 4):
            assert validator.is_valid(f"{width}x{height}") == allowed.has(Size(width, height)), (width, height)


def test_a_range_that_is_too_fine_for_a_pattern_is_told_by_numbers():
    assert size_pattern(SizeRange(1, 4096)) == "^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$"


@pytest.mark.parametrize("numbers", [(0, 10), (20, 10), (10, 12, 7), (64, 128, 1, 64)])
def test_a_range_without_sizes_is_none(numbers: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"no (side|size)"):
        SizeRange(*numbers)


@pytest.mark.parametrize(
    ("size", "told"),
    [("144x112", ""), ("160x160", "48x48 to 160x160 in steps of 16, at most 16384 pixels"), ("50x48", "48")],
)
async def test_a_size_outside_the_range_is_refused_with_it(make_front: MakeFront, size: str, told: str):
    front = await make_front(SeveralModels())
    answer = await front.generate(model="ranged", size=size)
    assert answer.status_code == (422 if told else 200)
    assert told in answer.text


@pytest.mark.parametrize(("picture", "size"), [((400, 400), "64x64"), ((400, 200), "96x48"), ((100, 300), "48x112")])
async def test_an_edit_takes_the_size_of_the_range_most_like_its_picture(
    make_front: MakeFront, picture: tuple[int, int], size: str
):
    front = await make_front(SeveralModels())
    file = io.BytesIO()
    Image.new("RGB", picture).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    body = {"model": "ranged", "prompt": "x", "image": url, "dry_run": True}
    answer = await front.client.post("/v1/images/edits", json=body, headers=front.authorization)
    width, _, height = answer.json()["size"].partition("x")
    assert abs(int(width) / int(height) - picture[0] / picture[1]) < 0.5, answer.json()["size"]
    assert MODELS["ranged"].size_range.has(Size(int(width), int(height)))  # type: ignore[union-attr]
