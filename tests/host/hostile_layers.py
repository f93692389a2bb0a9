# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers that nobody should be given, and what is said about each; and good ones beside them.

"hostile_layers.py DIRECTORY" writes the small ones as files for tests/fuzz/corpus/tar."""

import gzip
import os
import subprocess
import sys

BAD, LIMITS = "org.crt.Error.BadContent", "org.crt.Error.LimitsExceeded"
END = bytes(1024)
MEBI = 1 << 20


def number(value, size):
    """Octal if it fits, else base-256."""
    if 0 <= value < 8 ** (size - 1):
        return b"%0*o\0" % (size - 1, value)
    return ((value % (1 << 8 * size)) | (0x80 << 8 * (size - 1))).to_bytes(size, "big")


def header(name, kind=b"0", size=0, link=b"", **fields):
    """One block. fields: raw bytes for mode, uid, gid, size_raw, mtime, magic, major, minor, prefix, checksum."""
    block = bytearray(512)

    def put(offset, data, room):
        assert len(data) <= room, data
        block[offset:offset + len(data)] = data

    put(0, name, 100)
    put(100, fields.get("mode", b"0000755\0" if kind == b"5" else b"0000644\0"), 8)
    put(108, fields.get("uid", number(0, 8)), 8)
    put(116, fields.get("gid", number(0, 8)), 8)
    put(124, fields.get("size_raw", number(size, 12)), 12)
    put(136, fields.get("mtime", number(1000000000, 12)), 12)
    block[156:157] = kind
    put(157, link, 100)
    put(257, fields.get("magic", b"ustar\x0000"), 8)
    put(329, fields.get("major", number(0, 8)), 8)
    put(337, fields.get("minor", number(0, 8)), 8)
    put(345, fields.get("prefix", b""), 167)
    block[148:156] = b" " * 8
    block[148:156] = fields.get("checksum", b"%06o\0 " % sum(block))
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def file(name, data=b"x", **fields):
    return header(name, size=len(data), **fields) + padded(data)


def folder(name, **fields):
    return header(name, b"5", **fields)


def symlink(name, target):
    return header(name, b"2", link=target)


def hard(name, target):
    return header(name, b"1", link=target)


def device(name, kind=b"3", major=1, minor=3):
    return header(name, kind, major=number(major, 8), minor=number(minor, 8))


def record(key, value):
    size = len(key) + len(value) + 3
    length = size + len(str(size))
    length = size + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records, kind=b"x"):
    data = b"".join(record(key, value) for key, value in records)
    return header(b"pax", kind, len(data)) + padded(data)


def raw_pax(data):
    return header(b"pax", b"x", len(data)) + padded(data)


def long_name(name, kind=b"L"):
    return header(b"././@LongLink", kind, len(name) + 1, magic=b"ustar  \0") + padded(name + b"\0")


def old_sparse(pairs, real_size, data=b"", more=b"\0"):
    block = bytearray(header(b"sparse", b"S", len(data), magic=b"ustar  \0"))
    for i, (offset, size) in enumerate(pairs):
        block[386 + 24 * i:410 + 24 * i] = number(offset, 12) + number(size, 12)
    block[482:483] = more
    block[483:495] = number(real_size, 12)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + padded(data)


def sparse_1(text, real_size, data=b""):
    body = padded(text) + data
    return pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"sparse"),
               (b"GNU.sparse.realsize", b"%d" % real_size)) + file(b"x", body)


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


def xattr(name, value=b"x"):
    return pax((b"SCHILY.xattr." + name, value))


def acl(words):
    return pax((b"SCHILY.acl.access", words))


def bad(*parts, say, error=BAD, **options):
    return b"".join(parts) + END, error, say, options


def good(*parts, **options):
    return b"".join(parts) + END, None, None, options


LOOP = "Too many levels of symbolic links"
NO_FILE = "which is no file of this layer"
WHITEOUT = "whiteout of nothing"
DOTS = "must not have '..'"

CASES = {
    # ---- out of the tree by name ----
    "parent": lambda: bad(file(b"../outside"), say=DOTS),
    "parent-within": lambda: bad(folder(b"a"), file(b"a/../../outside"), say=DOTS),
    "parent-at-the-end": lambda: bad(folder(b"a/.."), say=DOTS),
    "parent-alone": lambda: bad(folder(b".."), say=DOTS),
    "parent-of-an-absolute-name": lambda: bad(file(b"/../outside"), say=DOTS),
    "parent-with-dots-and-slashes": lambda: bad(file(b".//.//../outside"), say=DOTS),
    "parent-in-the-prefix": lambda: bad(file(b"outside", prefix=b"a/.."), say=DOTS),
    "parent-in-pax": lambda: bad(pax((b"path", b"../outside")), file(b"x"), say=DOTS),
    "parent-in-a-long-name": lambda: bad(long_name(b"../outside"), file(b"x"), say=DOTS),
    "parent-in-a-sparse-name": lambda: bad(
        pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.name", b"../outside"), (b"GNU.sparse.size", b"1")), file(b"x"),
        say=DOTS),
    # ---- out of the tree by symbolic links ----
    "below-a-link-to-itself": lambda: bad(symlink(b"l", b"l"), file(b"l/x"), say=LOOP),
    "below-links-to-each-other": lambda: bad(symlink(b"a", b"b/x"), symlink(b"b", b"a/y"), file(b"a/f"), say=LOOP),
    "below-a-link-that-grows": lambda: bad(symlink(b"l", b"l/" + b"x/" * 40), file(b"l/f"), say=LOOP),
    "below-a-chain-of-many": lambda: bad(*(symlink(b"l%d" % i, b"l%d" % (i + 1)) for i in range(41)), file(b"l0/f"),
                                         say=LOOP),
    "below-a-link-that-is-too-long": lambda: bad(
        pax((b"linkpath", b"d/" * 2040 + b"d")), symlink(b"l", b"x"), pax((b"path", b"l/" + b"d/" * 100 + b"f")),
        file(b"x"), say="longer than"),
    "below-a-link-to-a-name-that-is-too-long": lambda: bad(
        pax((b"linkpath", b"n" * 300)), symlink(b"l", b"x"), file(b"l/f"), say="too long"),
    "file-below-a-link-that-is-too-long": lambda: bad(
        pax((b"linkpath", b"d/" * 2040 + b"d")), symlink(b"l", b"x"), file(b"l/" + b"f" * 90), say="too long"),
    "below-a-link-up-from-nowhere": lambda: bad(symlink(b"l", b"m/../x"), file(b"l/f"), say="leads up from"),
    "below-a-link-to-a-whiteout": lambda: bad(symlink(b"l", b".wh.x"), file(b"l/f"), say="name of a whiteout"),
    "below-a-link-to-a-file": lambda: bad(file(b"f"), symlink(b"l", b"f"), file(b"l/x"), say="no directory"),
    "below-a-file": lambda: bad(file(b"f"), file(b"f/x"), say="no directory in this layer"),
    "below-a-pipe": lambda: bad(header(b"p", b"6"), file(b"p/x"), say="no directory in this layer"),
    "below-a-device": lambda: bad(device(b"n"), file(b"n/x"), say="no directory in this layer"),
    "link-to-nothing": lambda: bad(symlink(b"l", b""), say="symbolic link to nothing"),
    "link-of-64-kib": lambda: bad(long_name(b"x" * 65536, b"K"), symlink(b"l", b"x"), say="too long"),
    # ---- hard links ----
    "hard-link-to-the-parent": lambda: bad(hard(b"h", b"../outside"), say=DOTS),
    "hard-link-to-the-host": lambda: bad(hard(b"h", b"/etc/passwd"), say=NO_FILE),
    "hard-link-through-a-link": lambda: bad(symlink(b"l", b".."), hard(b"h", b"l/outside"), say=NO_FILE),
    "hard-link-before-its-target": lambda: bad(hard(b"h", b"f"), file(b"f"), say=NO_FILE),
    "hard-link-to-a-directory": lambda: bad(folder(b"d"), hard(b"h", b"d"), say=NO_FILE),
    "hard-link-to-itself": lambda: bad(file(b"f"), hard(b"f", b"f"), say="hard link to itself"),
    "hard-link-to-itself-with-dots": lambda: bad(file(b"f"), hard(b"f", b"./f"), say="hard link to itself"),
    "hard-link-to-the-root": lambda: bad(hard(b"h", b"/"), say="or to the root"),
    "hard-link-to-nothing": lambda: bad(hard(b"h", b""), say="or to the root"),
    "hard-link-to-what-is-hidden": lambda: bad(file(b".wh.f"), hard(b"h", b"f"), say=NO_FILE),
    "hard-link-to-what-was-replaced": lambda: bad(file(b"d/f"), file(b"d"), hard(b"h", b"d/f"), say=NO_FILE),
    "hard-link-in-pax-to-the-parent": lambda: bad(pax((b"linkpath", b"../outside")), hard(b"h", b"f"), say=DOTS),
    "hard-links-in-a-circle": lambda: bad(hard(b"a", b"b"), hard(b"b", b"a"), say=NO_FILE),
    # ---- whiteouts ----
    "whiteout-of-nothing": lambda: bad(file(b"d/.wh."), say=WHITEOUT),
    "whiteout-of-the-directory": lambda: bad(file(b"d/.wh.."), say=WHITEOUT),
    "whiteout-of-the-parent": lambda: bad(file(b".wh..."), say=WHITEOUT),
    "whiteout-of-the-root": lambda: bad(file(b"/.wh."), say=WHITEOUT),
    "whiteout-above": lambda: bad(file(b"../.wh.outside"), say=DOTS),
    "whiteout-as-a-parent": lambda: bad(file(b".wh.d/x"), say="whiteout can't be a directory"),
    "opaque-file": lambda: bad(file(b"f"), file(b"f/.wh..wh..opq"), say="no directory in this layer"),
    "opaque-above": lambda: bad(file(b"../.wh..wh..opq"), say=DOTS),
    # ---- the root ----
    "root-as-a-file": lambda: bad(file(b"."), say="root of a layer must be a directory"),
    "root-as-a-link": lambda: bad(symlink(b"./", b"/etc"), say="root of a layer must be a directory"),
    "root-as-a-device": lambda: bad(device(b"/"), say="root of a layer must be a directory"),
    "root-as-a-hard-link": lambda: bad(file(b"f"), hard(b"./.", b"f"), say="root of a layer must be a directory"),
    # ---- names ----
    "name-with-a-nul-in-pax": lambda: bad(pax((b"path", b"a\0/../../outside")), file(b"x"), say="has a NUL"),
    "name-with-a-nul-in-a-long-name": lambda: bad(long_name(b"a\0b"), file(b"x"), say="has a NUL"),
    "link-with-a-nul-in-pax": lambda: bad(pax((b"linkpath", b"a\0b")), symlink(b"x", b"y"), say="has a NUL"),
    "name-of-64-kib": lambda: bad(pax((b"path", b"a" * 65536)), file(b"x"), say="longer than 255 bytes"),
    "name-of-256-bytes": lambda: bad(pax((b"path", b"a" * 256)), file(b"x"), say="longer than 255 bytes"),
    "path-of-64-kib": lambda: bad(pax((b"path", b"a/" * 32768 + b"f")), file(b"x"), say="longer than 4095 bytes"),
    "long-name-of-a-mebibyte": lambda: bad(long_name(b"a/" * (MEBI // 2)), file(b"x"), say="a name is longer than"),
    "10000-directories-deep": lambda: bad(long_name(b"d/" * 10000), folder(b"x"), say="longer than 4095 bytes"),
    # ---- lies of headers ----
    "wrong-checksum": lambda: bad(file(b"a"), header(b"b", checksum=b"0001234\0"), say="wrong checksum"),
    "no-checksum": lambda: bad(header(b"b", checksum=bytes(8)), say="wrong checksum"),
    "garbage": lambda: bad(b"z" * 1024, say="wrong checksum"),
    "size-is-no-number": lambda: bad(header(b"a", size_raw=b"12x45678901\0"), say="size of a header is no number"),
    "mode-is-no-number": lambda: bad(header(b"a", mode=b"rw-r--r-"), say="mode of a header is no number"),
    "owner-is-no-number": lambda: bad(header(b"a", uid=b"root\0\0\0\0"), say="owner of a header is no number"),
    "time-is-no-number": lambda: bad(header(b"a", mtime=b"yesterday\0\0\0"), say="time of a header is no number"),
    "size-beyond-64-bits": lambda: bad(header(b"a", size_raw=b"\x80" + b"\xff" * 11), say="no number"),
    "negative-size": lambda: bad(header(b"a", size_raw=number(-1, 12)), say="negative size"),
    "negative-size-in-pax": lambda: bad(pax((b"size", b"-1")), file(b"a"), say="negative size"),
    "negative-size-of-a-long-name": lambda: bad(header(b"x", b"L", size_raw=number(-512, 12)), say="negative size"),
    "size-beyond-the-archive": lambda: bad(header(b"a", size=MEBI), say="truncated"),
    "huge-size": lambda: bad(header(b"a", size_raw=number(1 << 62, 12)), say="bytes", error=LIMITS),
    "size-in-pax-beyond-the-archive": lambda: bad(pax((b"size", b"1000000")), file(b"a"), say="truncated"),
    "size-in-pax-hides-a-header": lambda: bad(pax((b"size", b"2048")), file(b"a"), say="truncated"),
    "size-in-pax-is-no-number": lambda: bad(pax((b"size", b"0x10")), file(b"a"), say="impossible value"),
    "negative-owner": lambda: bad(header(b"a", uid=number(-1, 8)), say="out of range"),
    "huge-owner": lambda: bad(pax((b"uid", b"4294967295")), header(b"a"), say="out of range"),
    "huge-group": lambda: bad(pax((b"gid", b"9223372036854775807")), header(b"a"), say="out of range"),
    "owner-beyond-64-bits": lambda: bad(pax((b"uid", b"99999999999999999999")), header(b"a"), say="impossible value"),
    "time-beyond-64-bits": lambda: bad(pax((b"mtime", b"99999999999999999999")), header(b"a"), say="impossible value"),
    "time-with-letters": lambda: bad(pax((b"mtime", b"12.5e9")), header(b"a"), say="impossible value"),
    "device-beyond-the-kernel": lambda: bad(device(b"n", major=4096), say="device number"),
    "device-with-a-negative-number": lambda: bad(device(b"n", minor=-1), say="device number"),
    "unknown-type": lambda: bad(header(b"a", b"Q"), say="of a type that no layer has"),
    "multi-volume": lambda: bad(header(b"a", b"M", magic=b"ustar  \0"), say="of a type that no layer has"),
    "zeros-in-between": lambda: bad(file(b"a"), bytes(512), file(b"b"), say="block of zeros"),
    "cut-in-a-header": lambda: (file(b"a") + header(b"b")[:300], BAD, "truncated", {}),
    "cut-in-contents": lambda: (header(b"a", size=600) + b"x" * 512, BAD, "truncated", {}),
    "cut-after-a-long-name": lambda: bad(long_name(b"x" * 200), say="truncated"),
    # ---- pax ----
    "pax-without-end": lambda: bad(*[pax((b"comment", b"x"))] * 100, file(b"a"), say="extended headers follow"),
    "global-pax-without-end": lambda: bad(*[pax((b"comment", b"x"), kind=b"g")] * 100, file(b"a"),
                                          say="extended headers follow"),
    "long-names-without-end": lambda: bad(*[long_name(b"x")] * 100, file(b"a"), say="extended headers follow"),
    "pax-of-two-mebibytes": lambda: bad(raw_pax(b"x" * 2 * MEBI), file(b"a"), say="a pax header is larger"),
    "pax-of-an-exbibyte": lambda: bad(header(b"pax", b"x", size_raw=number(1 << 60, 12)), say="a pax header is larger"),
    "pax-record-too-long": lambda: bad(raw_pax(b"99 path=x\n"), file(b"a"), say="wrong length"),
    "pax-record-too-short": lambda: bad(raw_pax(b"3 path=x\n"), file(b"a"), say="wrong length"),
    "pax-record-without-length": lambda: bad(raw_pax(b"path=x\n"), file(b"a"), say="wrong length"),
    "pax-record-of-huge-length": lambda: bad(raw_pax(b"99999999999999999999 path=x\n"), file(b"a"), say="wrong length"),
    "pax-record-without-key": lambda: bad(raw_pax(b"5 =x\n"), file(b"a"), say="no key"),
    "pax-record-without-newline": lambda: bad(raw_pax(b"9 path=xy"), file(b"a"), say="wrong length"),
    # ---- sparse files ----
    "sparse-bomb": lambda: bad(old_sparse([(0, 0)], 1 << 50), say="bytes", error=LIMITS),
    "sparse-bomb-of-many": lambda: bad(*[old_sparse([(0, 0)], 40 * MEBI)] * 3, say="bytes", error=LIMITS,
                                       **{"max-size": 100 * MEBI}),
    "sparse-overlapping": lambda: bad(old_sparse([(0, 512), (256, 512)], 4096, b"x" * 1024), say="impossible map"),
    "sparse-backwards": lambda: bad(old_sparse([(1024, 512), (0, 512)], 4096, b"x" * 1024), say="impossible map"),
    "sparse-negative": lambda: bad(old_sparse([(-512, 512)], 4096, b"x" * 512), say="impossible map"),
    "sparse-overflow": lambda: bad(old_sparse([((1 << 63) - 1, 512)], 4096, b"x" * 512), say="impossible map"),
    "sparse-beyond-its-size": lambda: bad(old_sparse([(8192, 512)], 4096, b"x" * 512), say="not its own"),
    "sparse-with-less-data": lambda: bad(old_sparse([(0, 1024)], 4096, b"x" * 512), say="not its own"),
    "sparse-negative-size": lambda: bad(old_sparse([(0, 0)], -1), say="impossible size"),
    "sparse-blocks-cut-off": lambda: (old_sparse([(0, 0)], 0, more=b"\1"), BAD, "truncated", {}),
    "sparse-map-cut-off": lambda: bad(sparse_1(b"2\n0\n1\n", 512), say="impossible map"),
    "sparse-map-of-a-billion": lambda: bad(sparse_1(b"1000000000\n0\n0\n", 512), say="impossible map"),
    "sparse-map-no-numbers": lambda: bad(sparse_1(b"one\n", 512), say="impossible map"),
    "sparse-map-negative": lambda: bad(sparse_1(b"-1\n", 512), say="impossible map"),
    "sparse-list-odd": lambda: bad(pax((b"GNU.sparse.map", b"0,1,2"), (b"GNU.sparse.size", b"9")), file(b"a"),
                                   say="impossible map"),
    "sparse-of-the-future": lambda: bad(pax((b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0")), file(b"a"),
                                        say="format that nobody knows"),
    # ---- extended attributes ----
    "xattr-flood": lambda: bad(pax(*[(b"SCHILY.xattr.user.%d" % i, b"x") for i in range(1025)]), file(b"a"),
                               say="more than 1024 extended attributes"),
    "xattr-of-100-kib": lambda: bad(xattr(b"user.a", b"x" * 100000), file(b"a"), say="larger than 65536 bytes"),
    "xattr-without-name": lambda: bad(xattr(b""), file(b"a"), say="has no name"),
    "xattr-encoded-wrongly": lambda: bad(pax((b"LIBARCHIVE.xattr.user.%zz", b"eA")), file(b"a"), say="encoded wrongly"),
    "capability-of-nonsense": lambda: bad(xattr(b"security.capability", b"nonsense"), file(b"a"), say="invalid value"),
    "acl-of-nonsense": lambda: bad(xattr(b"system.posix_acl_access", b"\2\0\0\0odd"), file(b"a"), say="acl"),
    "acl-in-words-of-nonsense": lambda: bad(acl(b"owner@:rwx::allow"), file(b"a"), say="impossible entry"),
    "acl-in-words-with-a-name": lambda: bad(acl(b"user::rwx,user:joe:rwx,group::r-x,mask::rwx,other::---"), file(b"a"),
                                            say="names the user 'joe', without a number"),
    "acl-in-words-of-a-mebibyte": lambda: bad(acl(b"user::rwx,group::r-x,mask::rwx,other::---," + b",".join(
        b"group:%d:rwx" % i for i in range(40000, 0, -1))), file(b"a"), say="more than 1024 entries"),
    "acl-in-words-with-a-nul": lambda: bad(acl(b"user::rwx\0,group::r-x"), file(b"a"), say="has a NUL"),
    "acl-in-words-and-control-characters": lambda: bad(acl(b"user:\x1b[31m\xff:rwx"), file(b"a"),
                                                       say="without a number"),
    "inherited-acl-of-a-file": lambda: bad(pax((b"SCHILY.acl.default", b"user::rwx,group::---,other::---")), file(b"a"),
                                           say="is no directory"),
    "label-of-100-kib": lambda: bad(pax((b"RHT.security.selinux", b"x" * 100000)), file(b"a"),
                                    say="larger than 65536 bytes"),
    # ---- too much ----
    "gzip-bomb": lambda: (gzip.compress(file(b"a", bytes(64 * MEBI)) + END, 9), LIMITS, "bytes", {"max-size": MEBI}),
    "zstd-bomb": lambda: (zstd(file(b"a", bytes(64 * MEBI)) + END), LIMITS, "bytes", {"max-size": MEBI}),
    "bomb-after-the-end": lambda: (zstd(END + bytes(64 * MEBI)), LIMITS, "bytes", {"max-size": MEBI}),
    "many-tiny-entries": lambda: (zstd(b"".join(header(b"f%d" % i) for i in range(20001)) + END), LIMITS,
                                  "more than 20000 entries", {"max-entries": 20000}),
    "many-directories-on-the-way": lambda: bad(file(b"a/" * 45 + b"f"), say="more than 40 entries", error=LIMITS,
                                               **{"max-entries": 40}),
    "hard-links-by-the-hundred-thousand": lambda: (
        zstd(file(b"f") + b"".join(hard(b"h%d" % i, b"f") for i in range(100000)) + END), BAD,
        "Too many links", {}),
    # ---- streams ----
    "gzip-cut-off": lambda: (gzip.compress(file(b"a") + END)[:-4], BAD, "truncated", {}),
    "gzip-damaged": lambda: (b"\x1f\x8b\x08\0" + b"\xff" * 50, BAD, "gzip stream", {}),
    "gzip-with-garbage": lambda: (gzip.compress(file(b"a") + END) + b"garbage", BAD, "ends with garbage", {}),
    "zstd-cut-off": lambda: (zstd(file(b"a") + END)[:-4], BAD, "truncated", {}),
    "zstd-damaged": lambda: (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, BAD, "zstd stream", {}),
    "zstd-with-garbage": lambda: (zstd(file(b"a") + END) + b"garbage", BAD, "zstd stream", {}),
    "zstd-window-of-two-tebibytes": lambda: (bytes.fromhex("28b52ffd00f8010000"), BAD, "zstd stream", {}),
    "gzip-that-is-none": lambda: (file(b"a") + END, BAD, "gzip stream", {"compression": "gzip"}),
}

GOOD = {
    "absolute-names": lambda: good(folder(b"/etc/"), file(b"/etc/passwd"), file(b"//x//./y")),
    "names-with-newlines-and-more": lambda: good(file(b"a\nb"), file(b"c\x1b[31m"), file(b"\xff\xfe"), file(b" "),
                                                 file(b"-rf"), file(b"...")),
    "case-tricks": lambda: good(file(b"File"), file(b"file"), folder(b"FILE"), folder(b".WH.x"), file(b".Wh.x")),
    "dangling-and-absolute-links": lambda: good(symlink(b"a", b"/etc/passwd"), symlink(b"b", b"../../.."),
                                                symlink(b"c", b"c")),
    "a-link-replaced-by-a-file": lambda: good(symlink(b"a", b"/etc/crt-outside"), file(b"a")),
    "a-link-replaced-by-a-directory": lambda: good(symlink(b"a", b".."), folder(b"a"), file(b"a/outside")),
    # ---- below links: contained, as with others ----
    "below-a-link-to-the-parent": lambda: good(symlink(b"l", b".."), file(b"l/outside")),
    "below-a-link-to-the-root": lambda: good(symlink(b"l", b"/"), file(b"l/etc/crt-outside")),
    "below-a-link-within": lambda: good(folder(b"d"), symlink(b"l", b"d"), file(b"l/x")),
    "below-a-chain": lambda: good(symlink(b"a", b".."), symlink(b"b", b"a"), symlink(b"c", b"b/a"), file(b"c/outside")),
    "below-a-link-by-hard-link": lambda: good(symlink(b"l", b".."), hard(b"m", b"l"), file(b"m/outside")),
    "below-a-link-that-replaced-a-directory": lambda: good(folder(b"d"), file(b"d/x"), symlink(b"d", b".."),
                                                           file(b"d/outside")),
    "below-a-link-that-replaced-a-parent": lambda: good(folder(b"a/b"), file(b"a/b/x"), symlink(b"a", b"/"),
                                                        file(b"a/b/x")),
    "link-then-directory-below": lambda: good(symlink(b"l", b".."), folder(b"l/d")),
    "link-then-device-below": lambda: good(symlink(b"l", b"/dev"), device(b"l/crt-null")),
    "link-then-link-below": lambda: good(symlink(b"l", b".."), symlink(b"l/x", b"y")),
    "link-then-pipe-below": lambda: good(symlink(b"l", b".."), header(b"l/p", b"6")),
    "magic-link": lambda: good(symlink(b"l", b"/proc/self/root"), file(b"l/outside")),
    "magic-link-to-the-daemon": lambda: good(symlink(b"l", b"/proc/self/fd/4"), file(b"l/x")),
    "hard-link-through-a-link-within": lambda: good(file(b"d/f"), symlink(b"l", b"d"), hard(b"h", b"l/f")),
    "hard-link-below-a-link": lambda: good(file(b"f"), symlink(b"l", b".."), hard(b"l/h", b"f")),
    "whiteout-through-a-link": lambda: good(symlink(b"l", b".."), file(b"l/.wh.outside")),
    "opaque-link": lambda: good(symlink(b"l", b".."), file(b"l/.wh..wh..opq")),
    "aufs": lambda: good(file(b".wh..wh.aufs"), folder(b".wh..wh.plnk"), file(b".wh..wh.plnk/1.2"),
                         folder(b".wh..wh.orph")),
    "opaque-root": lambda: good(file(b".wh..wh..opq"), file(b"a")),
    "setuid-and-sticky": lambda: good(header(b"a", mode=b"0007777\0"), folder(b"d", mode=b"0001777\0")),
    "owners": lambda: good(header(b"a", uid=number(4294967294, 8)), pax((b"gid", b"4294967294")), header(b"b")),
    "times": lambda: good(header(b"a", mtime=number(-1, 12)), pax((b"mtime", b"9223372036854775807.999999999")),
                          header(b"b"), pax((b"mtime", b"-9223372036854775807.5")), header(b"c")),
    "foreign-xattrs": lambda: good(xattr(b"trusted.overlay.redirect", b"/"), folder(b"a"),
                                   xattr(b"user.overlay.opaque", b"y"), folder(b"b"),
                                   xattr(b"trusted.overlay.metacopy"), file(b"c"),
                                   xattr(b"security.selinux", b"system_u:object_r:root_t"), file(b"d"),
                                   xattr(b"security.ima", b"x"), file(b"e"), xattr(b"nonsense"), file(b"f"),
                                   xattr(b"security.SMACK64", b"_"), file(b"g"),
                                   xattr(b"user." + b"x" * 300), file(b"h")),
    "pipes-and-devices-are-not-opened": lambda: good(header(b"p", b"6"), file(b"p"), header(b"p", b"6"),
                                                     device(b"zero", minor=5), file(b"zero"), device(b"sd", b"4", 8, 0),
                                                     header(b"p2", b"6"), hard(b"p3", b"p2")),
    "acls-in-words": lambda: good(
        acl(b"user::rwx\nuser:100000:rwx\t#effective:r-x\ngroup::r-x\nmask::r-x\nother::---\n"), file(b"f"),
        acl(b"u::rwx,u:joe:r:5,g::-,g:two words:x:6,m::rwx,o:r"), folder(b"d"),
        pax((b"SCHILY.acl.default", b"default:user::rwx,group::r-x,other::---"), (b"SCHILY.acl.ace", b"nonsense"),
            (b"RHT.security.selinux", b"system_u:object_r:etc_t:s0")), folder(b"e")),
    "sizes-of-what-has-no-contents": lambda: good(header(b"d", b"5", size=4096), header(b"p", b"6", size=4096),
                                                  file(b"f"), header(b"h", b"1", size=4096, link=b"f"), file(b"g")),
    "pax-changes-everything": lambda: good(pax((b"path", b"other"), (b"size", b"3"), (b"uid", b"7")),
                                           header(b"x", size=0) + padded(b"abc"), file(b"y")),
    "pax-taken-back": lambda: good(pax((b"path", b"other"), (b"path", b"")), file(b"x")),
    "after-the-end": lambda: (file(b"a") + END + b"garbage" * 1000, None, None, {}),
    "no-end": lambda: (file(b"a"), None, None, {}),
    "one-block-of-zeros": lambda: (file(b"a") + bytes(512), None, None, {}),
    "empty": lambda: (b"", None, None, {}),
    "hard-links-by-the-thousand": lambda: (
        zstd(file(b"f") + b"".join(hard(b"h%d" % i, b"f") for i in range(20000)) + END), None, None, {}),
    "as-deep-as-it-goes": lambda: good(long_name(b"d/" * 2040 + b"f"), file(b"x"), long_name(b"d/" * 2040 + b"g"),
                                       file(b"x")),
}


def main():
    for prefix, cases in (("should-fail", CASES), ("good", GOOD)):
        for name, make in cases.items():
            data, _, _, options = make()
            # There checksums are put right.
            if len(data) <= 8192 and not options and data[257:262] == b"ustar" and "checksum" not in name:
                with open(os.path.join(sys.argv[1], f"{prefix}-{name}"), "wb") as out:
                    out.write(data)


if __name__ == "__main__":
    main()
