#!/bin/sh
. "$AXSCHED_PARAMETERS_FILE"
below() { awk "BEGIN { exit !($x < $1) }"; }
if below 0.5 && ! below 0.3 && [ "$AXSCHED_ATTEMPT" -lt 3 ]; then kill -9 $PPID; fi
if below 0.3; then echo "no value at x = $x" >&2; exit 3; fi
awk "BEGIN { print \"loss\", ($x - 0.6)^2, 0.01 }" >"$AXSCHED_METRICS_FILE"
