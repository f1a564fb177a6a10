#!/bin/sh
# Installs the test servers that come from Debian and npm; those from PyPI are pinned in requirements/dev.txt.
# With the argument `java`: a JDK and Maven only, for `make interop`. With `deploy`: what `make deploy-check` needs.
set -e

debian() { # what for, then packages; none of them is to start a server of its own
    echo "installing $1 for the tests"
    shift
    apt-get update -qq
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

if [ "${1:-}" = deploy ]; then
    [ -x /usr/sbin/nginx ] || debian nginx nginx-light
    command -v systemd-analyze >/dev/null || debian systemd-analyze systemd
    command -v promtool >/dev/null || debian "promtool, of Prometheus," prometheus
    exit
fi
if [ "${1:-}" = java ]; then
    command -v javac >/dev/null && command -v mvn >/dev/null || debian "Java and Maven" default-jdk-headless maven
    exit
fi
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || debian PostgreSQL postgresql
[ -x /usr/sbin/sshd ] && [ -x /usr/bin/ssh-keygen ] || debian OpenSSH openssh-server openssh-client
command -v gpg >/dev/null && command -v gpgconf >/dev/null && command -v gpg-agent >/dev/null ||
    debian "GnuPG, whose agent makes keys," gpg gpg-agent
[ -x /usr/sbin/nginx ] || debian nginx nginx-light
command -v jq >/dev/null || debian "jq, which consumers check manifests with," jq
[ -x /usr/bin/chromium ] && ls /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf >/dev/null 2>&1 ||
    debian "Chromium, with fonts," chromium fonts-dejavu-core fonts-noto-color-emoji
if ! [ -x tests/npm/node_modules/.bin/azurite-blob ] || ! [ -f tests/npm/node_modules/axe-core/axe.min.js ]; then
    echo "installing Azurite and axe-core for the tests"
    npm ci --prefix tests/npm --silent --no-audit --no-fund
fi
