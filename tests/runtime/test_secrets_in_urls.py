"""URLs are taken apart, and no form of a secret in them is shown, logged or pickled."""

from __future__ import annotations

import pickle
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.runtime import secrets
from intake_bluesky.runtime.secrets import Secrets, ServerURL, shown, without_secrets

ODD = "p@s:s/w?o#r%d&x=[1];+ ü'\"\\"


def harmless(name: str) -> bool:
    return name in ("tls", "name")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("mongodb://host", ("mongodb", "host", "", "", None, None)),
        ("mongodb+srv://a,b:1/db?x=1", ("mongodb+srv", "a,b:1", "db", "x=1", None, None)),
        ("postgresql://me@[::1]:5/db", ("postgresql", "[::1]:5", "db", "", "me", None)),
        ("postgresql:///db?host=/run", ("postgresql", "", "db", "host=/run", None, None)),
        ("x://me:@h/", ("x", "h", "", "", "me", "")),
        ("x://:pw@h/", ("x", "h", "", "", None, "pw")),
        ("x://me:a:b?c#d@h/", ("x", "h", "", "", "me", "a:b?c#d")),
    ],
)
def test_parts(text: str, parts: tuple[str | None, ...]) -> None:
    url = ServerURL.parse(text)
    assert url is not None
    assert (url.scheme, url.hosts, url.path, url.options, url.user, url.password) == parts
    assert ServerURL.parse(url.uri) == url


@pytest.mark.parametrize(
    "text", ["", "host", "x://me:p/w@host/db", "x://h/a@b", "x://h:1/a?b=c@d", "x:/me:pw@h", "1x://h"]
)
def test_what_could_show_part_of_a_password_is_none(text: str) -> None:
    assert ServerURL.parse(text) is None


def test_a_repr_shows_neither_password_nor_options() -> None:
    url = ServerURL.parse("x://me:hunter2@h/db?key=hunter3")
    assert url is not None
    assert "hunter" not in repr(url) + repr(url.split(harmless))


UTF8 = st.text(st.characters(codec="utf-8"), min_size=1)


@given(UTF8, UTF8)
def test_split_and_joined_again(password: str, option: str) -> None:
    secret = f"k%65y={quote(option, safe='')}"
    url = ServerURL.parse(f"x://me:{quote(password, safe='')}@h/db?tls=1&{secret}&name=n")
    assert url is not None
    bare, kept = url.split(harmless)
    assert bare.uri == "x://me@h/db?tls=1&name=n"
    assert kept.options == secret
    assert bare.with_secrets(kept).uri == f"x://me:{quote(password, safe='')}@h/db?tls=1&name=n&{secret}"


def test_separators_are_the_drivers_choice() -> None:
    url = ServerURL("x", "h", options="password=a;b&tls=1")
    assert url.split(harmless)[1].options == "password=a;b"
    assert url.split(harmless, "&;")[0].options == "tls=1"


@pytest.mark.parametrize("form", [str, quote, quote_plus, lambda text: quote(text, safe=""), repr,
                                  lambda text: quote(text, safe="").lower()])  # fmt: skip
def test_every_form_is_hidden(form: object) -> None:
    for given_as in (Secrets(quote(ODD, safe="")), Secrets(options=f"sslpassword={quote_plus(ODD)}&tls=1")):
        assert callable(form)
        text = given_as.hide(f"before {form(ODD)} after")
        assert text.strip("'") in ("before ... after", "before '...' after", 'before "..." after')


def test_the_longest_is_hidden_first() -> None:
    assert Secrets("abcd", "key=abcdef").hide("abcdef abcd") == "... ..."


@pytest.mark.parametrize("secret", ["s", "to", "db", "1"])
def test_a_short_secret_does_not_spell_itself(secret: str) -> None:
    text = "customers stop at the dbs of 2017, sto"
    assert Secrets(secret).hide(text) == text
    assert Secrets(secret).hide(f"x://me:{secret}@h, '{secret}' pw={secret}") == "x://me:...@h, '...' pw=..."


