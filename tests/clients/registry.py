"""The clients: every folder beside this file that has a `client.toml`.

A folder holds what the client pins, and `exercise.py`, `exercise.mjs` or `exercise.sh`: a program as its users write
it, which changes nothing but the address, the key and, where the client asks for one, the model."""

import itertools
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "clients.md"
_EXERCISE = re.compile(r'^(?:@|await )?exercise[ (]"([^"]+)"', re.MULTILINE)
_CONFIGURED = re.compile(r"^(?:#|//) Configured:\n(.*?)\n(?:#|//) Used:$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Client:
    """`packages` are whose versions are shown, none for a program of the system. `delivery` is how pictures come back
    with the key that it gets: `both` for clients that read `b64_json` and do not ask for it. `quick` ones run in
    `make test`."""

    folder: Path
    title: str
    packages: list[str]
    delivery: str
    quick: bool

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def program(self) -> Path:
        (found,) = self.folder.glob("exercise.*")
        return found

    @property
    def language(self) -> str:
        return {".py": "python", ".mjs": "js", ".sh": "sh"}[self.program.suffix]

    @property
    def versions(self) -> dict[str, str]:
        """What is pinned of its packages."""
        return {package: self._pinned(package) for package in self.packages}

    def _pinned(self, package: str) -> str:
        name = re.escape(package)
        found = None
        for file, pattern in (("requirements.txt", rf"^{name}==([^\s;]+)"), ("package.json", rf'"{name}": "([^"]+)"')):
            if (self.folder / file).exists():
                found = re.search(pattern, (self.folder / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert found is not None, f"{self.name} does not pin {package}"
        return found[1]

    @property
    def exercises(self) -> list[str]:
        """What its program says it exercises."""
        return _EXERCISE.findall(self.program.read_text(encoding="utf-8"))

    @property
    def about(self) -> str:
        """What its program says at its beginning."""
        text = self.program.read_text(encoding="utf-8")
        if text.startswith('"""'):
            return text.split('"""')[1]
        lines = itertools.takewhile(lambda line: line.startswith(("//", "#")), text.splitlines())
        return "\n".join(line.lstrip("/# ") for line in lines)

    @property
    def configuration(self) -> str:
        """The lines of its program that configure it, with the address and the key that documentation uses."""
        found = _CONFIGURED.search(self.program.read_text(encoding="utf-8"))
        assert found is not None, f"{self.program} does not mark how it is configured"
        lines = found[1]
        for spelt in ('f"{SERVER}', "`${SERVER}", '"$PINXIT_SERVER'):
            lines = re.sub(rf'{re.escape(spelt)}([^`"]*)[`"]', r'"http://127.0.0.1:8000\1"', lines)
        return re.sub(
            r'\bKEY\b|"\$PINXIT_KEY"', '"<API_KEY>"', lines.replace("$PINXIT_SERVER", "http://127.0.0.1:8000")
        )


def clients() -> list[Client]:
    """In the order of their titles."""
    found = []
    for about in HERE.glob("*/client.toml"):
        told = tomllib.loads(about.read_text(encoding="utf-8"))
        found.append(Client(about.parent, **told))
    return sorted(found, key=lambda client: client.title.lower())
