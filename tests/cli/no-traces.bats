# label: source
# Nothing of the machine that it was written on, nothing left unfinished, and the small rules of the layout.
load ../helpers/common

# The files of the project: what git tracks; in an unpacked archive, all but what is built.
setup_file() {
  cd "$MC_SOURCE" || return 1
  if git ls-files -z 2>/dev/null | grep -qz .; then
    comm -z -23 <(git ls-files -z | sort -zu) <(git ls-files -z --deleted | sort -zu) >"$BATS_FILE_TMPDIR/files"
  else
    find . -type f -not -path './.git/*' -not -path './build*' -not -path './demo-out/*' -print0 >"$BATS_FILE_TMPDIR/files"
  fi
}
project_files() { cat "$BATS_FILE_TMPDIR/files"; }

# none PATTERN WHAT [FILE PATTERN]: no line of the project's text files matches. Patterns are spelled so that they do not find
# themselves.
none() {
  local found
  found=$(project_files | grep -zE "${3:-.}" | grep -zvE '(^|/)LICENSE-' | (cd "$MC_SOURCE" && xargs -0 grep -nIE -- "$1") || true)
  [ -z "$found" ] || fail "$2: $found"
}

@test "there are files to look at" {
  [ "$(project_files | tr '\0' '\n' | wc -l)" -gt 100 ]
}

@test "no path of the machine it was written on" {
  none '(^|[^A-Za-z0-9_.-])/(work|farm|root|home|Users)/' 'a path of a machine'
}

@test "nothing outside the tree is needed" {
  none '[.][.]/shared' 'a reference to what is not in the repository'
}

@test "nothing is left to do in a comment" {
  none '(TO[D]O|FIX[M]E|(^|[ /])X[X]X([ :]|$)|H[A]CK)' 'an unfinished place' '\.(cpp|hpp|bats|bash|txt|[1-8])$'
}

@test "no host of a package registry" {
  none '(deb|snapshot|security|ftp)[.]debian[.]org|registry[.]npmjs|pypi[.]org' 'a registry'
}

@test "no tabs, no blanks at line ends" {
  none '[[:blank:]]$' 'blanks at the end of a line' '\.(cpp|hpp|bats|bash|md|txt|[1-8])$'
  none "$(printf '\t')" 'a tab' '\.(cpp|hpp|bats|bash|md|txt)$'
}

@test "no sleep in tests" {
  none '^[^#]*(sle[e]p_for|sle[e]p_until|usle[e]p\(|(^|[;&|({ ])sle[e]p [0-9])' 'a sleep' '^(./)?tests/'
}

@test "main.cpp of each tool is thin" {
  for main in "$MC_SOURCE"/tools/mc-*/main.cpp; do
    [ "$(wc -l <"$main")" -le 40 ] || fail "$main is longer than 40 lines"
  done
}

@test "headers are included once, and each unit test belongs to a module" {
  for header in "$MC_SOURCE"/lib/*/*.hpp "$MC_SOURCE"/tools/*/*.hpp; do
    grep -qx '#pragma once' "$header" || fail "$header lacks #pragma once"
  done
  for source in "$MC_SOURCE"/tests/unit/*_test.cpp; do
    module=$(basename "$source") module=${module%%_*}
    [ -d "$MC_SOURCE/lib/$module" ] || [ -d "$MC_SOURCE/tools/mc-$module" ] || fail "$source: no module '$module'"
  done
}

@test "documents that others point to are there and short" {
  for name in README.md ARCHITECTURE.md GLOSSARY.md CONTRIBUTING.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE tests/README.md; do
    [ -s "$MC_SOURCE/$name" ] || fail "no $name"
  done
  [ "$(wc -l <"$MC_SOURCE/ARCHITECTURE.md")" -le 100 ]
  # Every relative link of the documents leads somewhere.
  for document in "$MC_SOURCE"/*.md "$MC_SOURCE"/tests/*.md; do
    while read -r link; do
      [ -e "$(dirname "$document")/$link" ] || fail "$document: dead link '$link'"
    done < <(grep -oE '\]\([^):#]+\)' "$document" | sed 's/^](//; s/)$//')
  done
}

@test "the table of lost recordings has every row, each with a test that exists or the issue that brings it" {
  table=$MC_SOURCE/tests/README.md
  for row in F{1..10} L{1..27}; do
    line=$(grep -E "^\| $row \|" "$table") || fail "no row $row"
    [ "$(wc -l <<<"$line")" -eq 1 ] || fail "row $row stands twice"
    grep -qE '`(unit|cli|crash|net|fuzz)/[^`]+`|issue|later' <<<"$line" || fail "row $row names no test: $line"
  done
  # `FILE` or `FILE the words of its case`: the file is there, and says the words.
  while read -r name words; do
    file=$MC_SOURCE/tests/$name.bats
    [ -e "$file" ] || file=$MC_SOURCE/tests/$name.cpp
    [ -e "$file" ] || fail "the table names '$name', which is not there"
    [ -z "$words" ] || grep -qF -- "$words" "$file" || fail "the table names '$words', which is not in $name"
  done < <(grep -oE '`(unit|cli|crash|net|fuzz)/[a-z0-9_-]+[^`]*`' "$table" | grep -v '/`$' | tr -d '`')
}
