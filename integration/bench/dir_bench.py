#!/usr/bin/env python3
"""Measures directories, mutable files, copies and backups of a source tree on a running grid, the same way whatever the grid is.

  dir_bench.py --grid LINE --out tarn.json [--files 500] [--only small,tree] [--tahoe v/bin/tahoe] [--hurry]
  dir_bench.py --compare tahoe.json foolscap1.json ... tarn1.json ...

LINE is the JSON line that tahoe_grid.py or tarn_grid.py prints. `small` is single requests to the gateway, `tree` the first files of Go's own source
(go env GOROOT), copied into the grid and back by the grid's command line, and backed up twice; with --tahoe also copied by Tahoe's command line through
Tarn's gateway. What comes back is compared. Standard library only.
--compare names each file after its grid, with a number for each turn, takes the best of all turns of a grid, and quotes the better of Tahoe's two protocols.
"""
import argparse, json, os, re, shutil, statistics, subprocess, sys, tempfile, time, urllib.parse
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import grid_bench as bench

# What is wanted: how many times better than the better of Tahoe's protocols.
WANTED = {
    "mkdir, 64, 8 at once": 10, "link 100 into one directory": 10, "list 100": 10, "mutable overwrite 1 KiB": 5, "mutable read 1 KiB": 8,
    "cp -r": 20, "backup, unchanged": 20,
}


def quoted(c):
    return urllib.parse.quote(c, safe="")


def keys_made(line, wanted, seconds):
    """Waits until a Tarn client has made some keys ahead of time, as a node has that is not asked for anything for a while."""
    if not line.get("keys") or line.get("hurry"):
        return 0
    t0 = time.time()
    while time.time() - t0 < seconds:
        if os.path.isdir(line["keys"]) and len(os.listdir(line["keys"])) >= wanted:
            break
        time.sleep(0.2)
    return round(time.time() - t0, 1)


def small(g, line):
    out, dirs = {}, []
    out["mkdir, one by one, no keys made ahead"] = bench.rate(g, 30, lambda i: dirs.append(g.request("POST", "/uri?t=mkdir", b"").decode().strip()))
    cap = g.put(os.urandom(4096))
    keys_made(line, 64, 60)
    out["mkdir, 64, 8 at once"] = bench.rate(g, 64, lambda i: g.request("POST", "/uri?t=mkdir", b""), workers=8)
    out["link 100 into one directory"] = bench.rate(g, 100, lambda i: g.request("PUT", f"/uri/{quoted(dirs[0])}/child{i:04d}?t=uri", cap.encode()))
    out["list 100"] = bench.rate(g, 60, lambda i: g.request("GET", f"/uri/{quoted(dirs[0])}?t=json"))
    out["put 4 KiB into a directory"] = bench.rate(g, 40, lambda i: g.request("PUT", f"/uri/{quoted(dirs[1])}/f{i}", os.urandom(4096)))
    mut = []
    out["mutable create 1 KiB"] = bench.rate(g, 30, lambda i: mut.append(g.request("PUT", "/uri?format=sdmf", os.urandom(1024)).decode().strip()))
    out["mutable overwrite 1 KiB"] = bench.rate(g, 100, lambda i: g.request("PUT", f"/uri/{quoted(mut[0])}", os.urandom(1024)))
    out["mutable read 1 KiB"] = bench.rate(g, 200, lambda i: g.request("GET", f"/uri/{quoted(mut[1])}"))
    return out


def tree(count, to):
    """Copies the first files of Go's source; returns how many directories there are and how many bytes."""
    source = os.path.join(subprocess.run(["go", "env", "GOROOT"], check=True, capture_output=True, text=True).stdout.strip(), "src")
    left, folders, size = count, 0, 0
    for here, dirs, files in os.walk(source):
        dirs.sort()
        if left == 0:
            break
        there = os.path.join(to, os.path.relpath(here, source))
        os.makedirs(there, exist_ok=True)
        folders += 1
        for f in sorted(files)[:left]:
            shutil.copyfile(os.path.join(here, f), os.path.join(there, f))
            left, size = left - 1, size + os.path.getsize(os.path.join(there, f))
    return folders, size


def changed(folder):
    """Makes every file another one, so that no share of it is there already."""
    for here, _, files in os.walk(folder):
        for f in files:
            with open(os.path.join(here, f), "ab") as h:
                h.write(os.urandom(8).hex().encode())


