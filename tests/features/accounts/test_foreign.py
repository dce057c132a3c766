"""The files of other software, read record by record."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from limen.features.accounts import foreign_files
from limen.features.accounts.foreign import ForeignAccount, Read, accounts_in
from limen.features.accounts.foreign_files import ForeignFile, Unreadable

MADE = json.loads((Path(__file__).parents[2] / "crypto" / "foreign_hashes.json").read_text())
BCRYPT = "$2b$05$eVgzfVzZaomTj.zc0n17Geq8eDcQmjNa6f4Csd1AmBcrQbNI4p7QG"


def read(path: Path, source: str, text: str | bytes) -> list[Read]:
    """Write the file, and read the accounts in it."""
    path = path / "export"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    file = ForeignFile(path)
    try:
        return list(accounts_in(file, source))
    finally:
        file.close()


def accounts(found: list[Read]) -> list[ForeignAccount]:
    """Return those that could be read."""
    return [each for each in found if isinstance(each, ForeignAccount)]


def test_own_lines(tmp_path: Path) -> None:
    """Each line is an object of the documented fields; the others are told by their number, and the rest goes on."""
    whole = {
        "username": "Ann",
        "email": "ann@example.org",
        "email_verified": True,
        "password_hash": BCRYPT,
        "roles": ["maker"],
        "disabled": True,
        "created_at": "2020-05-01T12:00:00Z",
        "id": "01a206dd-3a09-70bf-9935-7af967c47223",
        "key": "17",
    }
    lines = [
        b"\xef\xbb\xbf" + json.dumps(whole).encode(),
        b"",
        b'{"username": "bob"}',
        b'{"username": "cid", "surprise": 1}',
        b'{"username": 5}',
        b'{"username": "dan", "created_at": "yesterday"}',
        b"{",
        b'{"username": "' + b"x" * foreign_files.MOST_RECORD + b'"}',
        b"\xff\xfe",
        b'{"username": "eve"}',
    ]
    found = read(tmp_path, "jsonl", b"\n".join(lines))
    ann = ForeignAccount(
        1,
        "17",
        "Ann",
        "ann@example.org",
        True,
        BCRYPT,
        frozenset({"maker"}),
        False,
        1_588_334_400_000,
        str(whole["id"]),
    )
    assert accounts(found) == [ann, ForeignAccount(3, "", "bob"), ForeignAccount(10, "", "eve")]
    assert [tuple(each) for each in found if isinstance(each, Unreadable)] == [
        (4, "malformed"),
        (5, "malformed"),
        (6, "malformed"),
        (7, "malformed"),
        (8, "too_long"),
        (9, "malformed"),
    ]


CSV = f"""id,email,hashed_password,is_active,is_superuser,is_verified
1f0c,Ann@example.org,{BCRYPT},t,f,true
2f0c,bob@example.org,"{BCRYPT}",False,True,0
3f0c,cid@example.org,{BCRYPT},perhaps,f,f
4f0c,dan@example.org
"""


def test_a_table_of_fastapi_users_as_values(tmp_path: Path) -> None:
    """The address is the name; truths are read as databases write them; what is neither is told by its line."""
    found = read(tmp_path, "fastapi-users", CSV)
    assert found == [
        ForeignAccount(2, "1f0c", "Ann@example.org", "Ann@example.org", True, BCRYPT),
        ForeignAccount(
            3, "2f0c", "bob@example.org", "bob@example.org", False, BCRYPT, frozenset({"superuser"}), active=False
        ),
        Unreadable(4, "malformed"),
        Unreadable(5, "malformed"),
    ]


@pytest.mark.parametrize("as_array", [False, True])
def test_a_table_of_fastapi_users_as_json(tmp_path: Path, as_array: bool) -> None:
    """JSON lines and an array of objects mean the same."""
    rows = [
        {"id": "1f", "email": "ann@example.org", "hashed_password": BCRYPT, "is_active": True, "is_verified": True},
        {"id": "2f", "email": "bob@example.org", "hashed_password": BCRYPT, "is_superuser": True},
    ]
    text = json.dumps(rows, indent=1) if as_array else "\n".join(map(json.dumps, rows))
    found = accounts(read(tmp_path, "fastapi-users", text))
    assert [(each.key, each.username, each.email_verified) for each in found] == [
        ("1f", "ann@example.org", True),
        ("2f", "bob@example.org", False),
    ]
    assert found[1].roles == {"superuser"}


def django(**fields: Any) -> dict[str, Any]:
    """Return an object as ``manage.py dumpdata auth`` writes it."""
    blank = {
        "password": MADE["hashes"][0][2],
        "last_login": None,
        "is_superuser": False,
        "username": "ann",
        "first_name": "",
        "last_name": "",
        "email": "",
        "is_staff": False,
        "is_active": True,
        "date_joined": "2020-05-01T12:00:00.123Z",
        "groups": [],
        "user_permissions": [],
    }
    return {"model": "auth.user", "pk": 7, "fields": blank | fields}


@pytest.mark.parametrize("as_lines", [False, True])
def test_what_django_dumps(tmp_path: Path, as_lines: bool) -> None:
    """Objects with a password are accounts; superuser, staff and groups are roles; an unusable password is none."""
    objects = [
        {"model": "auth.group", "pk": 1, "fields": {"name": "editors", "permissions": []}},
        django(),
        django(username="bob", email="bob@example.org", is_superuser=True, is_staff=True, is_active=False),
        django(username="cid", password="!kPUSBa7hYb2", groups=[["editors"], 5]),
    ]
    text = "\n".join(map(json.dumps, objects)) if as_lines else json.dumps(objects)
    ann, bob, cid = accounts(read(tmp_path, "django", text))
    assert (ann.key, ann.username, ann.email, ann.password_hash) == ("7", "ann", None, MADE["hashes"][0][2])
    assert (ann.created_at, ann.roles, ann.active) == (1_588_334_400_123, frozenset(), True)
    assert (bob.email, bob.active) == ("bob@example.org", False)
    assert bob.roles == {"superuser", "staff"}
    assert cid.password_hash is None
    assert cid.roles == {"editors", "group:5"}


def keycloak(**changes: Any) -> dict[str, Any]:
    """Return a user as a realm's export has it."""
    _, _, data, secret = MADE["keycloak"][0]
    blank = {
        "id": "3e6a",
        "createdTimestamp": 1_588_334_400_123,
        "username": "ann",
        "enabled": True,
        "totp": False,
        "emailVerified": True,
        "email": "ann@example.org",
        "credentials": [{"id": "c", "type": "password", "credentialData": data, "secretData": secret}],
        "requiredActions": [],
        "realmRoles": ["default-roles-shop", "offline_access", "uma_authorization", "maker"],
        "clientRoles": {"orders": ["checker"]},
    }
    return blank | changes


