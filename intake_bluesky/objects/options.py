"""From fsspec's `storage_options` to those of obstore.

Users write the options that s3fs, gcsfs and adlfs document. What obstore has no word for is not guessed at: these
objects are read by the filesystem that knows it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from intake_bluesky.errors import WrongSetting
from intake_bluesky.runtime.secrets import shown

__all__ = ["StoreSettings", "settings_for"]

Credentials: TypeAlias = Callable[[], dict[str, Any]]

TUNING: Final = frozenset({
    "asynchronous", "batch_size", "block_size", "cache_regions", "cache_timeout", "cache_type", "check_connection",
    "consistency", "default_block_size", "default_cache_type", "default_fill_cache", "dircache_maxsize",
    "fixed_upload_size", "listings_expiry_time", "local_expiry_check", "loop", "max_concurrency", "max_paths",
    "skip_instance_cache", "use_listings_cache",
})  # fmt: skip
"""How fsspec reads, and nothing about where from or by whom."""
ENCRYPTION: Final = ("AWS_SERVER_SIDE_ENCRYPTION", "AWS_SSE_")
"""How the names begin by which obstore finds in the environment how objects are to be encrypted."""
ANYBODY: Final = "anon"
"""gcsfs's word for no credentials."""
FRESH: Final = timedelta(minutes=5)
"""How long credentials whose end is not known are used before they are looked for again."""


class Untranslated(Exception):
    """An option that obstore does not have."""


@dataclass
class StoreSettings:
    """What an obstore store is made with.

    Attributes
    ----------
    config : dict
        For its class.
    client : dict
        ``client_options``.
    credentials : callable or None
        Gives them anew when they end; None where obstore looks for them by itself, or needs none.
    region_unknown : bool
        Of Amazon's S3: which region a bucket is in has to be asked.
    """

    config: dict[str, Any] = field(default_factory=dict)
    client: dict[str, Any] = field(default_factory=dict)
    credentials: Credentials | None = field(default=None, repr=False)
    region_unknown: bool = False

    def __repr__(self) -> str:  # options may hold secrets
        return f"{type(self).__name__}({', '.join(sorted(self.config))})"


def settings_for(scheme: str, options: Mapping[str, Any]) -> StoreSettings | None:
    """Translate options; None where obstore cannot do what they ask for.

    Parameters
    ----------
    scheme : str
        ``s3``, ``gs`` or ``az``.
    options : mapping
        As of s3fs, gcsfs or adlfs.

    Examples
    --------
    >>> found = settings_for("s3", {"anon": True, "endpoint_url": "http://localhost:9000", "default_block_size": 1})
    >>> found.config["skip_signature"], found.config["endpoint"], found.client
    (True, 'http://localhost:9000', {'allow_http': True})
    >>> settings_for("s3", {"session": object()}) is None
    True
    """
    given = {name: value for name, value in options.items() if name not in TUNING and value is not None}
    try:
        made = {"s3": _s3, "gs": _gs, "az": _az}[scheme](given)
    except Untranslated:
        return None
    return made if not given else None


def _s3(given: dict[str, Any]) -> StoreSettings:
    _check_encryption(given.pop("s3_additional_kwargs", None))
    client_kwargs = dict(given.pop("client_kwargs", None) or {})
    made = StoreSettings({"skip_signature": False, "copy_if_not_exists": "multipart"})
    endpoint = given.pop("endpoint_url", None) or client_kwargs.pop("endpoint_url", None)
    client_kwargs.pop("endpoint_url", None)
    region = client_kwargs.pop("region_name", None)
    key = given.pop("key", None) or given.pop("username", None) or client_kwargs.pop("aws_access_key_id", None)
    secret = given.pop("secret", None) or given.pop("password", None)
    secret = secret or client_kwargs.pop("aws_secret_access_key", None)
    token = given.pop("token", None) or client_kwargs.pop("aws_session_token", None)
    if given.pop("requester_pays", False):
        made.config["request_payer"] = True
    if client_kwargs.get("verify") is False:
        made.client["allow_invalid_certificates"] = not client_kwargs.pop("verify")
    for name, value in dict(given.pop("config_kwargs", None) or {}).items():
        if name in ("connect_timeout", "read_timeout"):
            made.client[name] = timedelta(seconds=float(value))
        elif name not in ("retries", "max_pool_connections", "signature_version") and (name, value) != (
            "s3",
            {"addressing_style": "path"},
        ):
            raise Untranslated(name)
    if client_kwargs or not given.pop("use_ssl", True):
        raise Untranslated("client_kwargs")
    profile = given.pop("profile", None)
    if given.pop("anon", False):
        made.config["skip_signature"] = True
    elif key and secret:
        made.credentials = lambda: {
            "access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None,
        }  # fmt: skip
    else:
        found = _botocore(profile)
        if found is None and profile is not None:
            raise Untranslated("profile")
        if found is not None:
            made.credentials, its_endpoint, its_region = found
            endpoint, region = endpoint or its_endpoint, region or its_region
    _address(made, endpoint, region)
    return made


