# Functions for objectives that are scripts of any POSIX shell. Begin with: . "$AXSCHED_SHELL_LIBRARY"
# shellcheck shell=sh
#
#   axsched_parameter NAME           prints a parameter's value; fails where there is none of that name
#   axsched_metric NAME VALUE [SEM]  reports a metric, with its standard error where that is known
#   axsched_report STEP NAME VALUE   reports an intermediate value, where it is asked for
#
# They need awk, and no jq. Each runs in a subshell and leaves no variables behind.

axsched_parameter() (
    file=${AXSCHED_PARAMETERS_FILE:?is set for the objectives of axsched} code=0
    AXSCHED_NAME=${1-} LC_ALL=C awk '
        function hex(digits,  i, n) {
            for (i = 1; i <= 4; i++) n = 16 * n + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
            return n
        }
        function utf8(n) {
            if (n < 128) return sprintf("%c", n)
            if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
            if (n < 65536) return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
            return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, \
                           128 + int(n / 64) % 64, 128 + n % 64)
        }
        # The JSON string at the beginning of a text; what comes after it is left in `rest`.
        function string(text,  c, i, n, out) {
            for (i = 2; (c = substr(text, i, 1)) != "\"" && i <= length(text); i++) {
                if (c == "\\") {
                    c = substr(text, ++i, 1)
                    if (c == "u") {
                        n = hex(substr(text, i + 1, 4)); i += 4
                        if (n >= 55296 && n < 56320) {  # half of a character beyond 65535; the other follows
                            n = 65536 + 1024 * (n - 55296) + hex(substr(text, i + 3, 4)) - 56320; i += 6
                        }
                        c = utf8(n)
                    } else if (index("bfnrt", c)) c = substr("\b\f\n\r\t", index("bfnrt", c), 1)
                }
                out = out c
            }
            rest = substr(text, i + 1)
            return out
        }
        BEGIN { code = 1 }
        NR == 1 && !/^[{]/ { code = 3; exit }
        # The driver writes one parameter a line.
        /^ "/ && string(substr($0, 2)) == ENVIRON["AXSCHED_NAME"] {
            value = substr(rest, 3)
            if (value ~ /^"/) value = string(value)
            else { sub(/,$/, "", value); if (value == "null") value = "" }
            print value
            code = 0; exit
        }
        END { exit code }
    ' "$file" || code=$?
    case $code in
        1) echo "axsched_parameter: there is no parameter '${1-}' in $file" >&2 ;;
        3) echo "axsched_parameter: $file is not JSON; leave out the option parameters_format" >&2 ;;
    esac
    exit $code
)

axsched_metric() (
    IFS=' '
    case $# in
        2 | 3) ;;
        *) echo "axsched_metric: takes NAME VALUE [SEM], not $# arguments" >&2; exit 2 ;;
    esac
    for word in "$@"; do
        case $word in
            '' | *[[:space:]]*) echo "axsched_metric: '$word' is empty or has blanks" >&2; exit 2 ;;
        esac
    done
    case $1 in
        "{"* | "["* | "#"* | \"*) echo "axsched_metric: no name begins as '$1' does" >&2; exit 2 ;;
    esac
    # The file always has whole lines, and is there as a whole.
    file=${AXSCHED_METRICS_FILE:?is set for the objectives of axsched}
    new=${file%/*}/.${file##*/}.$$
    { if [ -f "$file" ]; then cat "$file"; fi && printf '%s\n' "$*"; } >"$new" && mv -f "$new" "$file"
)

axsched_report() (
    line=$(AXSCHED_STEP=${1-} AXSCHED_NAME=${2-} AXSCHED_VALUE=${3-} LC_ALL=C awk '
        BEGIN {
            step = ENVIRON["AXSCHED_STEP"]; name = ENVIRON["AXSCHED_NAME"]; value = ENVIRON["AXSCHED_VALUE"]
            if (step !~ /^[0-9]+$/ || name == "" || name ~ /[[:cntrl:]"\\]/) exit 1
            if (value !~ /^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eEdD][+-]?[0-9]+)?$/) exit 1
            # JSON has no 007, .5, 1., +1 and 1D3, which programs print.
            if (match(value, /[eEdD]/)) {
                power = "e" substr(value, RSTART + 1); value = substr(value, 1, RSTART - 1)
            }
            minus = value ~ /^-/ ? "-" : ""
            sub(/^[+-]/, "", value); sub(/^0+/, "", value); sub(/[.]$/, "", value)
            if (value !~ /^[0-9]/) value = "0" value
            sub(/^0+/, "", step); if (step == "") step = 0
            print "{\"step\": " step ", \"" name "\": " minus value power "}"
        }
    ') || {
        echo "axsched_report: takes STEP NAME VALUE, a whole number, a name without quotes and a number;" \
            "not '${1-}' '${2-}' '${3-}'" >&2
        exit 2
    }
    [ -z "${AXSCHED_PROGRESS_FILE:-}" ] || printf '%s\n' "$line" >>"$AXSCHED_PROGRESS_FILE"
)
