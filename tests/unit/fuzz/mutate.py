"""Damage to bytes, as disks, networks and people who mean harm do it."""

from __future__ import annotations

import copy
import json

DICTIONARY = [
    b"\x00",
    b"\xff\xff\xff\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x00\x00\x00\x80",
    b"\r",
    b'"',
    b"[" * 5000,
    b'{"a":' * 3000,
    b"-1",
    b"99999999999999999999",
    b"9" * 5000,
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"\\ud800",
    b"../../evil",
    b"<![[[[",
    b"a" * 140_000,
    b"%s%n{}",
    b"http://[::1/x",
    b"$(id)",
]
ODD = [None, True, -1, 0, 2**70, -(2**70), 1e308, "", "\ud800", "x" * 300, [], {}, [[]], {"a": None}, "../x", [2**63]]


def mutated(random, data):
    """Change a file in one to four places."""
    data = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data) + 1)
        match random.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at : at + random.randint(1, 64)] = b""
            case 2:
                data[at:at] = random.choice(DICTIONARY)
            case 3:
                data[at : at + 8] = random.choice(DICTIONARY)
            case 4:
                other = random.randrange(len(data) + 1)
                data[at:at] = data[other : other + random.randint(1, 200)]
            case 5:
                del data[at:]
            case _:
                data[at : at + 4] = random.randbytes(4)
    return bytes(data)


def mutated_json(random, value):
    """Change a JSON value at one to three of its places, so that it stays JSON."""
    value = json.loads(json.dumps(value))
    for _ in range(random.randint(1, 3)):
        holder, keys = value, []
        places = list(_places(value))
        if not places:
            return copy.deepcopy(random.choice(ODD))
        holder, keys = random.choice(places)
        match random.randrange(3):
            case 0 if isinstance(holder, dict):
                del holder[keys]
            case 1 if isinstance(holder, dict):
                holder[random.choice(["", "x", "\ud800", "__proto__", str(keys) * 2])] = copy.deepcopy(
                    random.choice(ODD)
                )
            case _:
                holder[keys] = copy.deepcopy(random.choice(ODD))
    return value


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)
