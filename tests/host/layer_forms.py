# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every form in which layers come, and some that never should: each a list of layers, from the lowest."""

import gzip
import os
import struct
import subprocess

from hostile_layers import END, device, file, folder, hard, header, long_name, number, old_sparse, padded, pax
from hostile_layers import sparse_1, symlink, zstd

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


def acl_of(user):
    """Version 2: user::rwx, user:USER:r-x, group::r-x, mask::r-x, other::---"""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in (
        (1, 7, 0xffffffff), (2, 5, user), (4, 5, 0xffffffff), (16, 5, 0xffffffff), (32, 0, 0xffffffff)))


ACL = acl_of(7)
ACL_OF_NOBODY = acl_of(123456)  # whom no host has a name for
ACL_LINES = b"user::rwx\nuser:7:r-x\ngroup::r-x\nmask::r-x\nother::---\n"
ACL_LIST = b"user::rwx,group::r-x,other::---,user:lp:r-x:7,mask::r-x"
SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"hello"
BASE = [folder(b"d/"), file(b"d/a", b"lower a"), file(b"d/b", b"lower b"), folder(b"d/e/"), file(b"d/e/c", b"lower c"),
        file(b"f", b"lower f"), symlink(b"l", b"d"), folder(b"m/", mode=b"0000700\0")]


def tar(*parts):
    return b"".join(parts) + END


def over(*parts):
    return [tar(*BASE), tar(*parts)]


LINKS = BASE + [symlink(b"d/k", b"../m"), folder(b"d/s/", mode=b"0000700\0")]


def v7(name, data=b"", kind=b"\0", link=b""):
    return header(name, kind, len(data), link, magic=b"") + padded(data)


def sparse_blocks():
    """GNU's old format with more parts than the header has room for."""
    more = b"".join(number(4096 * i, 12) + number(512, 12) for i in range(4, 12))
    parts = [(4096 * i, 512) for i in range(4)]
    block = bytearray(old_sparse(parts, 65536, b"", b"\1"))
    block[124:136] = number(12 * 512, 12)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + more.ljust(504, b"\0") + bytes(8) + b"".join(b"%d" % i * 512 for i in range(10)) + b"xy" * 512


