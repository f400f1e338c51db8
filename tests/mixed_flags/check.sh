# A program whose files have different flags computes what each file computes alone, in any order of linking.
#   check.sh COMPILER "FLAGS" "LIBRARIES" "FLAGS OF train.cpp / FLAGS OF generate.cpp"...
set -euo pipefail
export LC_ALL=C
folder=$(cd "$(dirname "$0")" && pwd)
compiler=$1 flags=$2 libraries=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# compiled NAME FLAGS: the object file of NAME.cpp
compiled() {
  local object="$1 $2.o"
  [ -e "$object" ] || "$compiler" $flags $2 -c "$folder/$1.cpp" -o "$object"
  echo "$object"
}
# printed OBJECT...: what the program of these files prints
printed() {
  "$compiler" "$@" -o program $libraries -pthread
  ./program
}

# What the linker may take from either file, sorted.
shared_names() {
  nm -P --defined-only "$1" | awk '$2 ~ /[A-Zuvw]/ { print $1 }' | sort -u > first.names
  nm -P --defined-only "$2" | awk '$2 ~ /[A-Zuvw]/ { print $1 }' | sort -u | comm -12 first.names -
}
# Functions that multiply and add in one instruction, sorted.
fused() {
  objdump -d --no-show-raw-insn "$1" | awk '/^[0-9a-f]+ </ { name = substr($2, 2, length($2) - 3) } / vfn?m(add|sub)/ { print name }' |
    sort -u
}
# Of the library, both files share only the exception, which one throws and the other catches. Everything else they
# share, functions of the standard library for example, must round alike.
check_names() {
  shared_names "$1" "$2" > shared
  grep -q '^_ZTIN6strata5errorE$' shared || fail "strata::error is not the same class in both"
  grep 6strata shared | grep -vE '^_Z(T[ISV])?N6strata5error' > wrong || true
  { fused "$1"; fused "$2"; } | sort -u | comm -12 shared - >> wrong
  [ ! -s wrong ] || fail "both files have, with $pair: $(c++filt < wrong | cut -c1-160 | head -20)"
}

for pair in "$@"; do
  of_train=${pair% / *} of_generate=${pair#* / }
  if [[ $pair == *-mavx2* || $pair == *-march=native* ]] && ! grep -qw avx2 /proc/cpuinfo; then
    echo "skipped, without AVX2: $pair"
    continue
  fi
  main=$(compiled main "$of_generate") train=$(compiled train "$of_train") generate=$(compiled generate "$of_generate")
  check_names "$train" "$generate"
  { printed "$main" "$train"; printed "$main" "$generate"; } > alone
  for order in "$train/$generate" "$generate/$train"; do
    printed "$main" "${order%/*}" "${order#*/}" > together
    cmp -s alone together || fail "$pair, linked as $order: $(cat alone together)"
  done
  echo "$pair: $(grep -v threads alone | tr '\n' ' ')"
done
