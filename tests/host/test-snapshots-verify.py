#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Damage to committed snapshots is found, keeps everybody off, and is repaired by unpacking the layer again."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from snapshot_trees import *  # noqa: E402,F401,F403  pylint: disable=wildcard-import,unused-wildcard-import
from snapshot_trees import STATE, Snapshots, check_disk, entry, equal, failure, kill_daemon, layer, rows  # noqa: E402
from snapshot_trees import systemctl, worker_pids  # noqa: E402

store = Snapshots()
BASE = layer("d/", entry("d/f", b"contents" * 1000), entry("d/other", b"x"), entry("d/link", kind=tarfile.SYMTYPE,
                                                                                 linkname="f"),
             "deep/", "deep/er/", entry("deep/er/f", b"y"), entry("last", b"z"))
NEXT = layer(entry("d/g", b"next"), entry("d/.wh.other"), entry("deep/.wh..wh..opq"))


def clean():
    store.clear()
    for name in os.listdir(f"{STATE}/aside"):
        subprocess.run(["rm", "-r", f"{STATE}/aside/{name}"], check=True)
    check_disk()


def number(key):
    return rows(f"SELECT id FROM snapshots WHERE key = '{key}'")[0][0]


def file_of(key, path):
    return f"{STATE}/trees/{number(key)}/fs/{path}"


def verify(key="", **options):
    return store.wait(store.call("Verify", key, **options)[0][0])


def found(key):
    result = verify(key)
    equal("1", result["checked"])
    info = store.stat(key)
    equal(("damaged", key) if "damage" in info else ("ready", ""), (info["state"], result["damaged"]))
    return info.get("damage", "")


def made():
    store.clear()
    store.put("base", BASE)
    store.put("next", NEXT, "base")


def keep_times(path, change):
    info = os.lstat(path)
    change()
    if os.path.lexists(path):
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def test_every_kind_of_damage():
    def flip(path):
        with open(path, "r+b") as file:
            file.seek(4000)
            file.write(b"!")

    def relink(path):
        os.unlink(path)
        os.symlink("g", path)

    made()
    equal("", found("base"))
    equal("", found("next"))
    cases = [
        ("d/f", lambda p: os.truncate(p, 0), "'d/f' is empty, and had 8000 bytes"),
        ("d/f", lambda p: os.truncate(p, 4096), "'d/f' has 4096 bytes, and had 8000"),
        ("d/f", flip, "'d/f' has other contents"),
        ("d/f", lambda p: os.chmod(p, 0o600), "'d/f' has another owner or mode"),
        ("d/f", lambda p: os.chown(p, 1, 2), "'d/f' has another owner or mode"),
        ("d/f", lambda p: os.setxattr(p, "user.x", b"1"), "'d/f' has other extended attributes"),
        ("d/f", os.unlink, "'d/f' is missing"),
        ("d/link", relink, "'d/link' has other contents"),
        ("deep/er", lambda p: subprocess.run(["rm", "-r", p], check=True), "'deep/er' is missing"),
        ("last", os.unlink, "'last' is missing"),
    ]
    for path, change, expected in cases:
        made()
        full = file_of("base", path)
        directory = os.path.dirname(full)
        keep_times(directory, lambda: keep_times(full, lambda: change(full)))
        equal(expected, found("base"))
        equal("", found("next"))
    made()
    os.utime(file_of("base", "last"), (1, 1))
    equal("'last' has another time", found("base"))
    directory = file_of("base", "d")
    made()
    directory = file_of("base", "d")
    keep_times(directory, lambda: open(f"{directory}/aaa", "w", encoding="ascii").close())
    equal("'d/aaa' was not there", found("base"))
    made()
    os.truncate(file_of("base", "d/f"), 0)
    os.unlink(file_of("base", "last"))
    assert found("base").endswith("and others are damaged"), store.stat("base")
    # The marks of overlayfs, too.
    made()
    os.removexattr(file_of("next", "deep"), "trusted.overlay.opaque")
    equal("'deep' has other extended attributes", found("next"))
    made()
    os.truncate(f"{STATE}/trees/{number('base')}/manifest", 100)
    equal("The manifest of the tree is damaged or missing", found("base"))


def test_names_of_our_own_are_names_like_others():
    store.put("base", layer(*(entry(name, b"mine") for name in OWN_NAMES), *(f"d/{name}/" for name in OWN_NAMES)))
    equal("", found("base"))
    for name in OWN_NAMES:
        path = file_of("base", name)
        os.chmod(path, 0o600)
        equal(f"'{name}' has another owner or mode", found("base"))
        os.chmod(path, 0o644)
        os.chmod(file_of("base", f"d/{name}"), 0o700)
        equal(f"'d/{name}' has another owner or mode", found("base"))
        os.chmod(file_of("base", f"d/{name}"), 0o755)
    equal("", found("base"))


def test_what_helped_to_make_it_is_no_part_of_it():
    made()
    tree = f"{STATE}/trees/{number('next')}"
    equal(["fs", "manifest"], sorted(set(os.listdir(tree)) - {"work", "notes"}))
    usage = store.call("Usage", "next")[0]
    for name in ("through", "made", "old", "new"):
        os.mkdir(f"{tree}/{name}")
        equal("", found("next"))
        equal(usage, store.call("Usage", "next")[0])
        os.rmdir(f"{tree}/{name}")


