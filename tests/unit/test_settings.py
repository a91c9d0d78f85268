"""Settings: where they come from, which source wins, and that every mistake is named with its place."""

import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from pinxit.errors import ConfigurationError
from pinxit.images.request import Delivery
from pinxit.settings import Settings, describe_settings, load_settings

MODEL = "model_list:\n  - model_name: icons\n    params: {model: otter/otter-1}\n"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text: str | bytes, name: str = "pinxit.yaml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(text: str | bytes = "", environ=None, overrides=None) -> list[str]:
    """Every line that is said about a configuration that must not load."""
    path = write(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, environ or {}, overrides or {})
    return str(caught.value).splitlines()


def settings_of(text: str, environ=None, overrides=None) -> Settings:
    return load_settings(write(text), environ or {}, overrides or {})


# --- where settings come from ---------------------------------------------------------------------------------------


def test_defaults_need_nothing():
    settings = load_settings(environ={})
    assert settings == Settings()
    assert (settings.data_dir, settings.port, settings.default_delivery) == (Path("data"), 8000, Delivery.URL)


def test_later_sources_win():
    path = write("settings:\n  port: 1\n  host: 0.0.0.1\n  log_level: debug\n  max_connections: 5\n")
    environ = {"PINXIT_CONFIG": str(path), "PINXIT_PORT": "2", "PINXIT_HOST": "0.0.0.2"}
    settings = load_settings(environ=environ, overrides={"port": 3, "log_level": None})
    assert (settings.port, settings.host, settings.log_level, settings.max_connections) == (3, "0.0.0.2", "debug", 5)


def test_a_file_is_found_by_argument_then_by_variable_then_here():
    for number, name in enumerate(("pinxit.yaml", "named.yaml", "argument.yaml"), start=1):
        write(f"settings: {{port: {number}}}", name)
    assert load_settings(environ={}).port == 1
    assert load_settings(environ={"PINXIT_CONFIG": "named.yaml"}).port == 2
    assert load_settings(Path("argument.yaml"), {"PINXIT_CONFIG": "named.yaml"}).port == 3


def test_a_named_file_must_be_there():
    with pytest.raises(ConfigurationError, match=r"^gone\.yaml: cannot be read: no such file or directory$"):
        load_settings(environ={"PINXIT_CONFIG": "gone.yaml"})


@pytest.mark.parametrize("text", ["", "# nothing\n", "settings:\n", "settings:\n  public_url:\n", "model_list: ~\n"])
def test_empty_parts_leave_the_defaults(text):
    assert settings_of(text) == Settings()


def test_the_environment_writes_lists_with_commas_and_none_as_nothing():
    environ = {
        "PINXIT_CORS_ORIGINS": "https://a.example, http://localhost:3000,",
        "PINXIT_TRUSTED_PROXIES": "10.0.0.0/8,::1",
        "PINXIT_ALLOWED_HOSTS": "",
        "PINXIT_PUBLIC_URL": "",
        "PINXIT_SIGNED_URLS": "true",
    }
    settings = load_settings(environ=environ)
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert (settings.allowed_hosts, settings.public_url, settings.signed_urls) == ((), None, True)


def test_overrides_may_be_typed_or_text():
    settings = load_settings(environ={}, overrides={"data_dir": Path("here"), "port": "9", "cors_origins": "*"})
    assert (settings.data_dir, settings.port, settings.cors_origins) == (Path("here"), 9, ("*",))


def test_paths_in_a_file_are_relative_to_it():
    path = write("settings: {data_dir: pictures, moderation_words_file: /etc/words}", "etc/pinxit/pinxit.yaml")
    settings = load_settings(path, {})
    assert settings.data_dir == Path("etc/pinxit/pictures")
    assert settings.moderation_words_file == Path("/etc/words")
    assert load_settings(path, {"PINXIT_DATA_DIR": "elsewhere"}).data_dir == Path("elsewhere")


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/otter")
    assert settings_of("settings: {data_dir: ~/pictures}").data_dir == Path("/home/otter/pictures")


# --- what is in a file ----------------------------------------------------------------------------------------------


