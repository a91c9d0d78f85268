"""docs/clients.md is what `make test-clients` writes when every client passes, with the pins and programs of now."""

import re
import sys

from pages import ROOT

sys.path.append(str(ROOT / "tests" / "clients"))
from page import write_page
from registry import PAGE, clients


def test_the_page_is_of_these_clients_and_all_of_them_passed():
    passed = {client.name: dict.fromkeys(client.exercises, True) for client in clients()}
    assert PAGE.read_text(encoding="utf-8") == write_page(passed), "make test-clients writes it"


def test_what_failed_would_be_seen():
    failed = {client.name: dict.fromkeys(client.exercises, False) for client in clients()}
    assert len(re.findall(r"^\| \[.*\| no: .* \|$", write_page(failed), re.MULTILINE)) == len(clients())


def test_every_folder_with_a_program_is_a_client():
    programs = {file.parent.name for file in (ROOT / "tests" / "clients").glob("*/exercise.*")}
    assert programs == {client.name for client in clients()}
    assert all(client.exercises and client.configuration for client in clients())


def test_pins_are_exact_and_know_no_address():
    for pins in (ROOT / "tests" / "clients").glob("*/[rp]*.*"):
        if pins.parent.name == "__pycache__":
            continue
        text = pins.read_text(encoding="utf-8")
        assert '"resolved"' not in text, pins
        assert "--index-url" not in text, pins
        if pins.name == "package.json":
            assert re.findall(r'"[^"]+": "[\^~>*]', text) == [], pins
        if pins.name == "requirements.txt":
            assert text.count("==") <= text.count("--hash=sha256:"), pins
