"""GET and HEAD /image/{key}: addresses, ranges, validators, content types."""

import pytest

from front import Front, MakeFront

FOREVER = "private, max-age=31536000, immutable"


async def painted(front: Front, **body: object) -> str:
    """The URL of a new picture."""
    return (await front.generate(**body)).json()["data"][0]["url"]


@pytest.mark.parametrize("encoding", ["png", "jpeg", "webp"])
async def test_the_content_type_is_the_encoding_s(wire: Front, encoding: str):
    url = await painted(wire, output_format=encoding)
    assert url.endswith(f".{encoding}")
    response = await wire.client.get(url)
    assert response.headers["content-type"] == f"image/{encoding}"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "default-src 'none'; sandbox"


async def test_head_says_what_get_says(wire: Front):
    url = await painted(wire)
    get, head = await wire.client.get(url), await wire.client.head(url)
    assert head.content == b""
    assert {**get.headers, "x-request-id": ""} == {**head.headers, "x-request-id": ""}
    assert int(head.headers["content-length"]) == len(get.content)


async def test_a_slash_and_its_code_both_work(wire: Front):
    url = await painted(wire)
    assert "%2F" in url
    whole = (await wire.client.get(url)).content
    for spelling in ("/", "%2f"):
        assert (await wire.client.get(url.replace("%2F", spelling))).content == whole


async def test_a_key_is_not_needed_and_ignored(wire: Front):
    url = await painted(wire)
    for key in ("Bearer sk-" + "x" * 43, wire.key, "", "Basic eDp5"):
        assert (await wire.client.get(url, headers={"Authorization": key})).status_code == 200


async def test_a_query_does_not_matter_without_signatures(wire: Front):
    assert (await wire.client.get(await painted(wire) + "?download=1&x=%ff")).status_code == 200


async def test_a_picture_without_signature_may_be_kept_for_ever(wire: Front):
    assert (await wire.client.get(await painted(wire))).headers["cache-control"] == FOREVER


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100-", 100, None),
        ("bytes=-7", -7, None),
        ("bytes=5-99999999", 5, None),
        ("bytes=-99999999", 0, None),
        (" bytes=0-9 ", 0, 10),
    ],
)
async def test_one_range(wire: Front, asked: str, start: int, end: int | None):
    url = await painted(wire)
    whole = (await wire.client.get(url)).content
    part = await wire.client.get(url, headers={"Range": asked})
    assert (part.status_code, part.content) == (206, whole[start:end])
    first = start % len(whole)
    assert part.headers["content-range"] == f"bytes {first}-{first + len(part.content) - 1}/{len(whole)}"
    assert int(part.headers["content-length"]) == len(part.content)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=99999999-99999999", "bytes=-0", "bytes=99999-100000"])
async def test_a_range_beyond_the_end_is_416(wire: Front, asked: str):
    url = await painted(wire)
    whole = (await wire.client.get(url)).content
    response = await wire.client.get(url, headers={"Range": asked})
    assert (response.status_code, response.content) == (416, b"")
    assert response.headers["content-range"] == f"bytes */{len(whole)}"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-1,3-4",
        "bytes=0-1, -1",
        "bytes=5-2",
        "bytes=-",
        "bytes=",
        "bytes",
        "lines=0-1",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=٣-٤",
        "bytes=1-2-3",
        "bytes=" + "9" * 19 + "-",
        "bytes=" + "0-1," * 1000 + "0-1",
    ],
)
async def test_several_ranges_and_nonsense_are_answered_whole(wire: Front, asked: str):
    url = await painted(wire)
    response = await wire.client.get(url, headers={"Range": asked.encode()})
    assert response.status_code == 200
    assert "content-range" not in response.headers
    assert len(response.content) == int(response.headers["content-length"])


async def test_if_range(wire: Front):
    url = await painted(wire)
    etag = (await wire.client.head(url)).headers["etag"]
    for validator, status in ((etag, 206), ('"another"', 200), ("Sun, 22 Nov 2026 00:00:00 GMT", 200)):
        headers = {"Range": "bytes=0-9", "If-Range": validator}
        assert (await wire.client.get(url, headers=headers)).status_code == status


async def test_what_the_client_has_is_304(wire: Front):
    url = await painted(wire)
    etag = (await wire.client.head(url)).headers["etag"]
    for known in (etag, f"W/{etag}", f'"a", {etag} ,"b"', "*"):
        response = await wire.client.get(url, headers={"If-None-Match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize("known", ['"another"', "", "x", '"*"'])
async def test_what_it_does_not_have_is_sent(wire: Front, known: str):
    assert (await wire.client.get(await painted(wire), headers={"If-None-Match": known})).status_code == 200


async def test_equal_pictures_have_equal_etags(wire: Front):
    etags = [(await wire.client.head(await painted(wire, seed=1))).headers["etag"] for _ in range(2)]
    assert etags[0] == etags[1]


async def test_a_deleted_picture_is_404_as_one_that_never_was(wire: Front):
    datum = (await wire.generate()).json()["data"][0]
    await wire.client.delete(f"/v1/images/{datum['id']}", headers=wire.authorization)
    gone = await wire.client.get(datum["url"])
    never = await wire.client.get("/image/generated%2Fpinxit_00000000-0000-4000-8000-000000000000.png")
    assert (gone.status_code, gone.content) == (never.status_code, never.content) == (404, never.content)
    assert wire.files() == []
    assert (await wire.client.delete(f"/v1/images/{datum['id']}", headers=wire.authorization)).status_code == 404


# --- where addresses point ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost"),
        ("LOCALHOST:9", "http://LOCALHOST:9"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("evil.example", "http://127.0.0.1:8000"),
        ("localhost.evil.example", "http://127.0.0.1:8000"),
        ("localhost:80@evil.example", "http://127.0.0.1:8000"),
        ("localhost:999999", "http://127.0.0.1:8000"),
        ("localhost/x", "http://127.0.0.1:8000"),
        ("localhost#", "http://127.0.0.1:8000"),
        ("", "http://127.0.0.1:8000"),
    ],
)
async def test_a_url_points_to_an_allowed_host_or_to_the_bound_address(wire: Front, host: str, base: str):
    response = await wire.generate({"Host": host})
    assert response.json()["data"][0]["url"].startswith(f"{base}/image/")


async def test_forwarded_headers_of_anybody_do_not_count(wire: Front):
    response = await wire.generate({"X-Forwarded-Host": "localhost:1", "X-Forwarded-Proto": "https"})
    assert response.json()["data"][0]["url"].startswith("http://127.0.0.1:8000/image/")


async def test_those_of_a_trusted_proxy_do(make_front: MakeFront):
    front = await make_front(trusted_proxies=("127.0.0.1",), allowed_hosts=("pictures.example.com",))
    response = await front.generate({"X-Forwarded-Host": "pictures.example.com", "X-Forwarded-Proto": "https"})
    assert response.json()["data"][0]["url"].startswith("https://pictures.example.com/image/")
    response = await front.generate({"X-Forwarded-Host": "pictures.example.com", "X-Forwarded-Proto": "javascript"})
    assert response.json()["data"][0]["url"].startswith("http://127.0.0.1:8000/image/")


async def test_the_public_url_beats_them_all(make_front: MakeFront):
    front = await make_front(public_url="https://pictures.example.com/pinxit")
    response = await front.generate({"Host": "localhost"})
    assert response.json()["data"][0]["url"].startswith("https://pictures.example.com/pinxit/image/generated%2F")