def timed(g, *command):
    with bench.Measure(g) as m:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return {k: round(v, 4) for k, v in m.row.items()}


def same(a, b):
    if subprocess.run(["diff", "-r", a, b], stdout=subprocess.DEVNULL).returncode:
        raise RuntimeError(f"{b} is not what {a} was")


def trees(g, line, count, tahoe):
    out, me = {}, line["command"]
    with tempfile.TemporaryDirectory() as t:
        here, back = os.path.join(t, "tree"), os.path.join(t, "back")
        folders, size = tree(count, here)
        subprocess.run([*me, "create-alias", "bench"], check=True, stdout=subprocess.DEVNULL)
        waited = keys_made(line, min(folders + 10, 960), 200)
        print(f"{count} files of {size} bytes in {folders} directories; {waited} s for keys", flush=True)
        out["cp -r"] = timed(g, *me, "cp", "-r", here, "bench:copy")
        out["cp -r, back"] = timed(g, *me, "cp", "-r", "bench:copy", back)
        same(here, next(os.path.join(at, "tree") for at, dirs, _ in os.walk(back) if "tree" in dirs))  # directly in back, or in a folder of it
        changed(here)
        out["backup"] = timed(g, *me, "backup", here, "bench:backups")
        rows = [timed(g, *me, "backup", here, "bench:backups") for _ in range(3)]
        out["backup, unchanged"] = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
        if tahoe and line.get("keys"):
            changed(here)
            theirs = os.path.join(t, "theirs")
            subprocess.run([tahoe, "create-client", "--webport=none", theirs], check=True, stdout=subprocess.DEVNULL)
            with open(os.path.join(theirs, "node.url"), "w") as f:
                f.write(line["url"] + "\n")
            subprocess.run([tahoe, "-d", theirs, "create-alias", "bench"], check=True, stdout=subprocess.DEVNULL)
            keys_made(line, min(folders + 10, 960), 200)
            out["cp -r, by Tahoe's command line"] = timed(g, tahoe, "-d", theirs, "cp", "-r", here, "bench:theirs")
    return out


def run(a):
    line = json.loads(a.grid) | dict(hurry=a.hurry)
    g, want, res = bench.Grid(line["url"], line["client"], line["servers"]), a.only.split(","), {}
    g.get(g.put(os.urandom(1000)))
    if "small" in want:
        res |= small(g, line)
    if "tree" in want:
        res |= trees(g, line, a.files, a.tahoe)
    json.dump(res, open(a.out, "w"), indent=1)
    for k, v in res.items():
        print(f"{k:40} {v['wall']:9.3f} s   CPU client {v['cpu_client']:8.2f} s, servers {v['cpu_servers']:8.2f} s   client {v['rss_client']:6.1f} MiB", flush=True)


def compare(files):
    grids = {}
    for f in files:
        grids.setdefault(re.sub(r"\d*\.json$", "", os.path.basename(f)), []).append(json.load(open(f)))
    best = {name: {k: min((r[k] for r in turns), key=lambda v: v["wall"]) for k in turns[0]} for name, turns in grids.items()}
    tarn = best.pop("tarn")
    print(f"{'seconds':40}" + "".join(f"{n:>12}" for n in [*best, "tarn"]) + f"{'better by':>12}{'wanted':>8}{'CPU':>8}")
    for k, v in tarn.items():
        peers = [p[k] for p in best.values() if k in p] or ([best[n]["cp -r"] for n in best if "cp -r" in best[n]] if k.startswith("cp -r, by") else [])
        times = [f"{p[k]['wall']:12.3f}" if k in p else f"{'-':>12}" for p in best.values()]
        faster, cheaper = (min(p["wall"] for p in peers) / v["wall"], min(p["cpu_client"] + p["cpu_servers"] for p in peers) / (v["cpu_client"] + v["cpu_servers"])) if peers else (0, 0)
        print(f"{k:40}" + "".join(times) + f"{v['wall']:12.3f}{faster:12.1f}{WANTED.get(k, 1):8}{cheaper:8.1f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--grid"); ap.add_argument("--out", default="dirs.json"); ap.add_argument("--files", type=int, default=500)
    ap.add_argument("--only", default="small,tree"); ap.add_argument("--tahoe"); ap.add_argument("--hurry", action="store_true", help="don't wait for keys"); ap.add_argument("--compare", nargs="+")
    a = ap.parse_args()
    compare(a.compare) if a.compare else run(a)
