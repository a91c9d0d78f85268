"""What an operator can set: `pinxit.yaml`, `PINXIT_…` variables, command-line flags; all checked first."""

from pinxit.settings.entries import BackendParams, ModelEntry, ModelParams, PriceEntry, ProviderEntry, ProviderModel
from pinxit.settings.loading import load_settings
from pinxit.settings.model import (
    SettingDescription,
    Settings,
    describe_settings,
)
from pinxit.settings.sign_in import AllowEntry, OidcEntry, PeopleEntry
from pinxit.settings.values import hide_password

__all__ = [
    "AllowEntry",
    "BackendParams",
    "ModelEntry",
    "ModelParams",
    "OidcEntry",
    "PeopleEntry",
    "PriceEntry",
    "ProviderEntry",
    "ProviderModel",
    "SettingDescription",
    "Settings",
    "describe_settings",
    "hide_password",
    "load_settings",
]
