"""Links lead somewhere, blocks can be read, and nothing that there is goes unmentioned."""

import inspect
import json
import re
import tomllib

import pytest
from pages import PAGES, ROOT, anchors, blocks, links, name_of

from pinxit.api.errors import STATUS_AND_TYPE
from pinxit.api.guard import GuardLimits
from pinxit.api.images import DANGEROUS, FOREIGN, KNOWN
from pinxit.cli.main import app
from pinxit.keys.model import DEFAULT_SCOPES, Scope

BLOCKS = [block for page in PAGES for block in blocks(page)]
WIRE = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
PLACES_OF_THIS_MACHINE = re.compile(r"/(?:work|root|home)/")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    broken = []
    for link in links(page):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_knows_where_it_was_written(page):
    assert PLACES_OF_THIS_MACHINE.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=str)
def test_json_is_json(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=str)
def test_toml_is_toml(block):
    tomllib.loads(block.text)


def test_every_block_says_what_it_is():
    assert [str(block) for block in BLOCKS if not block.language] == []


# --- wire.md ---


async def test_every_route_is_there(front):
    document = (await front.client.get("/openapi.json")).json()
    missing = []
    for path, operations in document["paths"].items():
        for method in operations:
            if not mentions(method.upper(), path):
                missing.append(f"{method.upper()} {path}")
    assert missing == []


def mentions(method: str, path: str) -> bool:
    """In a heading (`## GET, HEAD /image/{key}`) or in the table (`| GET `/v1/models` |`)."""
    heading = re.search(rf"^## (?=.*\b{method}\b)[A-Z, ]+ {re.escape(path)}$", WIRE, re.MULTILINE)
    row = re.search(rf"^\| {method} `{re.escape(path)}` \|", WIRE, re.MULTILINE)
    return heading is not None or row is not None


def test_every_route_needs_the_scope_that_the_table_says():
    """The table against the route table's own words."""
    from pinxit.api import routes

    source = inspect.getsource(routes.router)
    variables = dict(re.findall(r"(\w+) = Annotated\[Caller, holder_of\(Scope\.(\w+)\)\]", source))
    found = re.findall(r'@routes\.(\w+)\(\s*"([^"]+)"[^\n]*\)\s+async def \w+\(([^)]*)\)', source.replace(":id}", "}"))
    told = {(method, path): scope for method, path, scope in re.findall(r"^\| (\w+) `(/\S+)` \| (\S+) \|", WIRE, re.M)}
    assert len(found) >= 13
    for method, path, arguments in found:
        scope = next((Scope[name].value for variable, name in variables.items() if variable in arguments), None)
        wanted = "none" if scope is None else f"`{scope}`"
        assert told[method.upper(), path.replace(":path}", "}")] == wanted, path


def test_the_table_of_errors_is_the_table():
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", WIRE, re.MULTILINE))
    assert rows == {(str(status), type_) for status, type_ in STATUS_AND_TYPE.values()}


def test_every_field_is_there():
    assert [name for name in sorted(KNOWN) if f"`{name}" not in WIRE] == []


def test_fields_that_are_called_dangerous_or_foreign_are():
    (dangerous,) = re.findall(r"reveal a credential \(([^)…]*)…\)", WIRE)
    (foreign,) = re.findall(r"other image APIs \(([^)…]*)…\)", WIRE)
    assert set(re.findall(r"`(\w+)`", dangerous)) <= DANGEROUS
    assert set(re.findall(r"`(\w+)`", foreign)) <= FOREIGN


def test_the_scopes_are_there():
    assert [scope for scope in Scope if f"`{scope}`" not in WIRE] == []
    assert tuple(Scope)[:4] == DEFAULT_SCOPES


NOT_YET = [
    ({"strength": 0.5}, "strength"),
    ({"loras": ["a"]}, "loras"),
]


@pytest.mark.parametrize(("body", "param"), NOT_YET)
async def test_what_is_not_there_yet_is_said(front, body, param):
    refused = await front.generate(**body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, param)
    assert f"`{param}" in WIRE.partition("## Not yet")[2] or param in ("strength", "loras")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 404),
    ],
)
async def test_routes_that_are_not_there_yet(front, method, path, status):
    answer = await front.client.request(method, path, headers=front.authorization)
    assert answer.status_code == status
    assert re.sub(r"/(gen_\w+|txt2img)$", "", path) in WIRE.partition("## Not yet")[2]


# --- reliability.md ---


def test_the_limits_of_the_guard_are_true():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)`[^|]* \| (\d+) \|$", page, re.MULTILINE))
    assert len(told) == 8
    assert {name: float(value) for name, value in told.items()} == {
        name: float(getattr(GuardLimits(), name)) for name in told
    }


# --- cli.md ---


def commands(command, name="pinxit"):
    """Every command with its full name."""
    yield name, command
    for child, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {child}")


def test_every_command_and_every_option_is_there():
    from typer.main import get_command

    missing = []
    for name, command in commands(get_command(app)):
        heading = re.search(rf"^##+ {name}$", CLI, re.MULTILINE)
        if name != "pinxit" and heading is None:
            missing.append(name)
        section = CLI[heading.end() :] if heading else CLI
        section = re.split(r"^##+ ", section, maxsplit=1, flags=re.MULTILINE)[0] if heading else CLI
        common = CLI.partition("## pinxit serve")[0]
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("-") and f"`{option}`" not in section + common:
                    missing.append(f"{name} {option}")
    assert missing == []


# --- the decisions ---


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "decisions").glob("0*.md")), ids=name_of)
def test_a_decision_has_four_parts_and_is_in_the_list(page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == [
        "Context", "Decision", "Consequences", "Alternatives",
    ]  # fmt: skip
    assert text.startswith(f"# {int(page.name[:4])}. ")
    assert f"({page.name})" in (page.parent / "README.md").read_text(encoding="utf-8")


# --- the changelog, the licence ---


def test_fragments_have_a_kind():
    kinds = {"added", "changed", "fixed", "removed", "security"}
    for fragment in (ROOT / "changelog.d").iterdir():
        assert fragment.name == "README.md" or fragment.name.split(".")[1:] in [[kind, "md"] for kind in kinds]


def test_the_licence_is_the_whole_one():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text) == 11358
