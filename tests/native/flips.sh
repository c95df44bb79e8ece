#!/bin/sh
# Runs the tests that flip bits, one process a store, on two processors: flips.sh AMOUNT [REPORT]. AMOUNT is few, ci or all (test_flips.c).
# REPORT gets what they say, with what it was run on. BUILD says where the programs are, as in the Makefile.
set -eu
amount=$1 report=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
programs=${BUILD:-$here/../../build/native}/plain
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT
export AEGIS_FLIPS="$amount" programs said

# The longest first.
cat > "$said/names" <<'NAMES'
test_flips a_flipped_bit_beside_whole_tiles_is_what_the_format_says
test_flips a_flipped_bit_of_a_killed_store_is_what_the_format_says
test_flips a_flipped_bit_of_a_closed_store_is_what_the_format_says
test_flips a_flipped_bit_of_a_rewritten_store_is_what_the_format_says
test_flips a_flipped_bit_of_one_of_two_tiers_is_what_the_format_says
test_flips a_flipped_bit_of_a_killed_store_in_blocks_is_what_the_format_says
test_flips a_flipped_bit_of_a_store_killed_at_rest_is_what_the_format_says
test_flips_files
NAMES
# What these have the others have as well, but for what "few" walks through.
[ "$amount" != ci ] || sed -i -e /closed_store_is/d -e /in_blocks/d -e /at_rest/d "$said/names"
code=0
xargs -P 2 -L 1 sh -c '"$programs/$0" $1 > "$said/$0.$1.txt" 2>&1' < "$said/names" || code=1
{
    echo "Every flipped bit, and every file cut, gone, renamed or exchanged: make flips. The words are those of tests/native/flips.h."
    echo "commit $(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo none), $(uname -srm), $(date -u +%Y-%m-%d), amount: $amount, seeds 1 and 5"
    while read -r program name; do cat "$said/$program.$name.txt"; done < "$said/names"
} > "$said/report"
cat "$said/report"
[ -z "$report" ] || { mkdir -p "$(dirname "$report")" && cp "$said/report" "$report"; }
exit $code
