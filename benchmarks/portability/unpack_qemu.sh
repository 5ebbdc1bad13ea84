#!/usr/bin/env bash
# Debian's qemu-user-static unpacked into a folder; no root needed.
#     unpack_qemu.sh FOLDER
set -euo pipefail
folder=$(realpath -m "$1")

for program in apt-get dpkg; do
    command -v "$program" >/dev/null || { echo "expected $program: this needs a Debian machine" >&2; exit 1; }
done
state=$folder/apt
mkdir -p "$state/lists/partial" "$state/archives/partial"
: >"$state/status"
options=(-qq -o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state"
    -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1)
apt-get "${options[@]}" update
(cd "$state/archives" && apt-get "${options[@]}" download qemu-user-static)
dpkg -x "$state"/archives/qemu-user-static*.deb "$folder"