FORMS = {
    "v7": [tar(v7(b"d/"), v7(b"d/f", b"seventh"), v7(b"h", kind=b"1", link=b"d/f"), v7(b"s", kind=b"2", link=b"d"))],
    "ustar-prefix": [tar(file(b"name", b"p", prefix=b"a/long/prefix"), folder(b"e/", prefix=b"a/long"))],
    "star": [tar(file(b"name", b"p", prefix=b"pre".ljust(131, b"\0") +
                      b"14700000000 14700000000 ".ljust(32, b"\0") + b"tar\0"))],
    "gnu-long-names": [tar(long_name(b"n" * 200), file(b"n" * 99, b"long"), long_name(b"t" * 300, b"K"),
                           long_name(b"d/" * 60 + b"l"), symlink(b"x", b"y"), long_name(b"n" * 200, b"K"),
                           hard(b"h", b"z"))],
    "gnu-numbers": [tar(header(b"f", uid=number(3000000, 8), gid=number(4000000, 8), mtime=number(-100000000, 12),
                               magic=b"ustar  \0"), header(b"g", mtime=number(1 << 33, 12), magic=b"ustar  \0"))],
    "pax-names-and-numbers": [tar(pax((b"path", "größe-🎈".encode() + b"/" + b"n" * 200), (b"uid", b"3000000"),
                                      (b"gid", b"4000000"), (b"mtime", b"1700000000.123456789"), (b"size", b"3")),
                                  header(b"x") + padded(b"pax"), pax((b"linkpath", b"t/" * 100)), symlink(b"l", b"x"))],
    "pax-xattrs": [tar(pax((b"SCHILY.xattr.user.note", b"with \0 in it"), (b"SCHILY.xattr.user.empty", b"")),
                       file(b"f"), pax((b"SCHILY.xattr.user.note", b"of a directory")), folder(b"d"))],
    "libarchive-xattrs": [tar(pax((b"LIBARCHIVE.xattr.user.a%20b", b"d29ybGQ")), file(b"f"),
                              pax((b"LIBARCHIVE.xattr.user.x", b"eQ"), (b"SCHILY.xattr.user.x", b"y")), file(b"g"))],
    "pax-global": [tar(pax((b"comment", b"of git"), (b"mtime", b"77"), (b"uid", b"77"), kind=b"g"), file(b"f"),
                       file(b"g"))],
    "pax-time-forms": [tar(pax((b"mtime", b"1234567890.5"), (b"atime", b"1.25")), file(b"f"),
                           pax((b"mtime", b"12.1234567891234")), file(b"g"), pax((b"mtime", b"99.")), file(b"h"))],
    "times-before-1970": [tar(pax((b"mtime", b"-1.5")), file(b"f"), pax((b"mtime", b"-300000000")), file(b"g"))],
    "sparse-old": [tar(old_sparse([(0, 512), (8192, 512), (20000, 0)], 20000, b"a" * 512 + b"b" * 512))],
    "sparse-old-blocks": [tar(sparse_blocks())],
    "sparse-0.0": [tar(pax((b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"2"),
                           (b"GNU.sparse.offset", b"0"), (b"GNU.sparse.numbytes", b"3"),
                           (b"GNU.sparse.offset", b"5000"), (b"GNU.sparse.numbytes", b"4")), file(b"f", b"abcdefg"))],
    "sparse-0.1": [tar(pax((b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"2"),
                           (b"GNU.sparse.name", b"real"), (b"GNU.sparse.map", b"0,3,5000,4")),
                       file(b"GNUSparseFile.1/f", b"abcdefg"))],
    "sparse-1.0": [tar(sparse_1(b"2\n0\n3\n5000\n4\n", 9000, b"abcdefg"))],
    "sparse-all-hole": [tar(sparse_1(b"1\n9000\n0\n", 9000))],
    "hard-links": [tar(file(b"f", b"one", uid=number(5, 8)), hard(b"d/g", b"f"), hard(b"h", b"./d/g"),
                       symlink(b"s", b"f"), hard(b"s2", b"s"), header(b"p", b"6"), hard(b"p2", b"p"),
                       device(b"n"), hard(b"n2", b"/n"))],
    "hard-link-before-its-target": [tar(hard(b"h", b"f"), file(b"f", b"one"))],
    "hard-link-to-a-file-below": over(hard(b"h", b"f"), hard(b"d/new", b"d/e/c")),
    "hard-link-to-a-file-below-over-another": over(hard(b"d/a", b"f")),
    "hard-link-to-a-link-below": over(hard(b"h", b"l")),
    "hard-link-to-what-is-hidden": over(file(b".wh.f", b""), hard(b"h", b"f")),
    "hard-link-with-size": [tar(file(b"f", b"one"), header(b"h", b"1", 3, b"f"), file(b"g"))],
    "hard-link-over-another": [tar(file(b"f", b"one"), file(b"g", b"two"), hard(b"g", b"f"))],
    "target-replaced-after-the-link": [tar(file(b"f", b"one"), hard(b"h", b"f"), file(b"f", b"two"))],
    "devices": [tar(device(b"null"), device(b"sda1", b"4", 8, 1), header(b"fifo", b"6", mode=b"0000622\0"),
                    header(b"tty", b"3", mode=b"0002620\0", gid=number(5, 8), major=number(4, 8),
                           minor=number(300, 8)))],
    "capability-and-acl": [tar(pax((b"SCHILY.xattr.security.capability", CAPABILITY)), file(b"f", uid=number(9, 8)),
                               pax((b"SCHILY.xattr.system.posix_acl_access", ACL)), file(b"g", mode=b"0000750\0"),
                               pax((b"SCHILY.xattr.system.posix_acl_default", ACL)), folder(b"d"), file(b"d/f"))],
    # In words: of GNU tar, of bsdtar and star, with a number for a name, and with both words and the value.
    "acl-in-words": [tar(pax((b"SCHILY.acl.access", ACL_LINES)), file(b"f", mode=b"0000750\0"),
                         pax((b"SCHILY.acl.access", ACL_LIST), (b"SCHILY.acl.default", ACL_LIST)),
                         folder(b"d", mode=b"0000750\0"), file(b"d/f"))],
    "acl-in-words-and-value": [tar(pax((b"SCHILY.acl.access", ACL_LINES.replace(b"7", b"lp")),
                                       (b"SCHILY.xattr.system.posix_acl_access", ACL)),
                                   file(b"g", mode=b"0000750\0"))],
    "acl-of-somebody": [tar(pax((b"SCHILY.acl.access", ACL_LINES.replace(b"7", b"lp"))), file(b"f"))],
    "acl-of-nfs4": [tar(pax((b"SCHILY.acl.ace", b"owner@:rw-p--aARWcCos:-------:allow")), file(b"f"))],
    "labels": [tar(pax((b"SCHILY.xattr.security.selinux", b"system_u:object_r:etc_t:s0\0"),
                       (b"RHT.security.selinux", b"system_u:object_r:etc_t:s0\0")), file(b"f"))],
    "modes": [tar(*[header(b"f%d" % i, mode=b"%07o\0" % (0o100000 | i)) for i in (0, 0o4755, 0o2755, 0o1777, 0o7777)],
                  folder(b"d", mode=b"0041777\0"), folder(b"closed", mode=b"0000000\0"), file(b"closed/f"))],
    "setgid-directory": [tar(folder(b"d", mode=b"0002775\0", gid=number(50, 8)), file(b"d/f"), folder(b"d/e"))],
    "contiguous": [tar(header(b"f", b"7", 3) + padded(b"con"))],
    "implied-directories": [tar(file(b"a/b/c", b"x"), folder(b"a/b", mode=b"0000700\0"))],
    "names": [tar(folder(b"./", mode=b"0000711\0"), file(b"./a"), file(b"/b"), file(b".//c//d"), file(b"e/./f"),
                  file(b"...", b"3"),
                  file(b"g\nh"), file(b"\xe4\xff"), file(b"n" * 100), symlink(b"./s", b"./a"), hard(b"./h", b"./a"))],
    "slash-after-a-file": [tar(file(b"f/", b"data"))],
    "slash-after-a-v7-file": [tar(v7(b"f/", b""))],
    "dot-entry": [tar(folder(b".", mode=b"0000750\0", uid=number(3, 8)), file(b"a"))],
    "no-end": [b"".join(BASE)],
    "one-zero-block": [b"".join(BASE) + bytes(512)],
    "garbage-after-the-end": [tar(*BASE) + b"garbage" * 999],
    "padding-after-the-end": [tar(*BASE) + bytes(10240)],
    "two-archives": [tar(file(b"a")) + tar(file(b"b"))],
    "empty-stream": [b""],
    "empty-archive": [END],
    "empty-archive-over": [tar(*BASE), END],
    "gzip": [gzip.compress(tar(*BASE))],
    "gzip-members": [gzip.compress(tar(*BASE)[:700]) + gzip.compress(b"") + gzip.compress(tar(*BASE)[700:])],
    "zstd": [zstd(tar(*BASE))],
    "zstd-frames": [zstd(tar(*BASE)[:700]) + SKIPPABLE + zstd(tar(*BASE)[700:]) + SKIPPABLE],
    "zstd-skippable-first": [SKIPPABLE + zstd(tar(*BASE))],
    # ---- one layer over another ----
    "whiteout": over(file(b"d/.wh.a", b""), file(b".wh.f", b"")),
    "whiteout-of-a-directory": over(file(b".wh.d", b"")),
    "whiteout-of-what-is-not-there": over(file(b".wh.nothing", b""), file(b"d/.wh.nothing", b"")),
    "whiteout-of-a-link": over(file(b".wh.l", b"")),
    "only-whiteouts": over(file(b".wh.d", b""), file(b".wh.f", b""), file(b".wh.l", b""), file(b".wh.m", b"")),
    "whiteout-then-file": over(file(b".wh.f", b""), file(b"f", b"new")),
    "file-then-whiteout": over(file(b"f", b"new"), file(b".wh.f", b"")),
    "whiteout-then-directory": over(file(b".wh.d", b""), folder(b"d/"), file(b"d/new")),
    "directory-then-whiteout": over(folder(b"d/"), file(b"d/new"), file(b".wh.d", b"")),
    "opaque-first": over(folder(b"d/"), file(b"d/.wh..wh..opq", b""), file(b"d/new")),
    "opaque-last": over(folder(b"d/"), file(b"d/new"), file(b"d/.wh..wh..opq", b"")),
    "opaque-below": over(folder(b"d/"), folder(b"d/e/"), file(b"d/e/.wh..wh..opq", b"")),
    "opaque-root": over(file(b".wh..wh..opq", b""), file(b"new")),
    "opaque-without-directory": over(file(b"d/.wh..wh..opq", b""), file(b"d/new")),
    "whiteout-in-opaque": over(folder(b"d/"), file(b"d/.wh..wh..opq", b""), file(b"d/.wh.a", b"")),
    "aufs": over(file(b".wh..wh.aufs", b""), folder(b".wh..wh.plnk"), folder(b".wh..wh.orph")),
    "file-over-directory": over(file(b"d", b"file")),
    "directory-over-file": over(folder(b"f/"), file(b"f/new")),
    "directory-over-link": over(folder(b"l/"), file(b"l/new")),
    "link-over-directory": over(symlink(b"d", b"m")),
    "link-over-file": over(symlink(b"f", b"d")),
    "directory-changes": over(folder(b"d/", mode=b"0000700\0", uid=number(7, 8)), folder(b"m/")),
    "file-changes": over(header(b"f", mode=b"0000600\0", uid=number(8, 8))),
    "below-a-directory-of-below": over(file(b"d/e/new"), file(b"m/new")),
    # ---- what lies below a symbolic link of a lower layer ----
    "below-a-link": over(file(b"l/new")),
    "below-a-link-of-a-link": [tar(*BASE, symlink(b"k", b"l"), symlink(b"abs", b"/d/e")),
                               tar(file(b"k/new"), file(b"abs/new"))],
    "below-links-in-the-middle": [tar(*BASE, symlink(b"d/k", b"e"), symlink(b"d/e/up", b"../../m")),
                                  tar(file(b"l/k/up/new"), file(b"l/k/other"))],
    "below-a-link-to-nothing": [tar(*BASE, symlink(b"n", b"x/y")), tar(file(b"n/new"))],
    "below-a-link-out-of-the-root": [tar(*BASE, symlink(b"o", b"../../d")), tar(file(b"o/new"))],
    "below-a-link-to-the-root": [tar(*BASE, symlink(b"o", b"/")), tar(file(b"o/new"), file(b"o/m/new"))],
    "below-a-link-to-a-file": [tar(*BASE, symlink(b"o", b"f")), tar(file(b"o/new"))],
    "below-a-link-to-itself": [tar(*BASE, symlink(b"o", b"o")), tar(file(b"o/new"))],
    "whiteout-below-a-link": over(file(b"l/.wh.a", b""), file(b"l/e/.wh.c", b"")),
    "directories-below-a-link": over(folder(b"l/s/", mode=b"0000700\0"), file(b"l/s/f"),
                                     folder(b"l/e/", mode=b"0000711\0")),
    "below-a-link-and-where-it-leads": over(file(b"d/one"), file(b"l/two"), file(b"l/e/three"), file(b"d/e/four")),
    "below-what-replaced-a-link": [tar(*LINKS), tar(folder(b"l/"), file(b"l/k/new"), file(b"l/s/new"))],
    "below-what-replaced-a-link-below-a-link": [tar(*LINKS), tar(folder(b"l/k/"), file(b"l/k/b/new"))],
    "below-a-link-to-what-was-replaced": [tar(*LINKS), tar(folder(b"d/k/"), file(b"l/k/new"))],
    # ---- the same name twice ----
    "file-twice": [tar(file(b"f", b"first"), file(b"f", b"2nd", mode=b"0000600\0"))],
    "directory-twice": [tar(folder(b"d", mode=b"0000700\0"), file(b"d/f"),
                            folder(b"d", mode=b"0000711\0", uid=number(4, 8)))],
    "directory-then-file": [tar(folder(b"d"), file(b"d/f"), file(b"d", b"file"))],
    "file-then-directory": [tar(file(b"d", b"file"), folder(b"d"), file(b"d/f"))],
    "link-then-directory": [tar(symlink(b"d", b"x"), folder(b"d"), file(b"d/f"))],
    "directory-then-link": [tar(folder(b"d"), file(b"d/f"), symlink(b"d", b"x"))],
    "link-then-file": [tar(symlink(b"f", b"x"), file(b"f", b"file"))],
}


