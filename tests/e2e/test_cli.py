"""The installed program at work: painting with and without a server, keys, models, configuration."""

import json
import os
import pty
import re
import subprocess
import time

import pytest
from PIL import Image
from running import PINXIT, environment, eventually, is_png, pinxit


def done(result) -> str:
    """Standard output of a command that went well."""
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_generate_paints_here(tmp_path):
    wanted = ("generate", "a red apple", "-o", "apple.png", "--seed", "1", "--size", "256x256", "--background")
    said = done(pinxit(*wanted, "transparent", cwd=tmp_path, fresh=True))
    assert said == "apple.png  (seed 1)\n"
    with Image.open(tmp_path / "apple.png") as picture:
        assert (picture.mode, picture.size) == ("RGBA", (256, 256))
    assert [file.suffix for file in (tmp_path / "data" / "pictures").rglob("*.*")] == [".png"]


def test_generate_beside_a_server_and_by_it(server, tmp_path):
    """The same folder, the same key, the same pixels; the server knows both pictures."""
    wanted = ("generate", "a red apple", "--seed", "1", "-n", "2", "--json")
    here = json.loads(done(pinxit(*wanted, "-o", "here.png", "--data-dir", str(server.folder), cwd=tmp_path)))
    environ = {"PINXIT_URL": server.url, "PINXIT_API_KEY": server.key}
    there = json.loads(done(pinxit(*wanted, "-o", "there.png", cwd=tmp_path, environ=environ)))
    assert [image["file"] for image in here["images"]] == ["here-1.png", "here-2.png"]
    assert [image["seed"] for image in there["images"]] == [1, 2]
    for number in (1, 2):
        painted = (tmp_path / f"here-{number}.png").read_bytes()
        assert is_png(painted)
        assert (tmp_path / f"there-{number}.png").read_bytes() == painted
    assert server.find_generation(here["generation"])["status"] == "completed"
    assert server.find_generation(there["generation"])["status"] == "completed"


