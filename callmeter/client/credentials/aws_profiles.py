"""The AWS configuration files: what a profile says, read as the AWS tools read it.

Source: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
"""

import configparser
import os
from collections.abc import Mapping

from callmeter.client.credentials.sigv4 import Keys
from callmeter.errors import AuthenticationError
from callmeter.types import Secret

DEFAULT = "default"

FETCHED = ("role_arn", "sso_session", "sso_start_url", "web_identity_token_file", "login_session")
"""Settings of a profile whose keys are fetched from somewhere: they win over keys that stand beside them."""

Profiles = Mapping[str, Mapping[str, str]]


def profiles(credentials_file: str = "", config_file: str = "") -> Profiles:
    """Every profile of both files with its settings; where both name one, the credentials file has the last word.

    A file that is not there has no profiles. Raises `AuthenticationError` naming one that cannot be read.
    """
    found: dict[str, dict[str, str]] = {}
    for section, settings in _sections(config_file or "~/.aws/config"):
        word, _, name = section.partition(" ")
        if section == DEFAULT or word == "profile":
            found.setdefault(name.strip().strip("\"'") or DEFAULT, {}).update(settings)
    for section, settings in _sections(credentials_file or "~/.aws/credentials"):
        found.setdefault(section, {}).update(settings)
    return found


def keys_of(settings: Mapping[str, str]) -> Keys | None:
    """The keys that stand in a profile; None where it has none, or says to fetch them."""
    if any(settings.get(name) for name in FETCHED):
        return None
    key_id, secret = settings.get("aws_access_key_id"), settings.get("aws_secret_access_key")
    token = settings.get("aws_session_token")
    return Keys(key_id, Secret(secret), Secret(token) if token else None) if key_id and secret else None


def region_of_profile(variables: Mapping[str, str]) -> str:
    """The region of the profile that these variables lead to; empty where none is set, or the files are unreadable."""
    try:
        there = profiles(variables.get("credentials_file", ""), variables.get("config_file", ""))
    except AuthenticationError:
        return ""  # whoever needs a key from them will be told
    profile = variables.get("profile") or variables.get("env_profile") or DEFAULT
    return there.get(profile, {}).get("region", "")


def _sections(path: str) -> list[tuple[str, dict[str, str]]]:
    parser = configparser.RawConfigParser(default_section="", strict=False)
    path = os.path.expanduser(path)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        # Of the content, which may hold keys, nothing is repeated.
        why = error.strerror if isinstance(error, OSError) else "it is not in the form of an AWS configuration file"
        raise AuthenticationError(f"{path} cannot be read: {why}") from None
    return [(name.strip(), dict(parser.items(name))) for name in parser.sections()]
