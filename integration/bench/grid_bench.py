#!/usr/bin/env python3
"""Measures a running grid through its web gateway, the same way whatever the grid is (Tahoe-LAFS or Tarn).

  grid_bench.py --grid LINE --out tarn.json [--only idle,1KiB,1MiB,100MiB,1GiB,put4k,par8,get4k,range,first,cli] [--reps 3]
  grid_bench.py --compare tahoe.json foolscap.json ... tarn.json

LINE is the JSON line that tahoe_grid.py or tarn_grid.py prints: url, client, servers (process ids), connect_s, and for `cli` command, how its command
line begins, to which put or get is added. Needs PUT /uri -> capability, GET /uri/CAP with Range. dir_bench.py measures directories. Standard library only.
Prints medians; CPU is what the kernel charged the grid's processes, memory their peak resident set during the work.
Measure all grids in one sitting, never two at the same time, and quote ratios.
"""
import argparse, http.client, json, os, statistics, subprocess, sys, tempfile, time, urllib.parse
from concurrent.futures import ThreadPoolExecutor

MiB = 1 << 20


class Grid:
    """The processes of a grid and the address of its gateway."""

    def __init__(self, url, client, servers):
        u = urllib.parse.urlsplit(url)
        self.host, self.port, self.client, self.servers = u.hostname, u.port, client, servers

    def request(self, method, path, body=None, headers=None, ok=(200, 201, 206)):
        c = http.client.HTTPConnection(self.host, self.port, timeout=900)
        c.request(method, path, body=body, headers=headers or {})
        r = c.getresponse()
        d = r.read()
        c.close()
        if r.status not in ok:
            raise RuntimeError(f"{method} {path[:60]}: {r.status} {d[:300]!r}")
        return d

    def put(self, data):
        return self.request("PUT", "/uri", data).decode().strip()

    def get(self, cap, first=None, last=None):
        h = {} if first is None else {"Range": f"bytes={first}-{last}"}
        return self.request("GET", "/uri/" + urllib.parse.quote(cap, safe=""), headers=h)


def cpu_seconds(pid):
    total = 0
    for t in os.listdir(f"/proc/{pid}/task"):
        try:
            total += int(open(f"/proc/{pid}/task/{t}/schedstat").read().split()[0])
        except OSError:
            pass
    return total / 1e9


def status_mib(pid, key):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024


class Measure:
    """Wall time, CPU and peak memory of the grid while the block runs."""

    def __init__(self, grid):
        self.g = grid

    def __enter__(self):
        for p in [self.g.client, *self.g.servers]:
            open(f"/proc/{p}/clear_refs", "w").write("5")
        self.c0 = {p: cpu_seconds(p) for p in [self.g.client, *self.g.servers]}
        self.t0 = time.perf_counter()
        return self

    def __exit__(self, *exc):
        wall = time.perf_counter() - self.t0
        d = {p: cpu_seconds(p) - c for p, c in self.c0.items()}
        self.row = dict(wall=wall, cpu_client=d[self.g.client], cpu_servers=sum(d[p] for p in self.g.servers),
                        rss_client=status_mib(self.g.client, "VmHWM"),
                        rss_server=max(status_mib(p, "VmHWM") for p in self.g.servers))


def medians(rows):
    return {k: round(statistics.median(r[k] for r in rows), 5) for k in rows[0]}


def random_file(path, size):
    with open(path, "wb") as f:
        while size > 0:
            n = min(size, 4 * MiB)
            f.write(os.urandom(n))
            size -= n