def test_generate_says_what_otter_1_does_not_know(server, tmp_path):
    """On standard error, and the picture is painted all the same."""
    environ = {"PINXIT_URL": server.url, "PINXIT_API_KEY": server.key}
    wanted = ("generate", "quarterly revenue spreadsheet", "-o", "it.png", "--seed", "1", "--json")
    result = pinxit(*wanted, cwd=tmp_path, environ=environ)
    assert result.returncode == 0
    kept = server.find_generation(json.loads(result.stdout)["generation"])["familiarity"]
    assert kept["known"] is False
    nearest = f"the nearest thing it knows is “{kept['nearest']}” ({kept['similarity']:.2f})."
    assert result.stderr == f"otter-1 does not know this well; {nearest}\n"
    assert is_png((tmp_path / "it.png").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "123x45"), "Allowed:"),
        (("--model", "no-such"), "no-such"),
        (("-o", "apple.gif"), ".webp"),
        (("-o", "apple.jpg", "--background", "transparent"), "transparent"),
        (("-o", "no/such/folder.png"), "no/such"),
        (("--server", "http://127.0.0.1:9", "--api-key", "sk-x"), "127.0.0.1:9"),
        (("--server", "http://127.0.0.1:9"), "PINXIT_API_KEY"),
    ],
)
def test_generate_refuses_in_one_sentence(tmp_path, arguments, said):
    result = pinxit("generate", "a red apple", *arguments, cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("pinxit: ")
    assert said in line


def test_generate_repeats_what_the_server_says(server, tmp_path):
    arguments = ("generate", "a red apple", "--server", server.url, "--api-key", "sk-" + "x" * 43)
    assert "The server refused (401)" in pinxit(*arguments, cwd=tmp_path).stderr


@pytest.mark.parametrize("by_server", [False, True])
def test_the_progress_bar_counts_the_true_steps(server, tmp_path, by_server):
    """On a terminal; two pictures of 24 steps are 48."""
    shown = on_a_terminal(
        ["generate", "a red apple", "-n", "2", "--steps", "24", "--data-dir", str(tmp_path / "data")],
        tmp_path,
        {"PINXIT_URL": server.url, "PINXIT_API_KEY": server.key} if by_server else {},
    )
    counted = [(int(step), int(steps)) for step, steps in re.findall(r"(\d+)/(\d+) steps", shown)]
    assert {steps for _, steps in counted} == {48}
    assert counted == sorted(counted)
    assert len({step for step, _ in counted if step > 0}) >= 2
    assert len(re.findall(r"\(seed \d+\)", shown)) == 2


def on_a_terminal(arguments, folder, environ) -> str:
    """Everything the program writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(PINXIT), *arguments],
        cwd=folder,
        env=environment(TERM="xterm", COLUMNS="120", **environ),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def test_keys_while_a_server_runs(server, tmp_path):
    folder = ("--data-dir", str(server.folder))
    made = json.loads(done(pinxit("keys", "create", "--name", "guest", *folder, "--json", cwd=tmp_path)))
    asked = {"Authorization": made["key"]}
    assert server.client.get("/v1/models", headers=asked).status_code == 200

    listed = json.loads(done(pinxit("keys", "list", *folder, "--json", cwd=tmp_path)))
    assert (listed[0]["id"], listed[0]["state"], "key" in listed[0]) == (made["id"], "valid", False)
    assert made["id"] in done(pinxit("keys", "list", *folder, cwd=tmp_path))

    done(pinxit("keys", "revoke", made["id"], *folder, cwd=tmp_path))
    revoked_at = time.monotonic()
    eventually(lambda: server.client.get("/v1/models", headers=asked).status_code == 401, "the key to be refused", 1.0)
    assert time.monotonic() - revoked_at <= 1.0
    listed = json.loads(done(pinxit("keys", "list", *folder, "--json", cwd=tmp_path)))
    assert listed[0]["state"] == "revoked"


def test_a_key_can_be_revoked_by_showing_it(server, tmp_path):
    folder = ("--data-dir", str(server.folder))
    key = done_with_note(pinxit("keys", "create", *folder, cwd=tmp_path)).strip()
    assert "is revoked" in done(pinxit("keys", "revoke", key, *folder, cwd=tmp_path))
    said = pinxit("keys", "revoke", "key_" + "0" * 32, *folder, cwd=tmp_path)
    assert (said.returncode, said.stdout) == (1, "")


def done_with_note(result) -> str:
    assert result.returncode == 0
    assert "not shown again" in result.stderr
    return result.stdout


def test_models(tmp_path):
    (otter,) = json.loads(done(pinxit("models", "--json", cwd=tmp_path)))
    assert otter["id"] == "otter-1"
    assert "gpt-image-1" in otter["aliases"]
    assert "otter-1" in done(pinxit("models", cwd=tmp_path))
    assert json.loads(done(pinxit("models", "dall-e-3", cwd=tmp_path)))["request_schema"]["required"] == ["prompt"]
    assert not (tmp_path / "data").exists()


def test_config_check(tmp_path):
    assert "otter-1" in done(pinxit("config", "check", cwd=tmp_path))
    (tmp_path / "bad.yaml").write_text("settings:\n  port: 99999\n  prot: 1\naliases:\n  a: 1\n")
    wrong = pinxit("config", "check", "bad.yaml", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "bad.yaml:2: settings.port" in wrong.stderr
    assert "bad.yaml:3: settings.prot" in wrong.stderr
    (tmp_path / "no-model.yaml").write_text("aliases:\n  a: no-such\n")
    assert "no-such" in pinxit("config", "check", "no-model.yaml", cwd=tmp_path).stderr


def test_help_and_version(tmp_path):
    assert done(pinxit("--version", cwd=tmp_path, fresh=True)).startswith("pinxit 0.")
    help_ = done(pinxit("--help", cwd=tmp_path, fresh=True))
    for command in ("serve", "generate", "models", "keys", "config"):
        assert command in help_
    assert "create" in done(pinxit("keys", "--help", cwd=tmp_path))


@pytest.mark.system("bash")
def test_completion_for_the_shell(tmp_path):
    result = subprocess.run(
        ["bash", "-c", f"{PINXIT} --show-completion; exit $?"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "_PINXIT_COMPLETE" in result.stdout
