#!/usr/bin/env sh
# Checks the files in deploy/ by their own validators: `make deploy-check`, which installs those.
set -eu
cd "$(dirname "$0")/../.."
tools=$PWD/.deploy/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "deploy-check: $1" >&2; exit 1; }

# Expects no output: these tools exit with 0 after many of their warnings.
silent() { # what is checked, then the command
    what=$1
    shift
    "$@" > "$work/said" 2>&1 || { cat "$work/said" >&2; fail "$what"; }
    test ! -s "$work/said" || { cat "$work/said" >&2; fail "$what has warnings"; }
    echo "$what: valid"
}

silent Containerfile "$tools/hadolint" --failure-threshold style deploy/Containerfile

for name in OFFTAKE_DATABASE_PASSWORD OFFTAKE_VAULT_KEY; do
    grep -q "^$name=$" deploy/env.example || fail "deploy/env.example has no $name"
done
sed 's/^\(OFFTAKE_DATABASE_PASSWORD\|OFFTAKE_VAULT_KEY\)=$/\1=secret/' deploy/env.example > "$work/env"
silent compose.yaml "$tools/docker-compose" -f deploy/compose.yaml --env-file "$work/env" config --quiet
if "$tools/docker-compose" -f deploy/compose.yaml --env-file /dev/null config --quiet 2> /dev/null; then
    fail "Compose starts without passwords"
fi

for file in base migrate api worker; do
    silent "kubernetes/$file.yaml" "$tools/kubernetes-validate" --strict --quiet "deploy/kubernetes/$file.yaml"
done
"$tools/python" -c 'import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)' \
    < deploy/kubernetes/worker-scaling.yaml | node tests/deploy/keda/check.js || fail "kubernetes/worker-scaling.yaml"

# systemd-analyze looks for the program of each unit.
mkdir "$work/units"
for unit in deploy/systemd/*.service; do
    sed "s|/opt/offtake/bin/offtake|$PWD/.venv/bin/offtake|" "$unit" > "$work/units/$(basename "$unit")"
done
mv "$work/units/offtake-worker@.service" "$work/units/offtake-worker@8081.service"
silent "systemd units" systemd-analyze verify --man=no "$work"/units/*.service
for unit in "$work"/units/*.service; do
    # The score of exposure, times ten, may be 20 at most.
    systemd-analyze security --offline=true --no-pager --threshold=20 "$unit" > "$work/score" ||
        { cat "$work/score" >&2; fail "$(basename "$unit") is exposed too much"; }
    tail -n 1 "$work/score" | sed "s|.*exposure level for|security:|"
done

(cd deploy/prometheus && promtool check config prometheus.yml > "$work/said" 2>&1) ||
    { cat "$work/said" >&2; fail "prometheus/prometheus.yml"; }
promtool check rules --lint=all --lint-fatal deploy/prometheus/alerts.yml > "$work/said" 2>&1 ||
    { cat "$work/said" >&2; fail "prometheus/alerts.yml"; }
promtool test rules tests/deploy/alerts_test.yml > "$work/said" 2>&1 ||
    { cat "$work/said" >&2; fail "an alert of prometheus/alerts.yml"; }
# Names, units and texts, as Prometheus's conventions have them.
"$PWD/.venv/bin/python" -m tests.deploy.metrics_page > "$work/page" && promtool check metrics < "$work/page" > "$work/said" 2>&1 ||
    { cat "$work/said" >&2; fail "/metrics"; }
echo "prometheus: valid, $(grep -c '      - alert:' deploy/prometheus/alerts.yml) alerts tested"

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=offtake.example \
    -keyout "$work/privkey.pem" -out "$work/fullchain.pem" 2> /dev/null
sed "s|/etc/offtake/tls/|$work/|" deploy/nginx/offtake.conf > "$work/offtake.conf"
echo "pid $work/pid; error_log stderr warn; events {} http { access_log off; include $work/offtake.conf; }" > "$work/nginx.conf"
/usr/sbin/nginx -q -t -p "$work" -c "$work/nginx.conf" > "$work/said" 2>&1 || { cat "$work/said" >&2; fail "nginx/offtake.conf"; }
test ! -s "$work/said" || { cat "$work/said" >&2; fail "nginx/offtake.conf has warnings"; }
echo "nginx/offtake.conf: valid"
