"""Bodies for the doors of other APIs, changed somewhere inside: each gets an answer of the contract, and none a 500.

PINXIT_TEST_FUZZ_DOORS is how many (1200); PINXIT_TEST_FUZZ_SEED replays the one that a failure names.
"""

import base64
import json
import os
from collections import Counter
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from mutations import encode
from test_mutations import SmallBackend, check_house, quiet

from asgi import Answer, call
from front import Front, MakeFront

EXAMPLES = int(
    os.environ.get("PINXIT_TEST_FUZZ_DOORS", "20000" if os.environ.get("PINXIT_TEST_LONG") == "1" else "1200")
)
ONLY = os.environ.get("PINXIT_TEST_FUZZ_SEED")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
DATA_URL = f"data:image/png;base64,{PIXEL}"

__all__ = ["quiet"]

BODIES: list[tuple[bytes, dict[str, Any]]] = [
    (
        b"/v1/responses",
        {
            "model": "gpt-5",
            "input": [
                {"role": "system", "content": "Be brief."},
                {"type": "image_generation_call", "id": "ig_1", "result": PIXEL},
                {
                    "role": "user",
                    "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": DATA_URL}],
                },
            ],
            "tools": [{"type": "image_generation", "quality": "low", "n": 1, "partial_images": 1, "action": "auto"}],
            "tool_choice": {"type": "image_generation"},
            "metadata": {"a": "b"},
            "temperature": 1,
            "stream": False,
        },
    ),
    (
        b"/v1/chat/completions",
        {
            "model": "fake-1",
            "messages": [
                {"role": "assistant", "content": "", "images": [{"type": "image_url", "image_url": {"url": DATA_URL}}]},
                {"role": "user", "content": [{"type": "text", "text": "x"}]},
            ],
            "modalities": ["image", "text"],
            "image_config": {"quality": "low", "image_size": "256x256", "strength": 0.5},
            "stream": True,
            "stream_options": {"include_usage": True},
            "usage": {"include": True},
            "seed": 1,
        },
    ),
    (
        b"/sdapi/v1/txt2img",
        {
            "prompt": "x",
            "negative_prompt": "y",
            "width": 256,
            "height": 256,
            "steps": 2,
            "cfg_scale": 7,
            "seed": -1,
            "batch_size": 1,
            "n_iter": 1,
            "override_settings": {"sd_model_checkpoint": "fake-1"},
            "sampler_name": "Euler",
            "enable_hr": False,
        },
    ),
    (
        b"/sdapi/v1/img2img",
        {
            "prompt": "x",
            "init_images": [PIXEL],
            "mask": PIXEL,
            "inpainting_mask_invert": 1,
            "denoising_strength": 0.5,
            "steps": 2,
        },
    ),
    (b"/sdapi/v1/options", {"sd_model_checkpoint": "fake-1", "samples_format": "png"}),
]
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 2**31, 2**64, 1e300, 0.5, [], {}, [[]], [{}], {"type": "image_generation"},
    "", "x", "\x00", "\ud800", "é\r\n", "a" * 3000, "image_generation", "user", DATA_URL, PIXEL, "http://127.0.0.1:9/",
    "resp_" + "0" * 32, "ig_" + "0" * 34, "auto", "256x256", "-0x1", "1:1",
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something could be changed."""
    found = [path] if path else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += places(inner, (*path, key))
    return found


def changed(random: Random, body: dict[str, Any]) -> dict[str, Any]:
    made = deepcopy(body)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        found = places(made)
        if not found:
            break
        *way, last = random.choice(found)
        holder = made
        for key in way:
            holder = holder[key]
        match random.randrange(5):
            case 0:
                del holder[last]
            case 1 if isinstance(holder, dict):
                holder[random.choice(["extra", "api_base", "é", "a\r\nb", "stream", "model", "type"])] = holder.pop(
                    last
                )
            case 2:
                holder[last] = [holder[last], random.choice(VALUES)]
            case _:
                holder[last] = random.choice(VALUES)
    return made


@pytest.mark.timeout(3600)
async def test_every_changed_body_gets_an_answer_of_the_contract(make_front: MakeFront):
    front = await make_front(SmallBackend())
    statuses: Counter[int] = Counter()
    for seed in [int(ONLY)] if ONLY else range(EXAMPLES):
        random = Random(seed)
        path, body = random.choice(BODIES)
        sent = changed(random, body)
        try:
            answer = await send(front, path, sent)
            check(answer)
        except Exception as error:
            raise AssertionError(f"replay with PINXIT_TEST_FUZZ_SEED={seed}: {path!r} {sent}") from error
        statuses[answer.status] += 1
    if not ONLY:
        assert {200, 400, 404, 422} <= set(statuses), statuses
    await check_house(front)


async def send(front: Front, path: bytes, body: dict[str, Any]) -> Answer:
    authorization = f"Basic {base64.b64encode(front.key.encode()).decode()}" if path[:3] == b"/sd" else front.key
    headers = [(b"authorization", authorization.encode()), (b"content-type", b"application/json")]
    return await call(front.app, "POST", path, headers, encode(body))


def check(answer: Answer) -> None:
    """Raises AssertionError, or what fails first, unless the answer is one of the contract."""
    assert answer.status < 500, answer
    assert not any(character in value for value in answer.headers.values() for character in "\r\n\0")
    if answer.headers["content-type"] == "text/event-stream":
        assert b'"error":{' not in answer.body
        return
    content = json.loads(answer.body)
    if answer.status >= 400:
        assert content["error"]["code"] == answer.status
        assert len(answer.body) < 2000, "it says too much"