def test_models_and_aliases():
    settings = settings_of(
        """
        model_list:
          - model_name: icons
            description: Small and quick
            params: {model: otter/otter-1, num_inference_steps: 16, guidance_scale: 4, size: 16:9, negative_prompt: ""}
        aliases: {small: icons, "gpt-image-*": otter-1}
        """
    )
    (entry,) = settings.model_list
    assert (entry.model_name, entry.description) == ("icons", "Small and quick")
    assert (entry.params.backend_name, entry.params.model_id) == ("otter", "otter-1")
    assert entry.params.defaults == {
        "num_inference_steps": 16,
        "guidance_scale": 4,
        "size": "16:9",
        "negative_prompt": "",
    }
    assert settings.aliases == {"small": "icons", "gpt-image-*": "otter-1"}


def test_scalars_follow_yaml_1_2():
    settings = settings_of("settings: {data_dir: no, port: 0o17, moderation_words: [off, 2026-11-22, 1:30]}")
    assert (settings.data_dir, settings.port) == (Path("no"), 15)
    assert settings.moderation_words == ("off", "2026-11-22", "1:30")


def test_references_are_filled_in():
    environ = {"PORT": "9000", "HOST": "example.com", "EMPTY": "", "ORIGINS": "https://a.example,https://b.example"}
    settings = settings_of(
        """
        settings:
          port: os.environ/PORT
          public_url: https://${HOST}/${PATH_PREFIX:-pictures}
          cors_origins: ${ORIGINS}
          log_level: ${EMPTY:-debug}
          moderation_words: ["$${not a reference}", "$5"]
        """,
        environ,
    )
    assert (settings.port, settings.public_url) == (9000, "https://example.com/pictures")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.log_level == "debug"
    assert settings.moderation_words == ("${not a reference}", "$5")


def test_anchors_work():
    settings = settings_of("settings: {cors_origins: &o [https://a.example], moderation_words: *o}")
    assert settings.moderation_words == ("https://a.example",)


def test_signed_urls_expire_after_an_hour_unless_said():
    assert Settings().url_ttl_seconds is None
    assert Settings(signed_urls=True).url_ttl_seconds == 3600
    assert Settings(signed_urls=True, url_ttl_seconds=60).url_ttl_seconds == 60


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        Settings().port = 1


