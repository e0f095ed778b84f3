#!/usr/bin/env python3
"""Says where each CPU-second of a Tarn grid goes while files of 100 MiB are put and got.

  go build -o tarn ./cmd/tarn
  profile.py --tarn ./tarn [--times 8]

Starts a grid as tarn_grid.py does, asks the client and every server for Go's CPU profile over their control sockets while the work runs, and sorts the
samples of all processes by what stands in their stacks, the first line of KINDS that fits. What the kernel does for a process counts for what asked for
it. Needs Go (go tool pprof) and curl; standard library only.
"""
import argparse, http.client, json, os, socket, subprocess, sys, tempfile, threading, urllib.parse

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
import grid_bench as bench

KINDS = [
    ("garbage", ["runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart", "runtime.mallocgc"]),
    ("hashing", ["sha256."]),
    ("coding", ["reedsolomon."]),
    ("the file's cipher", ["file/immutable.crypt", "cipher.StreamWriter", "tarn.(*input).ReadAt"]),
    ("disk: spool", ["syscall.pread", "tarn.(*input).fill"]),
    ("disk: shares", ["syscall.pwrite", "syscall.Fsync", "SyncFileRange", "lease/store."]),
    ("disk: table", ["pebble"]),
    ("channel: TLS", ["crypto/tls.(*halfConn)"]),
    ("channel: network", ["crypto/tls.", "internal/poll.(*FD).Read", "internal/poll.(*FD).Write"]),
    ("channel: yamux, frames", ["yamux", "transport/p2p", "transport/wire", "libp2p"]),
    ("gateway", ["net/http."]),
    ("actors", ["protoactor", "tarn-grid/tarn/actors"]),
    ("scheduling", ["runtime.mcall", "runtime.schedule", "runtime.sysmon", "runtime.findRunnable", "runtime.goready", "runtime.futex", "runtime.mstart"]),
    ("all else", [""]),
]


class Socket(http.client.HTTPConnection):
    """HTTP over a node's control socket."""

    def __init__(self, path):
        super().__init__("node", timeout=600)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def profile(node, seconds, to):
    c = Socket(os.path.join(node, "private", "control.sock"))
    c.request("GET", f"/debug/pprof/profile?seconds={seconds}")
    with open(to, "wb") as f:
        f.write(c.getresponse().read())


def traces(program, path):
    """Yields (seconds, functions) for each distinct stack."""
    text = subprocess.run(["go", "tool", "pprof", "-traces", "-unit=ms", program, path], check=True, capture_output=True, text=True).stdout
    for block in text.split("-----------+")[2:]:
        lines = [line.strip() for line in block.splitlines()[1:] if line.strip()]
        if lines and lines[0].split()[0].endswith("ms"):
            yield float(lines[0].split()[0][:-2]) / 1e3, [lines[0].split(None, 1)[1], *lines[1:]]


def kind(stack):
    for name, parts in KINDS:
        if any(p in f for f in stack for p in parts):
            return name


def measure(grid, nodes, program, what, work, seconds):
    """Prints a table of work, which must take about so many seconds, and what each of its gigabytes costs."""
    sums = {"client": {}, "servers": {}}
    with tempfile.TemporaryDirectory() as t:
        files = {node: os.path.join(t, os.path.basename(node)) for node in nodes}
        threads = [threading.Thread(target=profile, args=(node, seconds, f)) for node, f in files.items()]
        for th in threads:
            th.start()
        with bench.Measure(grid) as m:
            size = work()
        for th in threads:
            th.join()
        for node, f in files.items():
            side = sums["client" if node == nodes[0] else "servers"]
            for s, stack in traces(program, f):
                k = kind(stack)
                side[k] = side.get(k, 0) + s
    print(f"\n{what}, CPU-s per GB{'client':>20}{'servers':>10}")
    for name, _ in KINDS:
        c, s = (sums[side].get(name, 0) / size * 1e9 for side in ("client", "servers"))
        if c + s >= 0.01:
            print(f"  {name:36}{c:10.2f}{s:10.2f}")
    c, s = (sum(sums[side].values()) / size * 1e9 for side in ("client", "servers"))
    print(f"  {'in the profile':36}{c:10.2f}{s:10.2f}")
    print(f"  {'as the kernel charged it':36}{m.row['cpu_client'] / size * 1e9:10.2f}{m.row['cpu_servers'] / size * 1e9:10.2f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--tarn", required=True); ap.add_argument("--times", type=int, default=8)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as t:
        folder = os.path.join(t, "grid")
        process = subprocess.Popen([sys.executable, os.path.join(here, "tarn_grid.py"), "--tarn", a.tarn, "--dir", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            line = json.loads(process.stdout.readline())
            grid = bench.Grid(line["url"], line["client"], line["servers"])
            nodes = [os.path.join(folder, n) for n in ["client", *(f"s{i}" for i in range(1, len(line["servers"]) + 1))]]
            size, names = 100 * bench.MiB, [os.path.join(t, f"in{i}") for i in range(a.times)]
            for n in names:
                bench.random_file(n, size)
            caps = []

            def put():
                for n in names:
                    caps.append(bench.curl("-T", n, "-H", "Expect:", line["url"] + "/uri"))
                return size * len(names)

            def get():
                for cap in caps:
                    bench.curl("-o", "/dev/null", line["url"] + "/uri/" + urllib.parse.quote(cap, safe=""))
                return size * len(caps)

            measure(grid, nodes, a.tarn, "put 100 MiB", put, round(1.5 * a.times + 1))
            measure(grid, nodes, a.tarn, "get 100 MiB", get, round(0.5 * a.times + 1))
        finally:
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    main()
