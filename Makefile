# `make demo` and `make test` need nothing run before them. PIP_FLAGS goes to pip: on Linux the
# default torch brings several GB of CUDA; name the index of its CPU builds there to save them.
PYTHON ?= python3
PIP_FLAGS ?=
PACKAGING := setup.cfg setup.py pyproject.toml constraints.txt

.PHONY: venv demo test coverage networks device-test own-pictures shapes picture docs docs-test audit fuzz trust versions web-files \
	web-test report-test portability arm64 emulated-x86 image release clean

venv: .venv/installed

.venv/installed: $(PACKAGING)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[all]'
	touch $@

demo: venv
	.venv/bin/eed-edge demo --out build/demo

test: venv
	scripts/check

# The same with the lines that tests reach; fails under 85 %.
coverage: venv
	COVERAGE=1 scripts/check

# The whole flow on every network of docs/NETWORKS.md, of which make test has three, and more random removals.
networks: venv
	NETWORKS=all OMP_NUM_THREADS=1 .venv/bin/python -m pytest --numprocesses 2 tests/examine/test_flows.py \
		tests/examine/test_coverage.py tests/examine/test_odd_networks.py

# The runtime as a device has it: the wheel and no torch.
build/device/installed: $(PACKAGING) $(shell find eed_edge -name '*.py')
	$(PYTHON) -m venv build/device
	rm -rf build/lib  # setuptools would pack what was deleted since
	build/device/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt \
		'.[images]' hypothesis pytest pytest-timeout
	touch $@

device-test: build/device/installed
	! build/device/bin/python -c 'import torch' 2>/dev/null
	rm -rf build/device-tree && mkdir build/device-tree
	cp -r tests setup.cfg examples build/device-tree  # and not the package: the tests must find the installed one
	cd build/device-tree && ../device/bin/python -m pytest tests/runtime

# 43 classes of drawn photographs in folders, from init to the report; half an hour on two cores.
OWN := build/own-pictures
own-pictures: venv
	[ -d $(OWN)/signs ] || .venv/bin/python -m tests.photographs $(OWN)/signs
	[ -f $(OWN)/signs.toml ] || .venv/bin/eed-edge init $(OWN)/signs --out $(OWN)/signs.toml
	.venv/bin/eed-edge train $(OWN)/signs.toml --data $(OWN)/signs --run $(OWN)/run
	.venv/bin/eed-edge export $(OWN)/run $(OWN)/bundle
	.venv/bin/eed-edge attack $(OWN)/run $(OWN)/bundle --data $(OWN)/signs
	.venv/bin/eed-edge bench $(OWN)/bundle --run $(OWN)/run
	.venv/bin/eed-edge report $(OWN)/run $(OWN)/bundle --html $(OWN)/report.html

