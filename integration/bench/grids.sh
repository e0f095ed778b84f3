# Sourced by what measures grids one after the other. Sets up $work, which goes at
# the end, and $out for results; makes $tahoe and $program; has the function
# measure.
work=$(mktemp -d)
out=${TARN_BENCH_OUT:-$(mktemp -d)}
mkdir -p "$out"
grid=
cleanup() {
  if [[ -n $grid ]]; then
    exec {hold}>&-
    wait "$grid" || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

# measure NAME BENCH-COMMAND -- GRID-COMMAND... starts a grid, has the first command
# measure it into $out/NAME.json, and ends it.
measure() {
  local name=$1 line
  local -a bench=()
  shift
  while [[ $1 != -- ]]; do
    bench+=("$1")
    shift
  done
  shift
  echo "=== $name"
  mkfifo "$work/$name.in"
  "$@" --dir "$work/$name" <"$work/$name.in" >"$work/$name.out" &
  grid=$!
  exec {hold}>"$work/$name.in"
  until [[ -s $work/$name.out ]]; do
    kill -0 "$grid" 2>/dev/null || { grid=; echo "the grid did not start" >&2; return 1; }
    sleep 0.2
  done
  line=$(cat "$work/$name.out")
  echo "$line"
  "${bench[@]}" --grid "$line" --out "$out/$name.json"
  exec {hold}>&-
  wait "$grid" || true
  grid=
  rm -rf "${work:?}/$name" "$work/$name.in" "$work/$name.out"
}

tahoe="$("$here/../tahoe/venv" | sed 's/python$/tahoe/')"
program=${TARN_PROGRAM:-$work/program}
if [[ -z ${TARN_PROGRAM:-} ]]; then
  (cd "$here" && go build -o "$program" github.com/tarn-grid/tarn/cmd/tarn)
fi
