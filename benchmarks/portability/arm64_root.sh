#!/usr/bin/env bash
# A folder with what an arm64 device has: Debian's Python for arm64, and qemu to run it; no root needed.
#     arm64_root.sh FOLDER
# Packages come from the Debian mirrors that this machine uses, with package lists of our own.
set -euo pipefail
folder=$(realpath -m "$1")

for program in apt-get dpkg; do
    command -v "$program" >/dev/null || { echo "expected $program: this needs a Debian machine" >&2; exit 1; }
done

# unpack ARCHITECTURE TARGET PACKAGE...: these packages, and with "closure" all that they depend on
unpack() {
    local architecture=$1 target=$2 state=$folder/apt-$1
    shift 2
    mkdir -p "$state/lists/partial" "$state/archives/partial" "$target"
    : >"$state/status"
    local options=(-qq -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
        -o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state"
        -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1)
    apt-get "${options[@]}" update
    if [ "$1" = closure ]; then
        shift
        apt-get "${options[@]}" --no-install-recommends --download-only --yes install "$@"
    else
        (cd "$state/archives" && apt-get "${options[@]}" download "$@")
    fi
    for package in "$state"/archives/*.deb; do
        dpkg -x "$package" "$target"
    done
}

unpack arm64 "$folder/root" closure python3 libstdc++6
[ -e "$folder/root/lib" ] || ln -s usr/lib "$folder/root/lib"
command -v qemu-aarch64-static >/dev/null || command -v qemu-aarch64 >/dev/null ||
    unpack "$(dpkg --print-architecture)" "$folder/qemu" qemu-user-static
