"""Texts of the formats that the OpenAPI document names beside those of JSON Schema, for schemathesis to draw from."""

from pathlib import Path
from urllib.parse import urlencode

import schemathesis
from hypothesis import strategies as st

KEYS = Path(__file__).parent.parent / "tests/it/keypairs"

words = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,15}", fullmatch=True)
paths = st.lists(words, min_size=1, max_size=4).map("/".join)
hosts = st.from_regex(r"([a-z][a-z0-9]{0,9}\.){1,3}example", fullmatch=True) | st.ip_addresses(v=4).map(str)
urls = st.builds("https://{}/{}".format, hosts, paths) | st.builds("http://{}:{}".format, hosts, st.integers(1, 65535))
letters = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)

FORMATS = {
    "absolute-path": st.builds("/{}/{}".format, letters, paths) | paths.map(lambda path: "C:\\" + path.replace("/", "\\")),
    "git-branch": st.builds("{}/{}".format, letters, paths) | words,
    "git-uri": st.builds("https://{}/{}.git".format, hosts, paths)
    | st.builds("ssh://{}@{}/{}".format, words, hosts, paths)
    | st.builds("{}@{}:{}".format, words, hosts, paths)
    | st.builds("/{}".format, paths),
    "glob": st.builds("{}/**".format, paths) | st.builds("**/*.{}".format, words) | st.builds("{{{},{}}}".format, words, words),
    "path-prefix": st.builds("{}/".format, paths) | letters,
    "ssh-key-type": st.sampled_from(["ed25519", "ssh-ed25519"]),
    "ssh-private-key": st.just((KEYS / "canary").read_text()),
    "ssh-public-key": st.just((KEYS / "canary.pub").read_text().strip()),
    "uri": urls,
}

for name, texts in FORMATS.items():
    schemathesis.openapi.format(name, texts)


def numbers(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


@schemathesis.hook
def filter_case(context, case):
    """What OpenAPI cannot say: a URI has at most 32 KiB, a flag without a value is `true`, an integer is written without
    a fraction and has at most 64 bits."""
    query = case.query or {}
    if len(urlencode(query)) > 30_000 or "" in query.values():
        return False
    return not any(
        number.is_integer() if isinstance(number, float) else not -(2**63) <= number < 2**64
        for number in numbers(case.body)
    )
