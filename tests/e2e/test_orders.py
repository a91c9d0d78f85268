"""Orders on a real server with the real painter."""

import base64
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from running import eventually, find_painter, is_png, png_size

from pinxit.ids import new_id


def test_four_pictures_are_four_different_ones(server):
    data = server.generate(n=4, response_format="b64_json").json()["data"]
    pictures = [base64.b64decode(datum["b64_json"], validate=True) for datum in data]
    assert all(is_png(picture) for picture in pictures)
    assert len(set(pictures)) == 4
    assert [datum["url"] for datum in data] == [""] * 4
    seeds = [datum["seed"] for datum in data]
    assert seeds == [(seeds[0] + place) % 2**32 for place in range(4)]


def test_the_same_seed_paints_the_same_bytes_alone_and_in_company(server):
    def paint(**body):
        return [datum["b64_json"] for datum in server.generate(response_format="b64_json", **body).json()["data"]]

    alone = paint(seed=7)
    assert paint(seed=7) == alone
    assert paint(seed=6, n=3)[1] == alone[0]
    with ThreadPoolExecutor(3) as threads:
        others = [threads.submit(paint, seed=seed, prompt="a green tree") for seed in (1, 2)]
        assert threads.submit(paint, seed=7).result() == alone
        assert len({other.result()[0] for other in others} | set(alone)) == 3


def test_a_url_leads_to_the_picture_and_needs_no_key(server):
    answer = server.generate(size="1024x1536")
    datum = answer.json()["data"][0]
    assert datum["b64_json"] == ""
    assert datum["url"].startswith(f"{server.url}/image/generated%2Fpinxit_")
    for address in (datum["url"], datum["url"].replace("%2F", "/")):
        picture = server.client.get(address)
        assert (picture.status_code, png_size(picture.content)) == (200, (1024, 1536))
    assert answer.headers["x-pinxit-model"] == "otter-1"


def test_a_client_that_names_its_order_can_watch_it(server):
    name = new_id("gen")
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(server.generate, {"x-pinxit-generation": name}, n=4, num_inference_steps=20)
        seen = eventually(lambda: under_way(server, name), "the order to be under way")
        assert 0 < seen["progress"]["step"] <= seen["progress"]["steps"] == 80
        assert answer.result().headers["x-pinxit-generation"] == name
    assert server.find_generation(name)["status"] == "completed"
    again = server.generate({"x-pinxit-generation": name})
    assert (again.status_code, again.json()["error"]["param"]) == (409, "x-pinxit-generation")


def test_a_painter_that_is_killed_costs_time_and_no_picture(server):
    """kill -9 in the middle of an order: the API stays up, another painter paints the order again."""
    name, killed = new_id("gen"), server.painter_pid
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(server.generate, {"x-pinxit-generation": name}, n=2, seed=1, num_inference_steps=24)
        eventually(lambda: under_way(server, name), "the order to be under way")
        os.kill(killed, signal.SIGKILL)
        assert server.client.get("/health/live").status_code == 200
        assert answer.result().status_code == 200
    assert find_painter(server.pid) not in (0, killed)
    undisturbed = server.generate(n=2, seed=1, num_inference_steps=24)
    assert [sha256_of(server, datum) for datum in answer.result().json()["data"]] == [
        sha256_of(server, datum) for datum in undisturbed.json()["data"]
    ]


def test_a_client_that_hangs_up_loses_its_answer_and_not_its_picture(server):
    name = new_id("gen")
    with pytest.raises(httpx2.TimeoutException):
        server.client.post(
            "/v1/images/generations",
            json={"prompt": "a red apple", "num_inference_steps": 50},
            headers=server.authorization | {"x-pinxit-generation": name},
            timeout=0.2,
        )
    order = eventually(lambda: completed(server, name), "the order to be completed")
    assert is_png(server.client.get(order["images"][0]["url"]).content)


def completed(server, name):
    found = server.find_generation(name)
    return found if found and found["status"] == "completed" else None


def sha256_of(server, datum):
    return server.client.get(f"/v1/images/{datum['id']}", headers=server.authorization).json()["sha256"]


def under_way(server, name):
    """The order once its first step is done, before its last."""
    found = server.find_generation(name)
    return found if found and found["status"] == "in_progress" and found["progress"]["step"] > 0 else None