def curl(*args):
    r = subprocess.run(["curl", "-sS", "-f", "-m", "1800", *args], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(r.stderr)
    return r.stdout.strip()


def transfers(g, size, reps):
    """A file of random bytes in through curl, out through curl, compared."""
    puts, gets, cap = [], [], None
    with tempfile.TemporaryDirectory() as t:
        a, b = os.path.join(t, "in"), os.path.join(t, "out")
        base = f"http://{g.host}:{g.port}"
        for _ in range(reps):
            random_file(a, size)
            with Measure(g) as m:
                cap = curl("-T", a, "-H", "Expect:", base + "/uri")
            puts.append(m.row)
            with Measure(g) as m:
                curl("-o", b, f"{base}/uri/{urllib.parse.quote(cap, safe='')}")
            gets.append(m.row)
            if subprocess.run(["cmp", "-s", a, b]).returncode:
                raise RuntimeError("what came back is not what went in")
    out = {"put": medians(puts), "get": medians(gets)}
    for r in out.values():
        r["MBps"] = round(size / 1e6 / r["wall"], 4)
        r["cpu_s_per_GB"] = round((r["cpu_client"] + r["cpu_servers"]) / size * 1e9, 2)
    return out, cap


def rate(g, n, fn, workers=1):
    lat = []

    def one(i):
        t = time.perf_counter()
        fn(i)
        lat.append(time.perf_counter() - t)

    with Measure(g) as m:
        if workers == 1:
            for i in range(n):
                one(i)
        else:
            with ThreadPoolExecutor(workers) as ex:
                list(ex.map(one, range(n)))
    lat.sort()
    r = {k: round(v, 4) for k, v in m.row.items()}
    return r | dict(per_s=round(n / m.row["wall"], 2), ms_median=round(lat[n // 2] * 1e3, 2), ms_p95=round(lat[int(n * .95) - 1] * 1e3, 2),
                    cpu_ms=round((m.row["cpu_client"] + m.row["cpu_servers"]) / n * 1e3, 2))


def idle(g, seconds=15):
    c = [cpu_seconds(p) for p in g.servers]
    time.sleep(seconds)
    d = [cpu_seconds(p) - x for p, x in zip(g.servers, c)]
    return dict(server_rss_MiB=round(statistics.median(status_mib(p, "VmRSS") for p in g.servers), 1),
                server_private_MiB=round(statistics.median(status_mib(p, "RssAnon") for p in g.servers), 1), client_rss_MiB=round(status_mib(g.client, "VmRSS"), 1),
                server_cpu_percent=round(statistics.median(d) / seconds * 100, 3))


def first_byte(g, cap, n):
    """Seconds from the request until the first byte of the file, for each of n requests, each broken off after it."""
    took = []
    for _ in range(n):
        c = http.client.HTTPConnection(g.host, g.port, timeout=900)
        t = time.perf_counter()
        c.request("GET", "/uri/" + urllib.parse.quote(cap, safe=""))
        r = c.getresponse()
        r.read(1)
        took.append(time.perf_counter() - t)
        r.close()
        c.close()
        time.sleep(0.5)  # what was under way ends
    return dict(ms_median=round(statistics.median(took) * 1e3, 2))


def command_line(command, n):
    """Seconds that the commands take for a file of 1 KiB; equal files come back."""
    took = {"put": [], "get": []}
    with tempfile.TemporaryDirectory() as t:
        a, b = os.path.join(t, "in"), os.path.join(t, "out")
        for _ in range(n):
            random_file(a, 1024)
            t0 = time.perf_counter()
            cap = subprocess.run([*command, "put", a], check=True, capture_output=True, text=True).stdout.strip()
            t1 = time.perf_counter()
            subprocess.run([*command, "get", cap, b], check=True, capture_output=True)
            took["put"].append(t1 - t0)
            took["get"].append(time.perf_counter() - t1)
            if subprocess.run(["cmp", "-s", a, b]).returncode:
                raise RuntimeError("what came back is not what went in")
            os.remove(b)
    return {k: dict(ms_median=round(statistics.median(v) * 1e3, 2)) for k, v in took.items()}


def run(a):
    line = json.loads(a.grid)
    g = Grid(line["url"], line["client"], line["servers"])
    want = a.only.split(",")
    res, caps, big = {"until connected": dict(seconds=line["connect_s"])}, [], None
    if "idle" in want:  # before any load
        res["idle"] = idle(g)
    g.get(g.put(os.urandom(1000)))
    for name, size in (("1KiB", 1024), ("1MiB", MiB), ("100MiB", 100 * MiB), ("1GiB", 1024 * MiB)):
        if name in want:
            res[name], cap = transfers(g, size, a.reps if size < 1 << 30 else 1)
            big = cap if name == "100MiB" else big
            print(name, json.dumps(res[name]), flush=True)
    if "put4k" in want or "get4k" in want:
        res["put 4 KiB, one by one"] = rate(g, 200, lambda i: caps.append(g.put(os.urandom(4096))))
    if "par8" in want:
        res["put 4 KiB, 8 at once"] = rate(g, 200, lambda i: g.put(os.urandom(4096)), workers=8)
    if "get4k" in want:
        res["get 4 KiB"] = rate(g, len(caps), lambda i: g.get(caps[i]))
    if "range" in want or "first" in want:
        big = big or g.put(os.urandom(100 * MiB))
    if "first" in want:
        res["first byte of 100 MiB"] = first_byte(g, big, 9)
    if "cli" in want:
        for k, v in command_line(line["command"], 5).items():
            res[f"command line, {k} 1 KiB"] = v
    if "range" in want:

        def some(i):
            o = (i * 5000003) % (99 * MiB)
            if len(g.get(big, o, o + 4095)) != 4096:
                raise RuntimeError("short range")
        res["4 KiB at a random offset of 100 MiB"] = rate(g, 40, some)
    json.dump(res, open(a.out, "w"), indent=1)
    show(res)


def show(res):
    for k, v in res.items():
        if "put" in v:
            print(f"{k:38} put {v['put']['MBps']:9.2f} MB/s {v['put']['cpu_s_per_GB']:8.2f} CPU-s/GB   get {v['get']['MBps']:9.2f} MB/s {v['get']['cpu_s_per_GB']:8.2f} CPU-s/GB")
        elif "per_s" in v:
            print(f"{k:38} {v['per_s']:10.2f} /s   median {v['ms_median']:9.2f} ms  CPU {v['cpu_ms']:8.2f} ms each")
        else:
            print(f"{k:38} {v}")


def numbers(v):
    """What of a result is compared, as name -> (value, True where more is better)."""
    if "put" in v:
        return {d + " " + name: (v[d][key], more) for d in ("put", "get") for name, key, more in (
            ("MB/s", "MBps", True), ("CPU-s/GB", "cpu_s_per_GB", False), ("client MiB", "rss_client", False), ("server MiB", "rss_server", False))}
    if "per_s" in v:
        return {"/s": (v["per_s"], True), "CPU ms": (v["cpu_ms"], False), "ms": (v["ms_median"], False)}
    return {k: (x, False) for k, x in v.items()}


def compare(files):
    """Prints each number of every grid, and how many times better the last one is than each of the others."""
    *others, last = [json.load(open(f)) for f in files]
    names = [os.path.basename(f).removesuffix(".json") for f in files]
    print(f"{'':48}" + "".join(f"{n:>12}" for n in names) + f"   {names[-1]} is better by")
    for k, v in last.items():
        rows = [numbers(o[k]) if k in o else {} for o in others]
        for name, (x, more) in numbers(v).items():
            values = [r.get(name, (None,))[0] for r in rows]
            factors = ["-" if not y or not x else f"{x / y if more else y / x:.2f}" for y in values]
            print(f"{k + ', ' + name:48}" + "".join(f"{'-' if y is None else round(y, 3):>12}" for y in [*values, x]) + "   " + " and ".join(factors))


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--grid"); ap.add_argument("--out", default="bench.json")
    ap.add_argument("--only", default="idle,1KiB,1MiB,100MiB,1GiB,put4k,par8,get4k,range,first,cli"); ap.add_argument("--reps", type=int, default=3)
    ap.add_argument("--compare", nargs="+")
    a = ap.parse_args()
    compare(a.compare) if a.compare else run(a)