# The start of docs/TUTORIAL.md with drawn circles, squares and triangles, 150 each; fails unless well above chance.
SHAPES := build/shapes
shapes: venv
	[ -d $(SHAPES)/shapes ] || .venv/bin/python -m tests.shapes $(SHAPES)/shapes
	[ -f $(SHAPES)/shapes.toml ] || .venv/bin/eed-edge init $(SHAPES)/shapes --out $(SHAPES)/shapes.toml
	.venv/bin/eed-edge train $(SHAPES)/shapes.toml --data $(SHAPES)/shapes --run $(SHAPES)/run
	.venv/bin/eed-edge export $(SHAPES)/run $(SHAPES)/bundle
	.venv/bin/eed-edge check $(SHAPES)/bundle
	.venv/bin/eed-edge run $(SHAPES)/bundle $(SHAPES)/shapes/*/000.png
	.venv/bin/eed-edge attack $(SHAPES)/run $(SHAPES)/bundle --data $(SHAPES)/shapes
	.venv/bin/eed-edge report $(SHAPES)/run $(SHAPES)/bundle --html $(SHAPES)/report.html
	.venv/bin/python -m tests.docs.above_chance $(SHAPES)/run/report.json --classes 3

# The README's picture, from the reference model's report.
picture: venv
	.venv/bin/python benchmarks/picture.py models/cifar10-resnet18-w16/report.json docs/accuracy-against-time.svg

# The documentation as a site, build/docs/index.html; a warning is an error.
.venv/docs: .venv/installed
	.venv/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[docs]'
	touch $@

docs: .venv/docs
	.venv/bin/python -m sphinx --fail-on-warning --fresh-env --quiet -c docs -b html . build/docs

# Every code block of README and docs, in order, in scratch folders below build/docs-test; PAGES="INT8.md" runs some.
.PHONY: docs-test
docs-test: venv
	OMP_NUM_THREADS=1 .venv/bin/python -m tests.docs.run_blocks $(PAGES)

# MINUTES of fuzzing of the walk over ONNX files against onnx's parsers, then changed files of other kinds.
MINUTES ?= 5
fuzz: venv
	.venv/bin/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[fuzz]'
	.venv/bin/python -m tests.fuzz.walk_fuzzer $(MINUTES)
	FUZZ_EXAMPLES=$$((200 * $(MINUTES))) .venv/bin/python -m pytest --timeout 3600 tests/fuzz \
		tests/hostile/test_readers_agree.py

# Hostile files, kills, full disks and many threads: prints what was accepted, hung, lost or wrong, which must be
# 0. LONG=1 makes 50 kills and 500,000 predictions.
trust: venv
	.venv/bin/python -m tests.trust.make_trust $(if $(LONG),--long) $(if $(OUT),--out $(OUT))

# The built wheel with the oldest and the newest packages on Python 3.11, the newest on 3.12 and 3.13.
versions:
	scripts/versions

# Known vulnerabilities of the device set. Needs the internet; fails where any package could not be judged.
build/audit/installed:
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet 'pip-audit>=2.10,<3'
	touch $@

audit: build/audit/installed
	build/audit/bin/python scripts/audit

# The three files of onnxruntime-web that `eed-edge web` needs, by npm, into eed_edge/web/vendor.
web-files: build/device/installed
	build/device/bin/python scripts/web-files

# The report's page in a headless Chromium: at 360 and 1280 pixels, and printed. Needs Chromium and pdftotext.
report-test: venv
	.venv/bin/python -m pytest tests/html/in_chromium.py

# The page in a headless Chromium, compared with Python; screenshots in build/web-test. Needs node, npm and Chromium.
web-test: venv web-files
	.venv/bin/python -m pytest tests/web/in_chromium.py

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

# The demo's team in int8, or INT8_BUNDLE=folder. Up to five of the 266 calib images may be lost; the usual 0.5 % is one.
INT8_BUNDLE ?= build/demo/bundle-int8

build/demo/bundle-int8/manifest.json: | venv build/demo/bundle/manifest.json
	.venv/bin/eed-edge export build/demo/run build/demo/bundle-int8 --int8 --single-file --max-drop 0.02

# The device package with the aarch64 wheels, emulated, in float and in int8. Needs Debian's apt-get, no root.
arm64: venv $(BUNDLE)/manifest.json $(INT8_BUNDLE)/manifest.json
	.venv/bin/python benchmarks/portability/arm64.py $(BUNDLE) $(IMAGES)
	.venv/bin/python benchmarks/portability/arm64.py $(INT8_BUNDLE) $(IMAGES)

# The int8 team on an emulated x86 processor without VNNI. Needs qemu-x86_64-static, or Debian's apt-get.
emulated-x86: venv $(INT8_BUNDLE)/manifest.json
	.venv/bin/python benchmarks/portability/emulated_x86.py $(INT8_BUNDLE) $(IMAGES)

# The container of the runtime, built and tried; TARGET=train the other one. docs/CONTAINER.md has the words it takes.
image:
	PIP_FLAGS="$(PIP_FLAGS)" scripts/image

# Wheel and sdist into dist/, checked and tried outside this folder, with their hashes. Needs the internet.
release: web-files
	PIP_FLAGS="$(PIP_FLAGS)" $(PYTHON) scripts/release

clean:
	rm -rf .venv build dist *.egg-info .coverage .*_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
