"""JSON objects with a checksum of their content."""

from __future__ import annotations

import hashlib
import json
import random

import pytest

from clever.errors import UserError
from clever.sealed import check_seal, content_sha256, sealed

CONTENT = {"b": [1, 2.5, None, "ü"], "a": {"z": True, "y": 0.1 + 0.2}}


def test_the_checksum_covers_the_canonical_text() -> None:
    text = '{"a":{"y":0.30000000000000004,"z":true},"b":[1,2.5,null,"\\u00fc"]}'
    assert content_sha256(CONTENT) == hashlib.sha256(text.encode()).hexdigest()
    assert sealed(CONTENT) == {**CONTENT, "content_sha256": content_sha256(CONTENT)}
    assert sealed(sealed(CONTENT)) == sealed(CONTENT)


def test_order_spaces_and_tuples_do_not_matter() -> None:
    again = json.loads(json.dumps(dict(reversed(sealed(CONTENT).items())), indent=3))
    check_seal(again, "a.json", "do it again")
    assert content_sha256({"a": (1, 2)}) == content_sha256({"a": [1, 2]})


def test_every_flipped_bit_that_changes_the_content_is_found() -> None:
    whole = json.dumps(sealed(CONTENT)).encode()
    draw = random.Random(0)
    found = 0
    for _ in range(300):
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        try:
            read = json.loads(content)
        except ValueError:
            continue
        if read == sealed(CONTENT):
            continue
        found += 1
        with pytest.raises(UserError, match=r"a\.json: .*; do it again"):
            check_seal(read, "a.json", "do it again")
    assert found > 50


def test_the_message_has_both_checksums() -> None:
    changed = sealed(CONTENT) | {"b": []}
    with pytest.raises(UserError) as caught:
        check_seal(changed, "a.json", "do it again")
    assert content_sha256({"b": [], "a": CONTENT["a"]})[:12] in str(caught.value)
    assert content_sha256(CONTENT)[:12] in str(caught.value)
    with pytest.raises(UserError, match=r"a\.json: damaged, the key content_sha256 is missing; do it again"):
        check_seal(CONTENT, "a.json", "do it again")
