"""What keeps a server from starting is said in one sentence, with what to do, and exit status 1."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from running import eventually, pinxit, serving

import pinxit_otter


def refusal(result) -> str:
    """The one sentence."""
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("pinxit: ")
    assert line[-1] in ".?"
    return line


def test_a_second_server_on_the_same_folder(server, tmp_path):
    said = refusal(pinxit("serve", "--port", "0", "--data-dir", str(server.folder), cwd=tmp_path))
    assert f"process {server.pid}" in said
    assert "--data-dir" in said
    assert server.generate().status_code == 200


def test_a_port_that_is_taken(server, tmp_path):
    said = refusal(pinxit("serve", "--port", str(server.port), cwd=tmp_path))
    assert f"Port {server.port}" in said
    assert "--port" in said


def test_an_address_that_is_not_ours(tmp_path):
    assert "--host" in refusal(pinxit("serve", "--port", "0", "--host", "192.0.2.1", cwd=tmp_path))


def test_a_host_that_is_not_known(tmp_path):
    assert "no-such.invalid" in refusal(pinxit("serve", "--port", "0", "--host", "no-such.invalid", cwd=tmp_path))


@pytest.mark.parametrize("folder", ["file", "file/data", "/proc/pinxit"])
def test_a_data_folder_that_cannot_be_written(tmp_path, folder):
    (tmp_path / "file").write_text("in the way")
    said = refusal(pinxit("serve", "--port", "0", "--data-dir", str(tmp_path / folder), cwd=tmp_path))
    assert "PINXIT_DATA_DIR" in said


def test_a_database_that_is_none(tmp_path):
    (tmp_path / "pinxit.db").write_bytes(b"not a database" * 1000)
    assert "pinxit.db" in refusal(pinxit("serve", "--port", "0", "--data-dir", str(tmp_path), cwd=tmp_path))


def test_a_configuration_that_is_wrong(tmp_path):
    (tmp_path / "pinxit.yaml").write_text("settings:\n  prot: 1\n")
    assert "pinxit.yaml:2: settings.prot" in refusal(pinxit("serve", cwd=tmp_path))


def test_several_workers_on_sqlite(tmp_path):
    result = pinxit("serve", "--workers", "2", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line == (
        "pinxit: --workers: must be 1 unless database_url names a PostgreSQL database: SQLite serves one process, not 2"
    )


@pytest.fixture
def other_otter(tmp_path):
    """A copy of the model's package whose weights can be harmed; returns it and the environment that puts it first."""
    package = tmp_path / "lib" / "pinxit_otter"
    source = Path(pinxit_otter.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    (package / "weights").mkdir()
    for file in (source / "weights").iterdir():
        (package / "weights" / file.name).symlink_to(file)
    path = os.pathsep.join(filter(None, (str(package.parent), os.environ.get("PYTHONPATH"))))
    return package / "weights", {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def replace(file: Path, data: bytes) -> None:
    file.unlink()
    file.write_bytes(data)


def test_a_weight_file_that_is_missing(other_otter, tmp_path):
    weights, environ = other_otter
    (weights / "denoiser.onnx").unlink()
    said = refusal(pinxit("serve", "--port", "0", cwd=tmp_path, environ=environ))
    assert "denoiser.onnx" in said
    assert "missing" in said


def test_a_weight_file_that_is_cut_short(other_otter, tmp_path):
    weights, environ = other_otter
    whole = (weights / "decoder.onnx").read_bytes()
    replace(weights / "decoder.onnx", whole[:-1])
    said = refusal(pinxit("serve", "--port", "0", cwd=tmp_path, environ=environ))
    assert f"{len(whole) - 1} bytes instead of {len(whole)}" in said


def test_a_weight_file_with_one_wrong_bit(other_otter, tmp_path):
    """Found when the painter loads it: the server is up and says why it cannot paint."""
    weights, environ = other_otter
    damaged = bytearray((weights / "decoder.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    replace(weights / "decoder.onnx", bytes(damaged))
    with serving(tmp_path / "server", environ=environ, wait_ready=False) as server:
        painter = eventually(lambda: failed_painter(server), "the painter to fail")
        assert "decoder.onnx" in painter["reason"]
        refused = server.generate()
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "upstream_unavailable")
        assert "decoder.onnx" in refused.json()["error"]["message"]
    assert "decoder.onnx" in refusal(pinxit("generate", "a lemon", cwd=tmp_path, environ=environ))


def failed_painter(server):
    painter = server.client.get("/health/ready").json()["backends"]["otter"]
    return painter if painter["status"] == "failed" else None


def test_a_disk_that_is_too_full_refuses_orders(tmp_path):
    with serving(tmp_path, environ={"PINXIT_MIN_FREE_DISK_BYTES": str(10**18)}, wait_ready=False) as server:
        refused = server.generate()
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "storage_unavailable")
        assert refused.headers["retry-after"] == "5"
        assert server.generate(store=False, response_format="b64_json").status_code == 200
        assert server.picture_files() == set()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB; only root can mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.system("mount", "umount")
def test_a_disk_that_runs_full_and_is_emptied(small_disk, tmp_path):
    """Nothing is lost, the server stays up, and goes on by itself once there is room again."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "data").symlink_to(small_disk, target_is_directory=True)
    with serving(tmp_path / "server", environ={"PINXIT_MIN_FREE_DISK_BYTES": "0"}) as server:
        kept = server.generate().json()["data"][0]["url"]
        fill(small_disk / "filler")
        refused = server.generate(size="1024x1024")
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "storage_unavailable")
        assert server.client.get(kept).status_code == 200
        (small_disk / "filler").unlink()
        eventually(lambda: server.generate().status_code == 200, "orders to be kept again")
        assert not [name for name in server.picture_files() if name.endswith(".part")]
    assert "Traceback" not in server.log


def test_a_signing_secret_that_is_damaged(tmp_path):
    (tmp_path / "signing.key").write_bytes(b"short")
    assert "signing.key" in refusal(pinxit("serve", "--port", "0", "--data-dir", str(tmp_path), cwd=tmp_path))


@pytest.mark.system("mount", "umount")
def test_a_disk_that_is_full_from_the_start(small_disk, tmp_path):
    fill(small_disk / "filler")
    said = refusal(pinxit("serve", "--port", "0", "--data-dir", str(small_disk / "data"), cwd=tmp_path))
    assert "is full" in said
    (small_disk / "filler").unlink()
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "data").symlink_to(small_disk / "data", target_is_directory=True)
    with serving(tmp_path / "server", wait_ready=False, environ={"PINXIT_MIN_FREE_DISK_BYTES": "0"}) as server:
        assert server.client.get("/v1/models", headers=server.authorization).status_code == 200


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with file.open("ab", buffering=0) as filler:
        for size in (2**16, 2**12, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue
