"""What an operator can set: `pinxit.yaml`, `PINXIT_…` variables, command-line flags; all checked first."""

from pinxit.settings.loading import load_settings
from pinxit.settings.model import (
    ModelEntry,
    ModelParams,
    SettingDescription,
    Settings,
    describe_settings,
    hide_password,
)

__all__ = [
    "ModelEntry",
    "ModelParams",
    "SettingDescription",
    "Settings",
    "describe_settings",
    "hide_password",
    "load_settings",
]
