"""Encodes files as stock Tahoe-LAFS does, without a grid.

Standard input: a JSON object a line, {"file", "convergence" (hex), "needed", "total", "segment", "shares" (folder or empty)}.
Standard output: the capability of each, a line each; the bodies of its shares go to the folder, named by their numbers.
"""
import json, os, sys

from allmydata import hashtree, uri
from allmydata.immutable import encode, layout, upload
from twisted.internet import defer, task


class Bucket:
    """What a storage server is to Tahoe's encoder: it takes one share."""

    def __init__(self):
        self.body = bytearray()

    def callRemote(self, method, *args):
        if method == "write":
            offset, data = args
            assert offset == len(self.body)
            self.body += data
        return defer.succeed(None)


class Server:
    def get_name(self):
        return b"nobody"

    def get_serverid(self):
        return b"\0" * 20


@defer.inlineCallbacks
def encode_one(job):
    source = upload.FileName(job["file"], bytes.fromhex(job["convergence"]))
    source.set_default_encoding_parameters(dict(k=job["needed"], happy=1, n=job["total"], max_segment_size=job["segment"]))
    encoder = encode.Encoder()
    yield encoder.set_encrypted_uploadable(upload.EncryptAnUploadable(source))
    buckets = [Bucket() for _ in range(job["total"])]
    hashes = len(hashtree.IncompleteHashTree(job["total"]).needed_hashes(0, include_leaf=True))
    writers = {
        number: layout.make_write_bucket_proxy(bucket, Server(), encoder.get_param("share_size"), encoder.get_param("block_size"),
                                               encoder.get_param("num_segments"), hashes, encoder.get_uri_extension_size())
        for number, bucket in enumerate(buckets)
    }
    encoder.set_shareholders(writers, {number: {b"server%d" % number} for number in writers})
    verify = yield encoder.start()
    key = yield source.get_encryption_key()
    source.close()
    if job["shares"]:
        for number, bucket in enumerate(buckets):
            with open(os.path.join(job["shares"], str(number)), "wb") as f:
                f.write(bucket.body)
    return uri.CHKFileURI(key, verify.uri_extension_hash, verify.needed_shares, verify.total_shares, verify.size).to_string().decode()


@defer.inlineCallbacks
def main(reactor):
    for line in sys.stdin:
        capability = yield encode_one(json.loads(line))
        print(capability, flush=True)


task.react(main)
