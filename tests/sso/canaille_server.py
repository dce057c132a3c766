"""The provider `canaille`, in a process of its own: its libraries warn, and keep what they know in globals."""

import datetime as dt
import json
import os
import secrets
import sys
import threading

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, on this machine alone


def main() -> None:
    """Serve one client and one person, who has logged in and agreed, until standard input ends."""
    import portpicker  # type: ignore[import-untyped]
    from canaille import create_app  # type: ignore[import-untyped]
    from canaille.backends import Backend  # type: ignore[import-untyped]
    from joserfc.jwk import JWKRegistry
    from pytest_iam import Server

    told = json.loads(sys.argv[1])
    port = portpicker.pick_unused_port()
    key = JWKRegistry.generate_key("RSA", 2048)
    key.ensure_kid()
    app = create_app(
        config={
            "TESTING": True,
            "ENV_FILE": None,
            "SECRET_KEY": secrets.token_urlsafe(32),
            "WTF_CSRF_ENABLED": False,
            "PREFERRED_URL_SCHEME": "http",
            "SERVER_NAME": f"localhost:{port}",
            "CANAILLE": {
                "DATABASE": "memory",
                "JAVASCRIPT": False,
                "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc", "manage_oidc"]}},
            },
            "CANAILLE_OIDC": {"ACTIVE_JWKS": [key.as_dict(private=True)]},
        }
    )
    server = Server(app, port, Backend.instance)
    with app.app_context():
        client = server.models.Client(
            client_id=told["client_id"],
            client_secret=told["client_secret"],
            client_name="limen",
            contacts=["operator@example.org"],
            redirect_uris=[told["redirect_uri"]],
            post_logout_redirect_uris=[told["logout_uri"]],
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "profile", "email", "groups"],
            token_endpoint_auth_method="client_secret_basic",
            id_token_signed_response_alg="RS256",
            client_id_issued_at=dt.datetime.now(dt.UTC),
        )
        server.backend.save(client)
        client.audience = [client]
        server.backend.save(client)
        user = server.random_user()
        server.login(user)
        server.consent(user)
        person = {"user_name": user.user_name, "email": user.preferred_email}
    threading.Thread(target=server.httpd.serve_forever, daemon=True).start()
    sys.stdout.write(json.dumps({"issuer": server.url.rstrip("/"), **person}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
