#!/bin/sh
# A weight of 1 kg on a damped spring is let go 1 m from rest. How restless is it over 20 s, and how hard does
# the spring have to pull? Reads stiffness and damping, writes a line "unrest VALUE".
set -eu
. "$AXSCHED_PARAMETERS_FILE"

awk -v stiffness="$stiffness" -v damping="$damping" 'BEGIN {
    x = 1; v = 0; dt = 0.001
    for (t = 0; t < 20; t += dt) {
        force = -stiffness * x - damping * v
        v += force * dt
        x += v * dt
        unrest += (t * (x < 0 ? -x : x) + 0.1 * force * force) * dt
    }
    printf "unrest %.6f\n", unrest
}' >"$AXSCHED_METRICS_FILE"
