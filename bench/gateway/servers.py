"""The servers that are compared: how each is started, asked, and told where the upstream is. All on 127.0.0.1."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import processes
from payloads import SIDES

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from postgres import Cluster

UPSTREAM_PORT = 9100
NAMES = ("large", "small", "small-d50")
"""Of models and of the upstream's paths: `-d50` answers 50 ms later."""
START_SECONDS = 180.0
STOP_SECONDS = 40.0
PINXIT = Path(sys.executable).with_name("pinxit")


def ask(url: str, body: bytes | None = None, key: str = "") -> tuple[int, bytes]:
    """One request. Raises OSError."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request("GET" if body is None else "POST", target, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def request_body(name: str, **more: Any) -> bytes:
    side = SIDES[name.partition("-")[0]]
    fields = {"model": name, "prompt": "a lighthouse at dusk, oil painting", "n": 1, "size": f"{side}x{side}"}
    return json.dumps({**fields, **more}, separators=(",", ":")).encode()


def served() -> int:
    """How many orders the upstream has answered."""
    return int(json.loads(ask(f"http://127.0.0.1:{UPSTREAM_PORT}/stats")[1])["served"])


class Server(ABC):
    """A server in a process of its own. `key`: what callers show it."""

    name = ""
    port = 0
    key = "sk-Zq83hd77Kx0PwLm2vT"

    def __init__(self, work: Path) -> None:
        self.work = work
        self.folder = work / self.name
        self.process: subprocess.Popen[bytes] | None = None
        self.start_seconds = 0.0
        self.idle_mebibytes: dict[str, float] = {}

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def prepare(self) -> None:  # noqa: B027 - not all need anything
        """Write what it needs. Raises FileNotFoundError if the program is not there."""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/v1/images/generations"

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def start(self) -> None:
        """Until the first right answer."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.prepare()
        log = (self.folder / "log").open("wb")
        began = time.monotonic()
        environment = {**os.environ, **self.environment()}
        self.process = subprocess.Popen(
            self.command(), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
        log.close()
        self._wait_for_an_answer(began)
        self.start_seconds = time.monotonic() - began

    def _wait_for_an_answer(self, began: float) -> None:
        while time.monotonic() - began < START_SECONDS:
            if self.process and self.process.poll() is not None:
                break
            with suppress(OSError):
                if ask(self.url("small"), request_body("small"), self.key)[0] == 200:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not answer: see {self.folder / 'log'}")

    def look_at_memory(self) -> None:
        processes.wait_until_idle(self.pid, 15.0)
        first, *rest = processes.tree(self.pid)
        self.idle_mebibytes = {"all": processes.resident_mebibytes(first, *rest)}

    def tidy(self) -> None:  # noqa: B027 - not all leave anything
        """Between two measurements."""

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Upstream(Server):
    """The fake upstream, compiled from `fake_upstream.c`; asked by itself it shows what there is to add to."""

    name = "direct"
    port = UPSTREAM_PORT

    def prepare(self) -> None:
        source = Path(__file__).with_name("fake_upstream.c")
        subprocess.run(["cc", "-O2", "-o", str(self.folder / "fake_upstream"), str(source)], check=True)

    def command(self) -> list[str]:
        files = [f"{name}={self.work / 'payloads' / name}.json" for name in SIDES]
        return [str(self.folder / "fake_upstream"), str(self.port), *files]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/v1/images/generations"


class Nginx(Server):
    """A reverse proxy with kept connections and two workers: the practical limit."""

    name = "nginx"
    port = 9101

    def prepare(self) -> None:
        if shutil.which("nginx") is None:
            raise FileNotFoundError("nginx")
        folders = " ".join(
            f"{kind}_temp_path {self.folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(f"""
            worker_processes 2; daemon off; pid {self.folder}/pid; error_log {self.folder}/errors warn;
            events {{ worker_connections 4096; }}
            http {{
              access_log off; keepalive_requests 1000000; {folders}
              upstream up {{ server 127.0.0.1:{UPSTREAM_PORT}; keepalive 512; keepalive_requests 1000000; }}
              server {{
                listen 127.0.0.1:{self.port} backlog=4096 reuseport;
                location / {{
                  proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection "";
                  proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 256k;
                  proxy_max_temp_file_size 0;
                }}
              }}
            }}""")

    def command(self) -> list[str]:
        return ["nginx", "-e", str(self.folder / "errors"), "-c", str(self.folder / "nginx.conf")]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}/v1/images/generations"


class LiteLLM(Server):
    """LiteLLM's proxy with two workers, as its documentation wants it in production: no database, no spend logs.

    https://docs.litellm.ai/docs/proxy/prod (2026-11-22)
    """

    name = "litellm-2w"
    port = 9105

    def __init__(self, work: Path, program: Path) -> None:
        super().__init__(work)
        self._program = program

    def prepare(self) -> None:
        if not self._program.is_file():
            raise FileNotFoundError(self._program)
        models = [
            {
                "model_name": name,
                "litellm_params": {
                    "model": "openai/gpt-image-1",
                    "api_base": f"http://127.0.0.1:{UPSTREAM_PORT}/{name}/v1",
                    "api_key": "sk-up",
                },
                "model_info": {"mode": "image_generation"},
            }
            for name in NAMES
        ]
        configuration = {
            "model_list": models,
            "litellm_settings": {"num_retries": 0, "request_timeout": 60, "callbacks": [], "telemetry": False},
            "general_settings": {"master_key": self.key, "disable_spend_logs": True},
            "router_settings": {"disable_cooldowns": True},
        }
        (self.folder / "config.yaml").write_text(json.dumps(configuration))  # YAML reads JSON

    def command(self) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--num_workers", "2", "--telemetry", "False"]
        return [str(self._program), "--config", str(self.folder / "config.yaml"), *where]

    def environment(self) -> Mapping[str, str]:
        path = f"{self._program.parent}:{os.environ.get('PATH', '')}"
        return {
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PATH": path,
            "PYTHONPATH": "",
        }


class Pinxit(Server):
    """One worker over SQLite with everything on: keys are checked, orders are durable and paid from credits, every
    picture is stored, and the model in the box is loaded in its painter process.
    """

    name = "pinxit"
    port = 9120

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        providers = {
            f"up-{name}": {
                "kind": "openai_compatible",
                "base_url": f"http://127.0.0.1:{UPSTREAM_PORT}/{name}/v1",
                "credential": "sk-up",
                "max_concurrency": 64,
                "models": [{"id": name, "sizes": [self._size(name)], "prices": [{"usd": "0.000001"}]}],
            }
            for name in NAMES
        }
        configuration = {
            "settings": {"data_dir": str(self.data), "port": self.port, "log_level": "warning", "billing": "credits"}
            | {"max_queued_generations": 1024, "max_painting_generations": 64},
            "providers": providers,
            "model_list": [{"model_name": name, "params": {"model": f"up-{name}/{name}"}} for name in NAMES],
        }
        (self.folder / "bench.yaml").write_text(json.dumps(configuration))
        self.key = self._run("keys", "create", "--name", "bench").strip().splitlines()[-1].strip()
        self._run("accounts", "top-up", "acct_default", "100000", "--reference", "bench")

    def _size(self, name: str) -> str:
        side = SIDES[name.partition("-")[0]]
        return f"{side}x{side}"

    def _run(self, *arguments: str) -> str:
        command = [str(PINXIT), *arguments, "--data-dir", str(self.data)]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.folder).stdout

    def command(self) -> list[str]:
        return [str(PINXIT), "serve", "--config", str(self.folder / "bench.yaml")]

    def look_at_memory(self) -> None:
        """The API's process and the painter's, each by itself, once the painter has loaded its model."""
        while ask(f"http://127.0.0.1:{self.port}/health/ready")[0] != 200:
            time.sleep(0.1)
        processes.wait_until_idle(self.pid, 15.0)
        first, *rest = processes.tree(self.pid)
        api, painter = processes.resident_mebibytes(first), processes.resident_mebibytes(*rest)
        self.idle_mebibytes = {"api": api, "painter": painter}

    def tidy(self) -> None:
        """Remove the pictures that have been stored, so that the disk does not fill up; their folders stay."""
        for file in (self.data / "pictures").rglob("*.png"):
            file.unlink()


class PinxitWorkers(Pinxit):
    """Two workers over a PostgreSQL that is durable, on the same machine; its processor time counts as foreign."""

    name = "pinxit-2w"
    port = 9121

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self._cluster: Cluster | None = None

    def prepare(self) -> None:
        # Where its own user may write, and on a disk.
        self._cluster = Cluster(Path(tempfile.mkdtemp(prefix="pinxit-bench-", dir="/var/tmp")))
        self._url = self._cluster.new_database("bench")
        super().prepare()

    def environment(self) -> Mapping[str, str]:
        return {"PINXIT_DATABASE_URL": self._url, "PINXIT_WORKERS": "2"}

    def _run(self, *arguments: str) -> str:
        command = [str(PINXIT), *arguments, "--data-dir", str(self.data)]
        environment = os.environ | {"PINXIT_DATABASE_URL": self._url}
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.folder, env=environment)
        return done.stdout

    def stop(self) -> None:
        super().stop()
        if self._cluster is not None:
            self._cluster.close()
