#!/usr/bin/env python3
"""Verifies an export, checkpoints and receipts with no code of the service.

    python3 verify.py VKEY export.ndjson CHECKPOINT...    # the log and the checkpoints that were kept
    python3 verify.py VKEY receipts.txt                   # receipts

Python's standard library and `cryptography` (PyPI). Formats: RFC 6962, C2SP signed-note, tlog-checkpoint, tlog-proof.
Exit code 0 if all is sound, 1 if not, 2 if that cannot be said.
"""
import base64, hashlib, json, sys


def unusable(what):
    print(what, file=sys.stderr)
    sys.exit(2)


try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError as missing:
    unusable(f"{missing}: pip install cryptography, in a virtual environment")


def wrong(what):
    sys.exit(f"WRONG: {what}")


def leaf(line):
    return hashlib.sha256(b"\0" + line).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root(hashes):
    """The root over leaves (RFC 6962, 2.1): the left part is the largest power of two that leaves something."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256().digest()
    middle = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root(hashes[:middle]), root(hashes[middle:]))


def checkpoint(note, vkey):
    """Size and root of a signed note, if the key's owner signed it."""
    name, key_hash, key = vkey.split("+", 2)
    text, _, signatures = note.rpartition("\n\n")
    origin, size, root_hash = text.split("\n")[:3]
    if origin != name:
        wrong(f"the checkpoint is of {origin}, the key of {name}")
    for line in signatures.splitlines():
        _, signer, signature = line.split(" ")
        signature = base64.b64decode(signature)
        if signer == name and signature[:4].hex() == key_hash:
            try:
                public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
                public.verify(signature[4:], (text + "\n").encode())
                return int(size), base64.b64decode(root_hash)
            except InvalidSignature:
                wrong(f"the signature of the checkpoint of {size} records")
    wrong("the checkpoint is not signed by this key")


def export(path, vkey, kept):
    leaves, last = [], ""
    for position, line in enumerate(open(path, "rb"), 1):
        record = json.loads(line)
        if record["position"] != position or record["recorded_at"] < last or not line.endswith(b"\n"):
            wrong(f"the record at position {position} is not in its place")
        last = record["recorded_at"]
        leaves.append(leaf(line[:-1]))
    for note in kept:
        size, expected = checkpoint(open(note, encoding="utf-8").read(), vkey)
        if size > len(leaves):
            wrong(f"the export ends at position {len(leaves)}, the checkpoint has {size} records")
        if root(leaves[:size]) != expected:
            wrong(f"a record up to position {size} is not the one that was vouched for")
        print(f"the first {size} records are those of {note}")
    print(f"{len(leaves)} records, root {base64.b64encode(root(leaves)).decode()}")


def receipt(text, vkey):
    proof, _, note = text.partition("\n\n")
    extra, index, *path = proof.splitlines()
    line, index = base64.b64decode(extra.split(" ")[1]), int(index.split(" ")[1])
    size, expected = checkpoint(note, vkey)
    at, last, found = index, size - 1, leaf(line)
    for sibling in map(base64.b64decode, path):  # RFC 9162, 2.1.3.2
        if at % 2 or at == last:
            found = node(sibling, found)
            while at % 2 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, sibling)
        at, last = at >> 1, last >> 1
    if last or found != expected or json.loads(line)["position"] != index + 1:
        wrong(f"the record at position {index + 1} is not in the log of {size} records")
    print(f"in the log of {size} records: {line.decode()}")


if len(sys.argv) < 3:
    unusable(__doc__)
vkey, path, *kept = sys.argv[1:]
try:
    text = open(path, encoding="utf-8").read() if not kept else ""
    if text.startswith("c2sp.org/tlog-proof@v1\n"):
        for part in text.split("c2sp.org/tlog-proof@v1\n")[1:]:
            receipt(part, vkey)
    else:
        export(path, vkey, kept)
except OSError as error:
    unusable(error)
