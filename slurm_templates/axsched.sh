# Functions for objectives that are scripts of any POSIX shell. Begin with: . "$AXSCHED_SHELL_LIBRARY"
# shellcheck shell=sh
#
#   axsched_parameter NAME                 prints a parameter's value; fails where there is none of that name
#   axsched_metric NAME VALUE [SEM]        reports a metric, with its standard error where that is known
#   axsched_report STEP NAME VALUE [SEM]   reports an intermediate value, where it is asked for

axsched_parameter() {
    printenv "AXSCHED_PARAMETER_$(printf %s "$1" | LC_ALL=C tr -c A-Za-z0-9_ _)" && return
    echo "axsched_parameter: there is no parameter '$1' in the environment" >&2
    return 1
}

axsched_metric() {
    axsched_append "$AXSCHED_METRICS_FILE" "$@"
}

axsched_report() {
    [ -z "${AXSCHED_PROGRESS_FILE:-}" ] || axsched_append "$AXSCHED_PROGRESS_FILE" "$@"
}

# A line of words for a file. An empty one would give the next its place.
axsched_append() (
    file=$1 IFS=' ' && shift
    for word in "$@"; do
        case $word in
            '' | *[[:space:]]*) echo "axsched: '$word' in '$*' is empty or has blanks" >&2; exit 2 ;;
        esac
    done
    printf '%s\n' "$*" >>"$file"
)
