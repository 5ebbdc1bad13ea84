"""A trusted key opens the bundle that its owner signed, byte for byte, and no other."""

import json
import os
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

import eed_edge
from eed_edge import manifest as contract
from eed_edge.errors import BundleError, DeviceError, InputError
from eed_edge.runtime.bundle import folder as folder_module
from eed_edge.runtime.bundle.signature import signature_path
from tests.runtime.conftest import Tiny
from tests.runtime.test_command_line import call


def test_without_model_signing_the_message_names_the_extra(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing._signing", None)
    with pytest.raises(DeviceError, match=r"pip install '\.\[sign\]'"):
        eed_edge.load(tiny.folder, trusted_key=tmp_path / "key.pub")


def test_the_signature_lies_beside_the_folder_however_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    assert signature_path("b") == signature_path("b/") == signature_path("./b/../b") == tmp_path / "b.sig"
    monkeypatch.chdir(tmp_path / "b")
    assert signature_path(".") == tmp_path / "b.sig"


def test_a_single_file_takes_no_trusted_key(tmp_path):
    (tmp_path / "cascade.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="expected no trusted_key for a single file"):
        eed_edge.load(tmp_path / "cascade.onnx", trusted_key=tmp_path / "key.pub")


@pytest.fixture
def signing():
    """The packages of the extra ``sign``."""
    pytest.importorskip("model_signing", reason="needs the extra sign")
    from eed_edge.export.sign_bundle import bundle_signer

    return bundle_signer


def write_keys(path, *, curve="SECP256R1"):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(getattr(ec, curve)())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.with_suffix(".pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path, path.with_suffix(".pub")


@pytest.fixture
def signed(signing, tiny, tmp_path):
    """A signed bundle's ``Tiny`` and the public key."""
    private, public = write_keys(tmp_path / "key.pem")
    assert signing(private)(tiny.folder) == signature_path(tiny.folder)
    return tiny, public


def test_a_signed_bundle_loads_and_checks_with_its_key(signed):
    tiny, public = signed
    answer = eed_edge.load(tiny.folder, trusted_key=public)(tiny.images)
    np.testing.assert_array_equal(answer.labels, eed_edge.load(tiny.folder)(tiny.images).labels)
    result = call("check", tiny.folder, "--verify", public)
    assert result.exit_code == 0
    assert f"signed with the key {public}" in result.stdout


@pytest.mark.parametrize("curve", ["SECP384R1", "SECP521R1"])
def test_the_other_curves_serve_too(signing, tiny, tmp_path, curve):
    private, public = write_keys(tmp_path / "key.pem", curve=curve)
    signing(private)(tiny.folder)
    eed_edge.load(tiny.folder, trusted_key=public)


def test_the_signature_is_one_that_model_signing_itself_accepts_whatever_the_card_says(signed):
    from model_signing import verifying

    tiny, public = signed
    (tiny.folder / "README.md").write_text("written later")
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    config.verify(tiny.folder, signature_path(tiny.folder))


def another_bundle(tiny, _tmp_path):
    """Whole and consistent in itself, with the first's signature."""
    shutil.rmtree(tiny.folder)
    Tiny(tiny.folder, seed=5)


def resealed_manifest(tiny, _tmp_path):
    """The same models under other classes, and a manifest that seals them."""
    manifest = contract.parse_manifest((tiny.folder / "manifest.json").read_bytes())
    (tiny.folder / "manifest.json").write_bytes(
        contract.dump_manifest(replace(manifest, classes=("dog", "cat", "owl")))
    )


def no_signature(tiny, _tmp_path):
    signature_path(tiny.folder).unlink()


def empty_signature(tiny, _tmp_path):
    signature_path(tiny.folder).write_bytes(b"")


def signature_without_signatures(tiny, _tmp_path):
    path = signature_path(tiny.folder)
    value = json.loads(path.read_bytes())
    value["dsseEnvelope"]["signatures"] = []
    path.write_text(json.dumps(value))


def signature_without_the_key_s_name(tiny, _tmp_path):
    path = signature_path(tiny.folder)
    value = json.loads(path.read_bytes())
    value["verificationMaterial"]["publicKey"] = {}
    path.write_text(json.dumps(value))


def changed_payload(tiny, _tmp_path):
    path = signature_path(tiny.folder)
    value = json.loads(path.read_bytes())
    payload = value["dsseEnvelope"]["payload"]
    value["dsseEnvelope"]["payload"] = payload[:40] + ("A" if payload[40] != "A" else "B") + payload[41:]
    path.write_text(json.dumps(value))


def signature_of_another_key(tiny, tmp_path):
    from eed_edge.export.sign_bundle import bundle_signer

    bundle_signer(write_keys(tmp_path / "other.pem")[0])(tiny.folder)


def signature_that_is_a_pipe(tiny, _tmp_path):
    signature_path(tiny.folder).unlink()
    os.mkfifo(signature_path(tiny.folder))


@pytest.mark.parametrize(
    "attack",
    [
        another_bundle,
        resealed_manifest,
        no_signature,
        empty_signature,
        signature_without_signatures,
        signature_without_the_key_s_name,
        changed_payload,
        signature_of_another_key,
        signature_that_is_a_pipe,
    ],
    ids=lambda attack: attack.__name__,
)
def test_wrong_missing_and_stripped_signatures_are_refused(signed, tmp_path, attack):
    tiny, public = signed
    attack(tiny, tmp_path)
    eed_edge.load(tiny.folder)  # nothing else is wrong with it
    with pytest.raises(BundleError, match=rf"(?s){re.escape(str(signature_path(tiny.folder)))}"):
        eed_edge.load(tiny.folder, trusted_key=public)
    result = call("check", tiny.folder, "--verify", public)
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "unexpected" not in result.output


def test_the_bytes_that_are_loaded_are_those_that_were_signed(signed, monkeypatch):
    tiny, public = signed
    real = folder_module.check_digests

    def swap_after_verifying(*words):
        real(*words)
        (tiny.folder / "submodel-0.onnx").write_bytes(
            tiny.models[1].ljust(len(tiny.models[0]))[: len(tiny.models[0])]
        )

    monkeypatch.setattr(folder_module, "check_digests", swap_after_verifying)
    with pytest.raises(BundleError, match=r"submodel-0\.onnx: expected SHA-256"):
        eed_edge.load(tiny.folder, trusted_key=public)


@pytest.mark.parametrize("content", [b"", b"no key", None])
def test_keys_that_are_none_are_refused_before_any_work(signing, tiny, tmp_path, content):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="expected a private key on P-256"):
        signing(path)
    with pytest.raises(InputError, match="expected a public key on P-256"):
        eed_edge.load(tiny.folder, trusted_key=path)
