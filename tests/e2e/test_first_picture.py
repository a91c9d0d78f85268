"""From nothing to the first picture, as the README tells it."""

import re
import subprocess
import time

import pytest
from running import environment, is_png, png_size, resident_mebibytes, serving

CURL = re.compile(r"^curl http.*?'\{.*?\}'$", re.MULTILINE | re.DOTALL)


def curl_of(text: str) -> str:
    found = CURL.search(text)
    assert found is not None
    return found[0]


def answer_to(command: str, folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=True
    )


@pytest.mark.system("curl")
def test_the_curl_of_the_readme(server, readme, tmp_path):
    """Verbatim, with only the address and the key replaced."""
    command = curl_of(readme).replace("http://127.0.0.1:8000", server.url).replace("<API_KEY>", server.key)
    answer = server.client.get("/health/live")  # the server may not have been asked anything before
    assert answer.json()["status"] == "live"

    (tmp_path / "answer.json").write_text(answer_to(command, tmp_path).stdout)
    picture = server.client.get(re.search(r'"url":"([^"]+)"', (tmp_path / "answer.json").read_text())[1])

    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    assert is_png(picture.content)
    assert min(png_size(picture.content)) >= 256


@pytest.mark.system("curl")
def test_what_the_server_prints_is_that_curl_with_the_key_in_it(server, readme, tmp_path):
    printed = curl_of(server.output)
    assert printed.replace(server.url, "http://127.0.0.1:8000").replace(server.key, "<API_KEY>") == curl_of(readme)
    assert '"url":"http' in answer_to(printed, tmp_path).stdout


def test_the_key_is_printed_once(tmp_path):
    with serving(tmp_path, wait_ready=False, fresh=True) as first:
        key = first.key
    with serving(tmp_path, key=key, wait_ready=False) as second:
        assert "sk-" not in second.output
        assert second.client.get("/v1/models", headers=second.authorization).status_code == 200
    assert key not in first.log + second.log
    assert key.encode() not in b"".join(file.read_bytes() for file in first.folder.glob("pinxit.db*"))


def test_how_quickly_and_how_small(tmp_path, capsys):
    """Measured and printed; the bounds are loose on purpose, machines differ."""
    with serving(tmp_path, wait_ready=False, fresh=True) as server:
        listens = time.monotonic() - server.started_at
        server.wait_ready()
        ready = time.monotonic() - server.started_at
        resident = resident_mebibytes(server.pid)
        begun = time.monotonic()
        assert server.generate(size="512x512").status_code == 200
        first = time.monotonic() - begun
        seconds = []
        for seed in range(5):
            begun = time.monotonic()
            assert server.generate(size="512x512", seed=seed).status_code == 200
            seconds.append(time.monotonic() - begun)
        after = resident_mebibytes(server.pid)
        painter = resident_mebibytes(server.painter_pid)
    with capsys.disabled():
        print(
            f"\n  listens after {listens:.2f} s, ready after {ready:.2f} s; API process {resident:.0f} MiB idle, "
            f"{after:.0f} MiB after six orders, painter {painter:.0f} MiB; first order {first * 1000:.0f} ms, "
            f"then {min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f} ms (512x512, 8 steps)"
        )
    assert resident <= 140
