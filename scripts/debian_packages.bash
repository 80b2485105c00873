# How scripts/test and scripts/bench get Debian packages and say what is wrong; both source it.

fail() {
    printf 'scripts/%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 2
}

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "Debian packages are missing; as root, run: $*"
    fi
}

# Installs the packages named; there may be none.
install_missing() {
    if (($# == 0)); then
        echo "Debian packages: all there"
        return
    fi
    command -v apt-get >/dev/null ||
        fail "needs $*, and this system has no apt-get; install them and run it again"
    echo "Debian packages: installing $*"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}
