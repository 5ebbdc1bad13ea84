"""Manifests, sealed where they are JSON, that would exhaust whoever believes them."""

import json

from tests.hostile.changed_bundle import Generator, with_manifest


def put(content: dict, path: str, value: object) -> dict:
    *parents, last = path.split(".")
    at = content
    for name in parents:
        at = at[int(name)] if name.isdigit() else at[name]
    at[int(last) if last.isdigit() else last] = value
    return content


def many_keys(content: dict) -> bytes:
    return json.dumps({**content, **{str(i): 0 for i in range(100_000)}}).encode()


MANIFESTS: dict[str, Generator] = {
    "manifest: 100,000 keys": with_manifest(many_keys),
    "manifest: 60,000 keys in a megabyte": with_manifest(
        lambda m: json.dumps(put(m, "metrics", {str(i): 0 for i in range(60_000)})).encode()
    ),
    "manifest: one key many times": with_manifest(lambda _: b'{"a":0' + b',"a":0' * 150_000 + b"}"),
    "manifest: deep": with_manifest(lambda _: b'{"a":' * 100_000 + b"0" + b"}" * 100_000),
    "manifest: lists in lists": with_manifest(lambda _: b"[" * 400_000),
    "manifest: 17 levels": with_manifest(lambda m: put(m, "metrics", {"a": json.loads("[" * 17 + "]" * 17)})),
    "manifest: resize to 60,000": with_manifest(lambda m: put(m, "input.preprocess.resize", [60_000] * 2)),
    "manifest: resize to 10**12": with_manifest(lambda m: put(m, "input.preprocess.resize", [10**12] * 2)),
    "manifest: shorter side of 60,000": with_manifest(
        lambda m: {
            **put(put(m, "input.preprocess.resize", None), "input.preprocess.shorter_side", 60_000),
            "schema": 2,
        }
    ),
    "manifest: crop to 400 digits": with_manifest(
        lambda m: put(m, "input.preprocess.crop", [int("7" * 400)] * 2)
    ),
    "manifest: input of 10**6": with_manifest(lambda m: put(m, "input.shape", ["N", 1, 10**6, 10**6])),
    "manifest: bytes of 300 digits": with_manifest(lambda m: put(m, "submodels.0.bytes", int("7" * 300))),
    "manifest: macs of 300 digits": with_manifest(lambda m: put(m, "submodels.0.macs", int("7" * 300))),
    "manifest: 10,000 sub-models": with_manifest(lambda m: put(m, "submodels", m["submodels"] * 5000)),
    "manifest: a key of 900,000 letters": with_manifest(lambda m: {**m, "k" * 900_000: 0}),
    "manifest: a metric of 900,000 letters": with_manifest(
        lambda m: put(m, "metrics", {"k" * 900_000: None})
    ),
    "manifest: a file of 900,000 letters": with_manifest(lambda m: put(m, "submodels.0.file", "k" * 900_000)),
    "manifest: an input of 900,000 letters": with_manifest(lambda m: put(m, "input.name", "k" * 900_000)),
    "manifest: a class of 900,000 letters": with_manifest(lambda m: put(m, "classes.0", "k" * 900_000)),
    "manifest: a name of 900,000 letters": with_manifest(lambda m: put(m, "name", "k" * 900_000)),
    "manifest: a number of 5,000 digits": with_manifest(
        lambda m: json.dumps(m).replace('"schema": 1', '"schema": 1' + "0" * 5000).encode()
    ),
}
