"""Makes, changes and reads mutable files and directories as stock Tahoe-LAFS does, without a grid.

Standard input: a JSON object a line, whose "do" is the name of a function below and whose other keys are its arguments. "shares" is a folder of share
bodies, named by their numbers, each of which is on a server of its own.
Standard output: what the function returns, as JSON, a line each.
"""
import json, os, sys

from allmydata import client, dirnode, nodemaker, uri
from allmydata.interfaces import MDMF_VERSION, SDMF_VERSION, IDisplayableServer
from allmydata.monitor import Monitor
from allmydata.mutable import publish
from allmydata.mutable.publish import DEFAULT_MUTABLE_MAX_SEGMENT_SIZE, MutableData
from allmydata.util import hashutil
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet import defer, task
from zope.interface import implementer


@implementer(IDisplayableServer)
class Server:
    """A storage server, and the handle that Tahoe's client has on it. It keeps share bodies in memory."""

    def __init__(self, number):
        self.id = hashutil.tagged_hash(b"server", b"%d" % number)[:20]
        self.shares = {}

    def get_storage_server(self):
        return self

    def get_name(self):
        return b"server"

    def get_longname(self):
        return "server"

    def get_serverid(self):
        return self.id

    get_permutation_seed = get_lease_seed = get_foolscap_write_enabler_seed = get_serverid

    def upload_permitted(self):
        return True

    def slot_readv(self, storage_index, numbers, ranges):
        return defer.succeed({n: self.read(n, ranges) for n in self.shares if not numbers or n in numbers})

    def read(self, number, ranges):
        body = self.shares.get(number, b"")
        return [bytes(body[offset:offset + length]) for offset, length in ranges]

    def slot_testv_and_readv_and_writev(self, storage_index, secrets, vectors, ranges):
        before = {n: self.read(n, ranges) for n in self.shares}
        for number, (tests, _, _) in vectors.items():
            for test in tests:
                if self.read(number, [(test[0], test[1])]) != [test[-1]]:
                    return defer.succeed((False, before))
        for number, (_, writes, length) in vectors.items():
            body = self.shares.setdefault(number, bytearray())
            for offset, data in writes:
                body.extend(bytes(max(0, offset + len(data) - len(body))))
                body[offset:offset + len(data)] = data
            if length is not None:
                del body[length:]
        return defer.succeed((True, before))


class Grid:
    """The servers, as Tahoe's storage broker."""

    def __init__(self, shares="", total=0):
        names = os.listdir(shares) if shares else []
        self.servers = [Server(i) for i in range(max(total, len(names)))]
        for server, name in zip(self.servers, sorted(names, key=int)):
            with open(os.path.join(shares, name), "rb") as f:
                server.shares[int(name)] = bytearray(f.read())

    def get_servers_for_psi(self, index, for_upload=False):
        return self.servers

    def get_connected_servers(self):
        return frozenset(self.servers)

    def save(self, folder):
        for server in self.servers:
            for number, body in server.shares.items():
                with open(os.path.join(folder, str(number)), "wb") as f:
                    f.write(body)

    def maker(self, needed=1, total=1):
        secrets = client.SecretHolder(b"lease secret", b"convergence secret")
        return nodemaker.NodeMaker(self, secrets, None, None, None, {"k": needed, "n": total, "happy": 1}, SDMF_VERSION, None)


def content(path):
    with open(path, "rb") as f:
        return f.read()


async def create(format, key, file, needed, total, shares, segment=0):
    publish.DEFAULT_MUTABLE_MAX_SEGMENT_SIZE = segment or DEFAULT_MUTABLE_MAX_SEGMENT_SIZE
    pem = load_pem_private_key(content(key), password=None)
    pair = (pem.public_key(), pem)
    grid = Grid(total=total)
    version = {"sdmf": SDMF_VERSION, "mdmf": MDMF_VERSION}[format]
    node = await grid.maker(needed, total).create_mutable_file(MutableData(content(file)), version, pair)
    grid.save(shares)
    return node.get_uri().decode()


async def overwrite(capability, file, needed, total, shares):
    grid = Grid(shares)
    await grid.maker(needed, total).create_from_cap(capability.encode()).overwrite(MutableData(content(file)))
    grid.save(shares)


async def update(capability, offset, file, needed, total, shares):
    grid = Grid(shares)
    version = await grid.maker(needed, total).create_from_cap(capability.encode()).get_best_mutable_version()
    await version.update(MutableData(content(file)), offset)
    grid.save(shares)


async def read(capability, shares, into):
    node = Grid(shares).maker().create_from_cap(capability.encode())
    with open(into, "wb") as f:
        f.write(await node.download_best_version())


async def verify(capability, shares):
    results = await Grid(shares).maker().create_from_cap(capability.encode()).check(Monitor(), verify=True)
    return {"healthy": results.is_healthy(), "good": results.get_share_counter_good(), "corrupt": len(results.get_corrupt_shares())}


async def attenuate(capability):
    cap = uri.from_string(capability)
    readonly = cap.get_readonly() if hasattr(cap, "get_readonly") else cap
    verify = cap.get_verify_cap()
    return [readonly.to_string().decode(), verify.to_string().decode() if verify else ""]


async def pack(capability, children):
    cap = uri.from_string(capability)
    maker, immutable = Grid().maker(), not cap.is_mutable()
    made = {name: (maker.create_from_cap((rw or "").encode() or None, (ro or "").encode() or None, deep_immutable=immutable), metadata)
            for name, rw, ro, metadata in children}
    key = None if immutable else cap.get_filenode_cap().writekey
    return dirnode.pack_children(made, key, deep_immutable=immutable).hex()


async def unpack(capability, packed):
    children = Grid().maker().create_from_cap(capability.encode())._unpack_contents(bytes.fromhex(packed))
    text = lambda cap: cap.decode() if cap else ""
    return [[name, text(child.get_write_uri()), text(child.get_readonly_uri()), metadata] for name, (child, metadata) in sorted(children.items())]


async def main(reactor):
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(await globals()[job.pop("do")](**job)), flush=True)


task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