# --- what is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("settings:\n  port: 99999", "pinxit.yaml:2: settings.port: must be between 0 and 65535, not 99999"),
        ("settings: {port: true}", "pinxit.yaml:1: settings.port: must be a number, not true"),
        ("settings: {port: 80.5}", "pinxit.yaml:1: settings.port: must be a whole number, not 80.5"),
        ("settings: {port: [80]}", "pinxit.yaml:1: settings.port: must be a whole number, not a list"),
        (
            "settings: {header_timeout_seconds: 0}",
            "pinxit.yaml:1: settings.header_timeout_seconds: must be more than 0 and at most 3600, not 0",
        ),
        (
            "settings: {header_timeout_seconds: .inf}",
            "pinxit.yaml:1: settings.header_timeout_seconds: must be more than 0 and at most 3600, not .inf",
        ),
        ("settings: {signed_urls: maybe}", "pinxit.yaml:1: settings.signed_urls: must be true or false, not 'maybe'"),
        (
            "settings: {default_delivery: base64}",
            "pinxit.yaml:1: settings.default_delivery: must be 'url', 'b64_json' or 'both', not 'base64'",
        ),
        (
            "settings: {log_format: xml}",
            "pinxit.yaml:1: settings.log_format: must be 'auto', 'json' or 'console', not 'xml'",
        ),
        ("settings: {cors_origins: x}", "pinxit.yaml:1: settings.cors_origins: must be a list, not 'x'"),
        (
            "settings: {cors_origins: [1]}",
            "pinxit.yaml:1: settings.cors_origins[0]: must be text; put it in quotes, not 1",
        ),
        ("settings:\n\n  prot: 1", "pinxit.yaml:3: settings.prot: unknown setting; did you mean port?"),
        ("settings: {zzz: 1}", "pinxit.yaml:1: settings.zzz: unknown setting"),
        ("settings: {aliases: {}}", "pinxit.yaml:1: settings.aliases: belongs at the top of the file"),
        ("settings: [port]", "pinxit.yaml:1: settings: must be a mapping of names to values"),
        ("port: 1", "pinxit.yaml:1: port: belongs under settings:"),
        (
            "setings: {}",
            "pinxit.yaml:1: setings: unknown key; did you mean settings?; "
            "at the top of the file may be providers, model_list, aliases, oidc and settings",
        ),
        ("- port", "pinxit.yaml:1: must be a mapping of providers, model_list, aliases, oidc and settings"),
        ("settings:\n  port: 1\n  port: 2", "pinxit.yaml:3: settings.port: is there twice"),
        ("settings: {[a]: 1}", "pinxit.yaml:1: settings: has a key that is not a name"),
        (
            "settings: {request_memory_bytes: 2048}",
            "pinxit.yaml:1: settings.request_memory_bytes: must be at least max_body_bytes, which is 1048576, not 2048",
        ),
        (
            "settings: {url_ttl_seconds: 5}",
            "pinxit.yaml:1: settings.url_ttl_seconds: needs signed_urls: true, for only signed URLs expire",
        ),
        ("model_list: {}", "pinxit.yaml:1: model_list: must be a list, not a mapping"),
        ("model_list: [icons]", "pinxit.yaml:1: model_list[0]: must be a mapping of names to values, not 'icons'"),
        (
            MODEL + "  - params: {model: otter/otter-1}\n    model_name: icons",
            "pinxit.yaml:5: model_list[1].model_name: is already in model_list; choose another name, not 'icons'",
        ),
        ("model_list:\n  - {model_name: icons}", "pinxit.yaml:2: model_list[0]: must have either params or backends"),
        (
            "model_list:\n  - {model_name: a, litellm_params: {model: a/b}, params: {model: a/b}}",
            "pinxit.yaml:2: model_list[0].litellm_params: unknown key; did you mean params?",
        ),
        (
            MODEL.replace("}", ", seed: 3}"),
            "pinxit.yaml:3: model_list[0].params.seed: cannot have a default: every order has a seed of its own",
        ),
        (
            MODEL.replace("}", ", num_inference_steps: 0}"),
            "pinxit.yaml:3: model_list[0].params.num_inference_steps: must be between 1 and 1000, not 0",
        ),
        (
            MODEL.replace("}", ", size: huge}"),
            "pinxit.yaml:3: model_list[0].params.size: must be auto, a size like 1024x1024 or an aspect ratio like "
            "16:9, not 'huge'",
        ),
        (
            MODEL.replace("otter/otter-1", "otter-1"),
            "pinxit.yaml:3: model_list[0].params.model: must be <backend>/<model id>, like otter/otter-1, "
            "not 'otter-1'",
        ),
        (MODEL + "aliases: {icons: otter-1}", "pinxit.yaml:4: aliases.icons: is also a model_name of model_list"),
        ("aliases: {a: b, b: c}", "pinxit.yaml:1: aliases.a: must lead to a model, not to another alias, not 'b'"),
        (
            "aliases: {g*t: c}",
            "pinxit.yaml:1: aliases.g*t: must be named like a model; only the last character may be *",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(text, expected):
    assert problems(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("settings:\n\tport: 1", "pinxit.yaml:2: is not valid YAML: a tab where only spaces may be"),
        ("settings: {port: 1", "pinxit.yaml:1: is not valid YAML: expected ',' or '}'"),
        ("a: b: c", "pinxit.yaml:1: is not valid YAML: mapping values are not allowed here"),
        ("settings: {host: ${HOST}}", "; between { } and [ ], ${…} must be in quotes"),
        ("settings: {}\n---\nsettings: {}", "pinxit.yaml:2: holds more than one YAML document"),
        ("settings: *gone", "pinxit.yaml:1: is not valid YAML: found undefined alias 'gone'"),
        (
            "settings:\n  host: !!python/object/apply:os.system [id]",
            "pinxit.yaml:2: settings.host: has a tag that is not",
        ),
        (
            "settings: {port: !!int x}",
            "pinxit.yaml:1: settings.port: has a tag that is not allowed here or does not fit",
        ),
        ("\nsettings: {host: a\x07b}", "pinxit.yaml:2: contains a control character"),
        (b"settings:\n  host: \xff", "pinxit.yaml:2: is not UTF-8 text"),
        ("[" * 100_000, "pinxit.yaml:1: is not valid YAML: is nested too deeply"),
        ("x" * (1024 * 1024 + 1), "pinxit.yaml: is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(text, expected):
    (line,) = problems(text)
    assert expected in line
    assert line.startswith("pinxit.yaml:")


def test_a_list_within_itself_is_bounded():
    assert any("is nested too deeply" in line for line in problems("model_list: &a [*a]"))


def test_an_alias_bomb_is_bounded():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    lines = problems("\n".join(levels))
    assert sum("and 20000 are enough" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("public_url", "ftp://example.com"),
        ("public_url", "example.com"),
        ("public_url", "https://"),
        ("public_url", "https://example.com/"),
        ("public_url", "https://example.com?x=1"),
        ("public_url", "https://exa mple.com"),
        ("public_url", "https://example.com:99999"),
        ("allowed_hosts", "*"),
        ("allowed_hosts", "http://example.com"),
        ("allowed_hosts", "example.com:8000"),
        ("allowed_hosts", "::1"),
        ("cors_origins", "null"),
        ("cors_origins", "https://a.example/"),
        ("cors_origins", "https://A.example"),
        ("cors_origins", "*,https://a.example"),
        ("trusted_proxies", "*"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("host", "http://localhost"),
        ("host", ""),
        ("data_dir", ""),
        ("port", "-1"),
        ("port", ""),
        ("workers", "0"),
        ("workers", "2"),
        ("default_model", ""),
        ("url_ttl_seconds", "604801"),
        ("max_prompt_characters", "32001"),
    ],
)
def test_a_mistake_in_the_environment_is_named_with_its_variable(name, value):
    variable = f"PINXIT_{name.upper()}"
    (line,) = problems(environ={variable: value})
    assert line.startswith(f"{variable}: must ")


@pytest.mark.parametrize(
    "value", ["https://example.com", "http://[::1]:8000", "https://example.com/pictures", "http://localhost:8000"]
)
def test_good_public_urls(value):
    assert load_settings(environ={"PINXIT_PUBLIC_URL": value}).public_url == value


def test_variables_that_are_no_settings():
    fine = {"PINXIT_TEST_LONG": "1", "PINXIT_REQUIRE_ALL": "1", "PINXIT_WRITE_SNAPSHOTS": "1", "PINXIT_URL": "x"}
    assert load_settings(environ=fine | {"PINXIT_API_KEY": "sk-x", "HOME": "/"}) == Settings()
    assert problems(environ={"PINXIT_PROT": "1", "PINXIT_MODEL_LIST": "[]"}) == [
        "PINXIT_MODEL_LIST: can only be set in a configuration file",
        "PINXIT_PROT: unknown setting; did you mean PINXIT_PORT?",
    ]


def test_a_mistake_on_the_command_line_is_named_with_its_flag():
    assert problems(overrides={"port": 70000, "max_conections": 1}) == [
        "--max-conections: unknown setting; did you mean max_connections?",
        "--port: must be between 0 and 65535, not 70000",
    ]


def test_all_mistakes_are_said_at_once():
    lines = problems(
        "settings:\n  port: 99999\n  prot: 1\n  host: ${NOPE}\n  log_level: loud\n", {"PINXIT_MAX_CONNECTIONS": "many"}
    )
    assert sorted(lines) == [
        "PINXIT_MAX_CONNECTIONS: must be a whole number, not 'many'",
        "pinxit.yaml:2: settings.port: must be between 0 and 65535, not 99999",
        "pinxit.yaml:3: settings.prot: unknown setting; did you mean port?",
        "pinxit.yaml:4: settings.host: the environment variable NOPE is not set",
        "pinxit.yaml:5: settings.log_level: must be 'debug', 'info', 'warning' or 'error', not 'loud'",
    ]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("os.environ/NOPE", "the environment variable NOPE is not set"),
        ("os.environ/", "refers to something that cannot be the name of an environment variable"),
        ("${1x}", "refers to something that cannot be the name of an environment variable"),
        ("a${NOPE", "has a ${ that is not closed by }; write $${ for a plain ${"),
    ],
)
def test_a_bad_reference_is_named(reference, expected):
    assert problems(f"settings:\n  host: '{reference}'") == [f"pinxit.yaml:2: settings.host: {expected}"]


@pytest.mark.parametrize("name", ["port", "public_url", "log_level", "cors_origins", "trusted_proxies", "data_dir"])
@pytest.mark.parametrize("reference", ["os.environ/SECRET", "${SECRET}", "x${SECRET}"])
def test_values_behind_references_are_never_shown(name, reference):
    text = f"settings: {{{name}: '{reference}'}}"
    lines = [] if name == "data_dir" else problems(text, {"SECRET": "https://hunter2@hunter2/?hunter2 , hunter2 /"})
    assert all("hunter2" not in line for line in lines)


def test_a_reference_is_shown_in_place_of_its_value():
    assert problems("settings: {port: '${SECRET}'}", {"SECRET": "hunter2"}) == [
        "pinxit.yaml:1: settings.port: must be a whole number, not ${SECRET}"
    ]


def test_error_lines_stay_lines():
    (line,) = problems('settings: {host: "a\\nb\\u202e' + "x" * 500 + '"}')
    assert len(line) < 250
    assert line.isprintable()


# --- what is said about settings ------------------------------------------------------------------------------------


def test_every_setting_is_described():
    rows = {row.name: row for row in describe_settings()}
    assert set(rows) == set(Settings.model_fields) - {"providers", "model_list", "aliases", "oidc"}
    assert all(row.description and row.environment_name == f"PINXIT_{row.name.upper()}" for row in rows.values())
    assert rows["port"].type_text == "whole number, between 0 and 65535"
    assert (rows["data_dir"].default_text, rows["cors_origins"].default_text) == ("./data", "none")


def test_described_defaults_load_to_the_defaults():
    environ = {row.environment_name: row.default_text for row in describe_settings() if row.default_text != "none"}
    assert load_settings(environ=environ) == Settings()


def test_the_import_is_light():
    heavy = "{'numpy', 'fastapi', 'PIL', 'onnxruntime', 'sqlalchemy', 'aiohttp'}"
    code = f"import pinxit.settings, sys; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- oidc ---

OIDC = "oidc: {issuer: 'https://id.example.com', client_id: pinxit, allow: {anybody: true}%s}"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (", isuer: x", "oidc.isuer: unknown key; did you mean issuer?"),
        (", issuer: x", "oidc.issuer: is there twice"),
        (", client_secret: a, client_secret_file: b", "oidc: must have either client_secret or client_secret_file"),
        (", scopes: [email]", "oidc.scopes: must contain openid"),
        (", admin: {emails: [ada]}", "oidc.admin.emails[0]: must be an e-mail address, not 'ada'"),
        (
            ", admin: {email_domains: ['@example.com']}",
            "oidc.admin.email_domains[0]: must be the part of an e-mail address behind the @, like example.com, "
            "not '@example.com'",
        ),
        (", admin: {emial: []}", "oidc.admin.emial: unknown key; did you mean emails?"),
    ],
)
def test_mistakes_in_the_provider_to_sign_in_by(more, expected):
    assert problems(OIDC % more) == [f"pinxit.yaml:1: {expected}"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            ("anybody: true", ""),
            "oidc.allow: must say who may sign in: emails, email_domains, claims, or anybody: true",
        ),
        (
            ("anybody: true", "claims: {groups: []}"),
            "oidc.allow: must say who may sign in: emails, email_domains, claims, or anybody: true",
        ),
        (("true", "true, emails: [a@b.c]"), "oidc.allow: must not name anybody beside anybody: true"),
        (
            ("https://", "http://"),
            "oidc.issuer: must begin with https://; http is for a provider on this machine only, not 'http://id.example.com'",
        ),
    ],
)
def test_somebody_has_to_be_let_in_and_nothing_goes_in_the_open(changes, expected):
    assert problems((OIDC % "").replace(*changes)) == [f"pinxit.yaml:1: {expected}"]


def test_a_client_s_secret_is_shown_nowhere(tmp_path):
    path = tmp_path / "pinxit.yaml"
    path.write_text(OIDC % ", client_secret: hush-hush", "utf-8")
    settings = load_settings(path, {})
    assert "hush" not in f"{settings!r} {settings.model_dump(mode='json')} {settings.model_dump_json()}"
    assert "hush" not in str(problems(OIDC % ", client_secret: [hush-hush]"))


def test_the_issuer_stays_as_it_is_written(tmp_path):
    path = tmp_path / "pinxit.yaml"
    path.write_text((OIDC % "").replace("id.example.com", "id.example.com/"), "utf-8")
    assert load_settings(path, {}).oidc.issuer == "https://id.example.com/"
