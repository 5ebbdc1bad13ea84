"""``export --sign`` signs what it writes, and refuses a bad key before it works."""

import subprocess

import pytest

from eed_edge.runtime.bundle.signature import signature_path
from tests.conftest import call


@pytest.mark.usefixtures("exported_once")
def test_export_check_and_a_later_export_without_a_key(flow, tmp_path):
    pytest.importorskip("model_signing", reason="needs the extra sign")
    private, public, bundle = tmp_path / "key.pem", tmp_path / "key.pub", tmp_path / "bundle"
    make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private]
    subprocess.run(make, check=True)
    subprocess.run(["openssl", "ec", "-in", private, "-pubout", "-out", public], check=True)
    result = call("export", flow.run, bundle, "--sign", private)
    assert f"signature: {signature_path(bundle)}" in result.stdout
    assert call("check", bundle, "--verify", public).exit_code == 0
    result = call("export", flow.run, bundle, "--with-dense")
    assert f"{signature_path(bundle)} is of an earlier bundle" in result.stdout
    assert call("check", bundle, "--verify", public).exit_code == 1


def test_a_bad_key_is_refused_before_any_work(tmp_path):
    pytest.importorskip("model_signing", reason="needs the extra sign")
    (tmp_path / "key.pem").write_text("no key")
    result = call("export", tmp_path / "no-run", tmp_path / "bundle", "--sign", tmp_path / "key.pem")
    assert result.exit_code == 1
    assert "expected a private key on P-256" in result.stderr