def realm(*users: Any) -> str:
    """Return an export, with something before the users and behind them."""
    before = {"id": "shop", "realm": "shop", "clients": [{"users": ["nobody", 1e3]}], "users": list(users)}
    return json.dumps({**before, "scopes": {"users": []}}, indent=2)


def test_a_realm_of_keycloak(tmp_path: Path) -> None:
    """The users of the realm are read, and nothing else that bears that name; standard roles mean nothing here."""
    found = accounts(
        read(
            tmp_path,
            "keycloak",
            realm(
                keycloak(),
                keycloak(username="bob", enabled=False, credentials=[], emailVerified=False, email=None),
                keycloak(username="cid", credentials=[{"type": "otp"}]),
                keycloak(username="service-account-x", serviceAccountClientId="x"),
                keycloak(username="dan", credentials=[{"type": "password", "secretData": "{}", "credentialData": "["}]),
            ),
        )
    )
    ann, bob, cid, service, dan = found
    assert (ann.key, ann.username, ann.email, ann.email_verified) == ("3e6a", "ann", "ann@example.org", True)
    assert (ann.created_at, ann.second_factor) == (1_588_334_400_123, False)
    assert ann.roles == {"maker", "orders/checker"}
    assert ann.password_hash is not None
    assert ann.password_hash.startswith("$pbkdf2-sha256$i=27500$")
    assert (bob.active, bob.email, bob.password_hash) == (False, None, None)
    assert (cid.second_factor, service.fault) == (True, "service_account")
    assert dan.password_hash == "unreadable", "which is no hash, and is refused as such"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("django", '[{"model": "auth.user", "pk": 1'),
        ("django", "[" + json.dumps(django()) + "}"),
        ("django", "[NaN]"),
        ("django", "[" * 100_000),
        ("keycloak", '{"users": [5, '),
        ("keycloak", "5"),
        ("keycloak", ""),
        ("keycloak", '{"users": {}} '),
        ("keycloak", '{"a": "' + "x" * 200_000),
        ("fastapi-users", b'a,"b\n'),
        ("fastapi-users", b"\x00\xff\xfe\n"),
        ("jsonl", "\x00" * 10),
    ],
)
def test_a_broken_file_is_told_and_not_a_fault_of_limens(tmp_path: Path, source: str, text: str | bytes) -> None:
    """A file that ends too early, nests without end or is something else yields no account and no exception."""
    found = read(tmp_path, source, text)
    assert len(accounts(found)) <= 1
    assert all(each.code in {"malformed", "file_broken"} for each in found if isinstance(each, Unreadable))


def test_lines_are_counted_across_pieces(tmp_path: Path) -> None:
    """The line of a record is the one it begins on, however far into the file, and in whatever pieces it is read."""
    text = "[\n" + ",\n\n".join(json.dumps(django(username=f"name{number}")) for number in range(2_000)) + "\n]\n"
    found = accounts(read(tmp_path, "django", text))
    assert [each.line for each in found] == [2 + 2 * number for number in range(2_000)]
    assert found[-1].username == "name1999"


@pytest.mark.parametrize("source", ["django", "keycloak", "jsonl"])
def test_a_large_file_takes_little_memory(tmp_path: Path, source: str) -> None:
    """Sixteen megabytes are read in less than six."""
    filler = "x" * 4_000
    path = tmp_path / "export"
    with path.open("w") as out:
        out.write({"django": "[", "keycloak": '{"realm": "shop", "users": [', "jsonl": ""}[source])
        for number in range(4_000):
            name = f"name{number}"
            one = {"django": django(username=name, note=filler), "keycloak": keycloak(username=name, note=filler)}
            out.write("," if number and source != "jsonl" else "\n")
            out.write(json.dumps(one.get(source, {"username": name, "password_hash": filler})))
        out.write({"django": "]", "keycloak": "]}", "jsonl": "\n"}[source])
    file = ForeignFile(path)
    assert file.size > 16_000_000
    tracemalloc.start()
    try:
        count = sum(isinstance(each, ForeignAccount) for each in accounts_in(file, source))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        file.close()
    assert count == 4_000
    assert most < 6_000_000
