"""Signing in: with a provider that is configured nobody sees results before it vouches for them."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

import sign_in

from .browsing import needs_browser, served
from .conftest import Open, numbers, said
from .test_command import free_port

pytestmark = needs_browser


@dataclass
class Provider:
    """An OpenID Connect provider that vouches for whomever it is told to."""

    server: ThreadingHTTPServer
    key: Any
    email: str = "ada@example.org"
    nonces: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def metadata(self) -> dict[str, Any]:
        places = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        return {
            "issuer": self.url,
            **{f"{name}_endpoint": f"{self.url}/{place}" for name, place in places.items()},
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self, code: str) -> dict[str, Any]:
        from joserfc import jwt

        claims = {"iss": self.url, "aud": "limbeck", "sub": "1", "email": self.email, "email_verified": True}
        claims |= {"iat": int(time()), "exp": int(time()) + 600, "nonce": self.nonces[code], "name": "Ada"}
        signed = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)
        return {"access_token": "a", "token_type": "Bearer", "expires_in": 600, "id_token": signed}


@pytest.fixture
def provider() -> Iterator[Provider]:
    from joserfc.jwk import RSAKey

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            if asked.path == "/authorize":
                given = {name: values[0] for name, values in parse_qs(asked.query).items()}
                code = f"code{len(found.nonces)}"
                found.nonces[code] = given.get("nonce", "")
                self.send_response(302)
                back = urlencode({"code": code, "state": given["state"]})
                self.send_header("Location", f"{given['redirect_uri']}?{back}")
                self.end_headers()
            elif asked.path == "/jwks":
                self.answer({"keys": [found.key.as_dict(private=False)]})
            else:
                self.answer(found.metadata())

        def do_POST(self) -> None:
            given = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer(found.token(given["code"][0]))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Provider(server, RSAKey.generate_key(2048, {"kid": "k", "alg": "RS256", "use": "sig"}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def configured(folder: Path, provider: Provider, port: int) -> None:
    """Write the secrets that turn sign-in on."""
    (folder / ".streamlit").mkdir()
    (folder / ".streamlit" / "secrets.toml").write_text(
        f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "of no use outside of this test, but long enough"
client_id = "limbeck"
client_secret = "x"
server_metadata_url = "{provider.url}/.well-known/openid-configuration"

[dashboard]
allowed = ["*@example.org"]
"""
    )


def test_only_those_whom_the_provider_vouches_for_and_the_list_names(
    browser: Any, demo: Path, provider: Provider, tmp_path: Path
) -> None:
    port = free_port()
    configured(tmp_path, provider, port)
    with served(demo, port, tmp_path) as site:
        page = browser.new_page()
        page.goto(f"{site}/sweep?sweep=mate&view=Importance")
        page.get_by_role("button", name="Sign in").wait_for()
        assert page.get_by_text("Stopped early").count() == 0
        provider.email = "eve@example.com"
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("may not read these results").wait_for()
        provider.email = "ada@example.org"
        page.get_by_role("button", name="Sign in as somebody else").click()
        page.get_by_role("button", name="Sign in", exact=True).click()
        # The link that was asked for, and not the first page.
        page.get_by_text("PED-ANOVA").wait_for()
        assert page.url == f"{site}/sweep?sweep=mate&view=Importance"
        page.get_by_role("link", name="Overview").click()
        page.get_by_text("Sweeps running").wait_for()
        page.reload()
        page.get_by_text("Sweeps running").wait_for()
        assert page.url.rstrip("/") == site, "it goes there once"
        page.evaluate("sessionStorage.setItem('limbeck address', '//example.com/sweep')")
        page.goto(site)
        # A path of this server, which has no such page, and not another server.
        page.wait_for_url(f"{site}//example.com/sweep")
        page.close()


def test_a_missing_package_lets_nobody_in(at_demo: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "_configured", lambda: True)
    monkeypatch.setattr(sign_in, "find_spec", lambda name: None)
    app = open_page()
    assert "pip install 'streamlit[auth]'" in said(app)
    assert numbers(app) == {}