def _check_encryption(said: Mapping[str, Any] | None) -> None:
    """What requests say beside: if the options have it, nothing of the environment's is sent in its place.

    obstore sends keys by which a server encrypts as they are, to any server, and cannot be told not to.
    """
    if said or (said is not None and any(name.upper().startswith(ENCRYPTION) for name in os.environ)):
        raise Untranslated("s3_additional_kwargs")


def _address(made: StoreSettings, endpoint: str | None, region: str | None) -> None:
    # One for S3 alone, in the environment, would come before what the options say.
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        raise WrongSetting(
            f"the address of an S3 server begins with http:// or https://, and {shown(endpoint)!r} does not"
        )
    if endpoint:
        made.config |= {"endpoint": endpoint, "aws_endpoint_url_s3": endpoint, "virtual_hosted_style_request": False}
        if urlsplit(endpoint).scheme == "http":
            made.client["allow_http"] = True
    made.region_unknown = not endpoint and not region
    made.config["region"] = region or "us-east-1"


def _botocore(profile: str | None) -> tuple[Credentials, str | None, str | None] | None:
    """What botocore finds where the tools of Amazon look; None where it is not installed."""
    try:
        from botocore.session import Session  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        return None
    session = Session(profile=profile)
    configured = session.get_scoped_config()

    def credentials() -> dict[str, Any]:
        found = session.get_credentials()
        if found is None:
            raise PermissionError(
                "no key was found: name a profile, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass anon=True "
                "if the bucket is public"
            )
        now = found.get_frozen_credentials()
        return {
            "access_key_id": now.access_key, "secret_access_key": now.secret_key, "token": now.token,
            "expires_at": datetime.now(UTC) + FRESH,
        }  # fmt: skip

    return credentials, configured.get("endpoint_url"), session.get_config_variable("region")


def _gs(given: dict[str, Any]) -> StoreSettings:
    made = StoreSettings({"skip_signature": False})
    token = given.pop("token", None)
    given.pop("project", None)
    if token == ANYBODY:
        made.config["skip_signature"] = True
        # What writes is signed nevertheless, and would be with the role of the machine.
        made.credentials = lambda: {"token": "", "expires_at": None}
    elif isinstance(token, str) and token.endswith(".json"):
        made.config["service_account"] = token
    elif isinstance(token, dict) and "private_key" in token:
        import json

        made.config["service_account_key"] = json.dumps(token)
    elif token not in (None, "google_default"):
        raise Untranslated("token")
    if endpoint := given.pop("endpoint_url", None):
        made.config["base_url"] = endpoint
        if urlsplit(endpoint).scheme == "http":
            made.client["allow_http"] = True
    return made


AZURE: Final = ("account_name", "tenant_id", "client_id", "client_secret")


def _az(given: dict[str, Any]) -> StoreSettings:
    made = StoreSettings({"skip_signature": False, "use_emulator": False})
    key, sas = given.pop("account_key", None), given.pop("sas_token", None)
    text = given.pop("connection_string", None)
    if not (text or key or sas or "client_id" in given):
        text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    parts = dict(part.split("=", 1) for part in (text or "").split(";") if "=" in part)
    key, sas = key or parts.get("AccountKey"), sas or parts.get("SharedAccessSignature")
    if endpoint := parts.get("BlobEndpoint"):
        server = urlsplit(endpoint)
        made.config["endpoint"] = endpoint
        made.config["account_name"] = server.path.strip("/") or (server.hostname or "").partition(".")[0]
    if name := parts.get("AccountName"):
        made.config["account_name"] = name
    made.config |= {name: given.pop(name) for name in AZURE if name in given}
    if host := given.pop("account_host", None):
        made.config["endpoint"] = host if "://" in host else f"https://{host}"
    if urlsplit(made.config.get("endpoint", "")).scheme == "http":
        made.client["allow_http"] = True
    if given.pop("anon", False):
        made.config["skip_signature"] = True
    elif key:
        made.credentials = lambda: {"access_key": key, "expires_at": None}
    elif sas:  # these come before those of the environment
        made.credentials = lambda: {"sas_token": sas.removeprefix("?"), "expires_at": None}
    return made