def test_what_is_well_again_is_ready_again():
    made()
    os.chmod(file_of("base", "d/f"), 0o600)
    assert found("base")
    os.chmod(file_of("base", "d/f"), 0o644)
    equal("", found("base"))
    store.prepare("p", "next")


def test_all_of_a_namespace():
    made()
    store.put("base", BASE, namespace="elsewhere")
    store.prepare("active")
    os.truncate(file_of("next", "d/g"), 0)
    result = verify()
    equal(("2", "next", "0"), (result["checked"], result["damaged"], result["unknown"]))
    equal("1", verify(namespace="elsewhere")["checked"])
    failure("FailedPrecondition", lambda: verify("active"))
    failure("NotFound", lambda: verify("none"))


def test_nothing_is_built_on_damage():
    made()
    store.prepare("before", "next")
    os.truncate(file_of("base", "d/f"), 0)
    assert found("base")
    for parent in ("base", "next"):
        assert "damaged" in failure("FailedPrecondition", lambda: store.prepare("p", parent))
        assert "damaged" in failure("FailedPrecondition", lambda: store.view("p", parent))
    kill_daemon()
    assert "damaged" in failure("FailedPrecondition", lambda: store.prepare("p", "next"))
    assert "damaged" in failure("FailedPrecondition", lambda: store.commit("c", "before"))
    store.prepare("alone")
    store.unpack("alone", NEXT)
    assert "damaged" in failure("FailedPrecondition", lambda: store.commit("c", "alone", parent="next"))
    equal(["base"], store.keys(filters=__import__("interfaces").GLib.Variant("as", ["state==damaged"])))


def again(name, data, parent=""):
    store.prepare("again")
    store.unpack("again", data)
    store.commit(name, "again", **({"parent": parent} if parent else {}))


def test_unpacking_again_repairs():
    made()
    store.call("Update", "base", labels=__import__("interfaces").GLib.Variant("a{ss}", {"kept": "1"}))
    store.prepare("running", "next")
    with store.mount("running") as path:
        old = number("base")
        os.truncate(file_of("base", "d/f"), 0)
        assert found("base")
        again("base", BASE)
        equal(({"kept": "1"}, "ready"), (store.stat("base")["labels"], store.stat("base")["state"]))
        # Who runs on it keeps what there is.
        equal(["f", "g", "link"], sorted(os.listdir(f"{path}/d")))
        assert os.path.exists(f"{STATE}/aside/{old}/fs/d/f")
    store.view("v", "next")
    with store.mount("v") as path:
        with open(f"{path}/d/f", "rb") as file:
            equal(b"contents" * 1000, file.read())
    equal("", found("base"))
    equal("base", store.stat("next")["parent"])
    assert "built on" in failure("FailedPrecondition", lambda: store.remove("base"))
    # A boot takes what was put aside.
    systemctl("stop", "crt-snapshots")
    change_records(BOOTED)
    store.keys()
    wait_for(lambda: not os.listdir(f"{STATE}/aside"), what="the end of what was put aside")
    check_disk()


def test_only_the_same_layer_takes_the_place():
    made()
    store.prepare("a")
    store.unpack("a", BASE)
    failure("AlreadyExists", lambda: store.commit("base", "a"))  # nothing is damaged
    os.truncate(file_of("base", "d/f"), 0)
    os.truncate(file_of("next", "d/g"), 0)
    equal("base next", verify()["damaged"])
    store.prepare("b")
    store.unpack("b", NEXT)
    failure("AlreadyExists", lambda: store.commit("base", "b"))  # another layer
    failure("AlreadyExists", lambda: store.commit("next", "b"))  # another parent
    assert "damaged" in failure("FailedPrecondition", lambda: store.commit("next", "b", parent="base"))
    store.commit("base", "a")
    store.commit("next", "b", parent="base")
    equal("", verify()["damaged"])
    equal(["base", "next"], store.keys())


def test_a_tree_that_is_gone_is_damage():
    made()
    systemctl("stop", "crt-snapshots")
    subprocess.run(["rm", "-r", f"{STATE}/trees/{number('base')}"], check=True)
    change_records(CRASHED)
    equal(("damaged", "The whole tree is missing"), (store.stat("base")["state"], store.stat("base")["damage"]))
    again("base", BASE)
    equal("", verify()["damaged"])


def test_it_is_a_job():
    store.put("c", BASE)
    # It waits for one who writes the manifest, that it is not done before we have asked.
    manifest = f"{STATE}/trees/{number('c')}/manifest"
    os.unlink(manifest)
    os.mkfifo(manifest)
    job = store.call("Verify", "c")[0][0]
    wait_for(lambda: worker_pids("crt-tree", "verify"), what="the worker")
    state = store.state(job)
    equal(("running", "verify", "c"), (state["State"], state["Verb"], state["Object"]))
    assert "being read" in failure("FailedPrecondition", lambda: store.remove("c"))
    store.cancel(job)
    equal("cancelled", store.state(job)["State"])
    store.remove("c")


run_cases([f for name, f in list(globals().items()) if name.startswith("test_")], clean)
