# `make demo` and `make test` need nothing run before them. PIP_FLAGS goes to pip: on Linux the
# default torch brings several GB of CUDA; name the index of its CPU builds there to save them.
PYTHON ?= python3
PIP_FLAGS ?=
PACKAGING := setup.cfg setup.py pyproject.toml constraints.txt

.PHONY: venv demo test device-test audit portability arm64 clean

venv: .venv/installed

.venv/installed: $(PACKAGING)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[all]'
	touch $@

demo: venv
	.venv/bin/eed-edge demo --out build/demo

test: venv
	scripts/check

# The runtime as a device has it: the wheel and no torch.
build/device/installed: $(PACKAGING) $(shell find eed_edge -name '*.py')
	$(PYTHON) -m venv build/device
	rm -rf build/lib  # setuptools would pack what was deleted since
	build/device/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt \
		'.[images]' hypothesis pytest pytest-timeout
	touch $@

device-test: build/device/installed
	! build/device/bin/python -c 'import torch' 2>/dev/null
	build/device/bin/python -m pytest tests/runtime

# Known vulnerabilities of the device set. Needs the internet; fails where any package could not be judged.
build/audit/installed:
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet 'pip-audit>=2.10,<3'
	touch $@

audit: build/audit/installed
	build/audit/bin/python scripts/audit

# The demo's bundle elsewhere, or BUNDLE=folder IMAGES=file.npz. Needs node, npm and Chromium.
# ONNXRUNTIME=prefix, with its C++ headers and library, has the C++ example compiled and compared too.
BUNDLE ?= build/demo/bundle
IMAGES ?= build/demo/run/evaluation.npz

$(BUNDLE)/manifest.json: | venv
	@[ "$(BUNDLE)" = build/demo/bundle ] || { echo "expected a bundle in $(BUNDLE), got none" >&2; exit 1; }
	$(MAKE) demo

portability: venv $(BUNDLE)/manifest.json
	.venv/bin/python benchmarks/portability/javascript.py $(BUNDLE) $(IMAGES) \
		$(if $(ONNXRUNTIME),--onnxruntime $(ONNXRUNTIME))

# The device package with the aarch64 wheels, emulated. Needs Debian's apt-get, no root.
arm64: venv $(BUNDLE)/manifest.json
	.venv/bin/python benchmarks/portability/arm64.py $(BUNDLE) $(IMAGES)

clean:
	rm -rf .venv build dist *.egg-info .coverage .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
