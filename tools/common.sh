# SPDX-License-Identifier: Apache-2.0
# What the scripts beside this file share. They source it first, while the caller's folder is the current one.

caller=$PWD                                           # Where the names that a script is given are meant from.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) # The clone.

# Sets `build`, the build folder, and MORPH_BUILD for the scripts that this one starts, both absolute. MORPH_BUILD is
# meant from the clone, wherever the caller stands; without it the folder is $1 there, or build.
find_build() {
  build=$(cd "$root" && realpath -ms -- "${MORPH_BUILD:-${1:-build}}")
  export MORPH_BUILD=$build
}

# Sets `python`, that of the environment which tools/setup makes; ends the script where it is not there.
find_python() {
  local name
  python=$("$root/tools/setup" --print-env)/bin/python
  if [ ! -x "$python" ]; then
    name=$(basename "$0")
    echo "$name: error: the Python environment $(dirname "$(dirname "$python")") is not there" >&2
    echo "$name: hint: run tools/setup first" >&2
    exit 1
  fi
}

# An absolute path as the caller can paste it: from the folder where it stands if it lies in there. A program's has a '/'.
shown() {
  local path=$1
  [[ $path != "$caller"/* ]] || path=${path#"$caller"/}
  [[ $path == */* || ! -f $1 || ! -x $1 ]] || path=./$path
  printf '%q' "$path"
}
