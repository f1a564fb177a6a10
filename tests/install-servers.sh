#!/bin/sh
# Installs the test servers that come from Debian; those from PyPI are pinned in requirements/dev.txt.
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
fi
