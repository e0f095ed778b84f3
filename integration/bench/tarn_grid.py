#!/usr/bin/env python3
"""Starts a Tarn grid on loopback, for measuring, and stops it when its standard input closes; see tahoe_grid.py.

  go build -o tarn ./cmd/tarn
  tarn_grid.py --tarn ./tarn --dir G [--servers 10] [--needed 3 --happy 7 --total 10] [--port 15000]

Once the client may store on every server it prints one JSON line: url, client (process id), servers (process ids), introducer, connect_s, command (how its command line begins), keys (the folder of those made ahead).
Only ever listens on 127.0.0.1. Ends its own processes, by id.
"""
import argparse, json, os, subprocess, sys, time, urllib.request

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--tarn", default="tarn"); ap.add_argument("--dir", required=True); ap.add_argument("--servers", type=int, default=10)
ap.add_argument("--needed", type=int, default=3); ap.add_argument("--happy", type=int, default=7); ap.add_argument("--total", type=int, default=10)
ap.add_argument("--port", type=int, default=15000)
a = ap.parse_args()
procs = {}


def tarn(*args):
    return subprocess.run([a.tarn, *args], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def folder(name):
    return os.path.join(a.dir, name)


def start(name):
    with open(folder(name + ".log"), "ab") as log:
        procs[name] = subprocess.Popen([a.tarn, "-d", folder(name), "run", "--end-with-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    for line in procs[name].stdout:
        if line.strip() == "tarn: node is running":
            return
    sys.exit(f"{name} ended; see {folder(name)}.log")


def status(name):
    return json.loads(tarn("-d", folder(name), "status", "--json"))


try:
    os.makedirs(a.dir, exist_ok=True)
    join = "--introducer=" + tarn("create-introducer", "--listen", f"/ip4/127.0.0.1/tcp/{a.port}", folder("introducer"))
    start("introducer")
    names = [f"s{n}" for n in range(1, a.servers + 1)]
    for n, name in enumerate(names, 1):
        tarn("create-node", "--no-client", join, "--listen", f"/ip4/127.0.0.1/tcp/{a.port + n}", "--nickname", name, folder(name))
        start(name)
    tarn("create-client", join, "--web-port", str(a.port + 500), "--shares-needed", str(a.needed), "--shares-happy", str(a.happy), "--shares-total", str(a.total), folder("client"))
    for name in names:
        key = tarn("-d", folder("client"), "client", "account-key", status(name)["storage"]["server"])
        tarn("-d", folder(name), "server", "add-account", "bench", key)
    t0 = time.time()
    start("client")
    url = f"http://127.0.0.1:{a.port + 500}"
    while sum(s["logged_in"] for s in status("client")["servers"]) < a.servers:
        if time.time() - t0 > 180:
            sys.exit("the client could not log in everywhere within 180 s")
        time.sleep(0.005)
    print(json.dumps(dict(
        url=url, client=procs["client"].pid, servers=[procs[n].pid for n in names], introducer=procs["introducer"].pid, connect_s=round(time.time() - t0, 3),
        command=[a.tarn, "-d", folder("client")], keys=os.path.join(folder("client"), "private", "keys"))), flush=True)
    sys.stdin.read()
finally:
    for p in procs.values():
        p.terminate()
    for p in procs.values():
        try:
            p.wait(20)
        except subprocess.TimeoutExpired:
            p.kill()