def archivers(top):
    """The tree at top as the tar programs write it: (name, layers)."""
    for kind in ("v7", "oldgnu", "gnu", "ustar", "posix"):
        sparse = ["--sparse"] if kind in ("oldgnu", "gnu", "posix") else []
        yield f"tar --format={kind}", ["tar", "--numeric-owner", f"--format={kind}", *sparse, "-C", top, "-c", "."]
    attributes = ["--format=posix", "--xattrs", "--xattrs-include=*"]
    yield "tar --xattrs", ["tar", "--numeric-owner", *attributes, "-C", top, "-c", "."]
    yield "tar --acls --xattrs", ["tar", "--numeric-owner", "--acls", *attributes, "-C", top, "-c", "."]
    yield "tar --acls", ["tar", "--numeric-owner", "--acls", "--format=posix", "-C", top, "-c", "."]
    for kind in ("gnutar", "pax", "ustar"):
        yield f"bsdtar --format={kind}", ["bsdtar", "--numeric-owner", f"--format={kind}", "-C", top, "-cf", "-", "."]


def archives(top):
    for name, command in archivers(top):
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        yield name, [answer.stdout]


def make_tree(top):
    """What every one of them can write."""
    def make(name, data=b"", mode=0o644, owner=(0, 0)):
        with open(f"{top}/{name}", "wb") as out:
            out.write(data)
        os.chown(f"{top}/{name}", *owner)
        os.chmod(f"{top}/{name}", mode)
        os.utime(f"{top}/{name}", (1234567890, 1234567890))

    os.makedirs(f"{top}/usr/bin")
    make("usr/bin/su", b"s" * 5000, 0o4755, (0, 42))
    make("usr/bin/capable", b"c", 0o755)
    os.setxattr(f"{top}/usr/bin/capable", "security.capability", CAPABILITY)
    os.link(f"{top}/usr/bin/su", f"{top}/usr/bin/su-again")
    os.symlink("../../etc/absent", f"{top}/usr/bin/dangling")
    make("n" * 90, b"name", 0o600, (1000, 1001))
    make("empty", b"", 0)
    with open(f"{top}/sparse", "wb") as out:
        for offset in (0, 1 << 20, 5 << 20):
            out.seek(offset)
            out.write(b"data" * 1000)
        out.truncate(8 << 20)
    os.mkfifo(f"{top}/fifo", 0o640)
    os.mknod(f"{top}/null", 0o20666, os.makedev(1, 3))
    os.mkdir(f"{top}/tmp")
    os.chmod(f"{top}/tmp", 0o1777)
    os.mkdir(f"{top}/shared")
    make("shared/file", b"acl", 0o750)
    for name, kind in (("shared", "default"), ("shared/file", "access")):
        os.setxattr(f"{top}/{name}", f"system.posix_acl_{kind}", ACL_OF_NOBODY)
    for name in ("shared/file", "shared", "sparse", "fifo", "null", "tmp", "usr/bin", "usr", "."):
        os.utime(f"{top}/{name}", (1111111111, 1111111111))
    os.utime(f"{top}/usr/bin/dangling", (1111111111, 1111111111), follow_symlinks=False)
