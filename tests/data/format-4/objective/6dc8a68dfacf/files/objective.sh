#!/bin/sh
. "$AXSCHED_PARAMETERS_FILE"
report() { echo "{\"step\": $1, \"loss\": $2}" >>"$AXSCHED_PROGRESS_FILE"; }
report 1 1
report "$((AXSCHED_ATTEMPT + 1))" 0.5
if [ "$AXSCHED_TRIAL" = 9 ]; then report 3 [9.5,0.25]; sleep 60; fi
below() { awk "BEGIN { exit !($x < $1) }"; }
if below 0.5 && ! below 0.3 && [ "$AXSCHED_ATTEMPT" -lt 3 ]; then kill -9 $PPID; fi
if below 0.3; then echo "no value at x = $x" >&2; exit 3; fi
awk "BEGIN { print \"loss\", ($x - 0.6)^2, 0.01 }" >"$AXSCHED_METRICS_FILE"
