"""docs/configuration.md and pinxit.example.yaml say what the code does."""

import re
from pathlib import Path

import pytest

from pinxit.errors import ConfigurationError
from pinxit.settings import ModelParams, OidcEntry, SettingDescription, describe_settings, load_settings
from pinxit.settings.loading import NOT_SETTINGS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
YAML_BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def row_of(setting: SettingDescription) -> str:
    return (
        f"| `{setting.name}` | `{setting.environment_name}` | {setting.type_text} "
        f"| `{setting.default_text}` | {setting.description} |"
    )


def test_the_table_has_exactly_the_settings():
    """A difference here is mended by writing the expected rows into the table."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| `") and "`PINXIT_" in line]
    assert rows == [row_of(setting) for setting in describe_settings()]


def test_the_table_of_params_is_complete():
    section = PAGE.partition("### model_list")[2].partition("### aliases")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(ModelParams.model_fields)


def test_the_table_of_the_provider_to_sign_in_by_is_complete():
    section = PAGE.partition("### oidc")[2].partition("## Secrets")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(OidcEntry.model_fields)


def test_variables_that_are_no_settings_are_named():
    assert [variable for variable in NOT_SETTINGS if f"`{variable}`" not in PAGE] == []


@pytest.mark.parametrize("block", YAML_BLOCKS)
def test_the_examples_load(block, tmp_path):
    """What an example needs of the environment, it says in a comment."""
    path = tmp_path / "pinxit.yaml"
    path.write_text(block, encoding="utf-8")
    environ = dict(re.findall(r"^# environment: (\w+)=(.*)$", block, re.MULTILINE))
    assert load_settings(path, environ) != load_settings(environ={})


def test_there_are_examples():
    assert len(YAML_BLOCKS) >= 4


def test_the_example_file_loads():
    settings = load_settings(ROOT / "pinxit.example.yaml", {})
    assert (settings.data_dir, settings.port) == (ROOT / "data", 8000)
    assert [entry.model_name for entry in settings.model_list] == ["icons"]


def test_what_the_example_file_leaves_out_loads_too(tmp_path):
    text = (ROOT / "pinxit.example.yaml").read_text(encoding="utf-8")
    path = tmp_path / "pinxit.yaml"
    path.write_text(re.sub(r"^  # (\w+: )", r"  \1", text, flags=re.MULTILINE), encoding="utf-8")
    settings = load_settings(path, {})
    assert (settings.host, settings.signed_urls) == ("0.0.0.0", True)
    assert settings.moderation_words_file == tmp_path / "words.txt"


def test_the_errors_on_the_page_are_real(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pinxit.yaml").write_text("settings:\n" + "\n" * 10 + "  port: 99999\n\n  prot: 1\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={"PINXIT_LOG_LEVEL": "loud"})
    (shown,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert sorted(str(caught.value).splitlines()) == sorted(shown.splitlines())