def test_in_a_chain_of_exceptions() -> None:
    kept = Secrets("hunter2")
    outer = RuntimeError("outer")
    outer.__cause__ = ValueError("middle")
    outer.__cause__.__context__ = OSError({"pw": "hunter2"})
    assert kept.are_in(outer)
    outer.__cause__.__suppress_context__ = True
    assert not kept.are_in(outer)
    outer.add_note("of hunter2")
    assert kept.are_in(outer)
    assert not Secrets().are_in(outer)


def test_not_pickled_but_known_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_held", {})
    kept = Secrets("hunter2")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(kept)
    assert not Secrets.of("x://me@h/")
    kept.remember("x://me@h/")
    Secrets().remember("x://me@h/")
    assert Secrets.of("x://me@h/") == kept
    assert not Secrets.of("x://you@h/")


@pytest.mark.parametrize("password", ["p@w", "p/w", "p?w", "p#w", "12/3@4", "a/b@c?d#e", ":", "p:w"])
def test_urls_of_files_with_odd_passwords(password: str) -> None:
    assert shown(f"open https://me:x{password}@host:80/a.jsonl now") == "open https://host:80/a.jsonl now"


@pytest.mark.parametrize("url", ["https://h:80/a@b", "s3://bucket/me@site/*.jsonl", "http://[::1]:80/a@b", "x://h?a@b"])
def test_urls_without_users_stay(url: str) -> None:
    assert shown(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "https://host/x.jsonl;jwt={}", "https://host/x.jsonl#access_token={}", "https://host/x?a=1;sas={}", "s3://b/x#pat={}",
        "https://host/x.jsonl?{}", "https://host/x.jsonl?a=1&{}", "https://host/x.jsonl#{}", "https://me:{}@host/x",
        "https://host/?sv=2026&sig={}#there",
    ],
)  # fmt: skip
def test_secrets_in_odd_places_of_a_url(text: str) -> None:
    for secret in ("c2lnbmF0dXJlLWhlcmU", "eyJhbGciOi.eyJzdWIiOi.SflKxwRJSMeKKF2QT4", "hunter2+hunter2%3D"):
        assert secret not in shown(f"open {text.format(secret)} 'now'")
        assert secret not in str(without_secrets({"url": [text.format(secret)]}))


@pytest.mark.parametrize(
    "url",
    ["s3://bucket/run_?.jsonl", "https://h/run_?2345678.jsonl.gz", "s3://b/202?/**/x_??.jsonl", "s3://b/a;b/c#1.jsonl"],
)
def test_patterns_stay(url: str) -> None:
    assert shown(url) == url


@pytest.mark.parametrize(
    "name", ["pwd", "sas", "pat", "jwt", "bearer", "db_pwd", "sasToken", "X-JWT", "github-pat", "PW"]
)
def test_options_that_are_secrets_by_name(name: str) -> None:
    assert without_secrets({name: "hunter2", "path": 1, "pattern": 2, "authSource": "admin", "design": 3}) == {
        "path": 1, "pattern": 2, "authSource": "admin", "design": 3,
    }  # fmt: skip


@pytest.mark.parametrize("value", ["Bearer hunter2", "basic aHVudGVy", "token  hunter2", "eyJhbGciOi.eyJzdWIi.c2ln"])
def test_values_that_are_secrets_whatever_their_names(value: str) -> None:
    assert without_secrets({"headers": {"X-Who": value, "Accept": "text/yaml"}}) == {"headers": {"Accept": "text/yaml"}}


def test_options_within_options_and_without_names() -> None:
    for odd in ("tls=1;password=hunter2", "tls=1#pwd=hunter2", "hunter2hunter2", "tls=1&hunter2hunter2"):
        url = ServerURL.parse(f"x://me@h/db?{odd}")
        assert url is not None
        bare, kept = url.split(harmless)
        assert "hunter2" not in bare.uri
        assert kept.hide("libpq knows no hunter2hunter2, hunter2") in (
            "libpq knows no ..., hunter2",
            "libpq knows no ......, ...",
        )
    for text in ("x://h/db;password=hunter2", "x://h;pwd=hunter2/db", "x://h/db#hunter2"):
        assert ServerURL.parse(text) is None
