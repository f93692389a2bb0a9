#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images and Snapshots as org.crt.Tasks needs them: one image made of busybox, trees of overlayfs. For tests of Tasks
alone, and of what it does when the others fail: the file DIRECTORY/fail holds a line "Member error-name", or
"Member Hang" for no answer at all, "Member Wait" for one when the file is gone (then DIRECTORY/hangs appears)."""

import ctypes
import os
import shutil
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 430, 431, 432
SET_STRING, CREATE = 1, 6

directory = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def make_image():
    root = os.path.join(directory, "image")
    if os.path.exists(root):
        return root
    for name in ("bin", "etc", "tmp", "root", "proc", "sys", "dev", "home/user"):
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for name in os.popen("/bin/busybox --list").read().split():
        if name != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", name))
    with open(os.path.join(root, "etc/passwd"), "w") as file:
        file.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    with open(os.path.join(root, "etc/group"), "w") as file:
        file.write("root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")
    with open(os.path.join(root, "bin/not-executable"), "w") as file:
        file.write("data")
    return root


def mount_overlay(lower, upper, work):
    context = call(SYS_FSOPEN, b"overlay", 1)
    for key, value in ((b"lowerdir", lower), (b"upperdir", upper), (b"workdir", work)):
        call(SYS_FSCONFIG, context, SET_STRING, key, value.encode(), 0)
    call(SYS_FSCONFIG, context, CREATE, None, None, 0)
    mount = call(SYS_FSMOUNT, context, 1, 0)
    os.close(context)
    return mount


class Error(dbus.DBusException):
    def __init__(self, name, text):
        super().__init__(text)
        self._dbus_error_name = "org.crt.Error." + name


def reply(member, action, ok, error):
    try:
        with open(os.path.join(directory, "fail")) as file:
            name, failure = file.read().split()
    except FileNotFoundError:
        name = failure = ""
    if name == member and failure in ("Hang", "Wait"):
        if failure == "Wait":
            GLib.timeout_add(20, lambda: reply(member, action, ok, error))
        with open(os.path.join(directory, "hangs"), "w"):
            return
    try:
        if name == member:
            raise Error(failure, "the mock was told to fail")
        result = action()
    except Exception as exception:  # pylint: disable=broad-except
        error(exception)
        return
    if result is None:
        ok()
    else:
        ok(result)


def key_path(namespace, key):
    return os.path.join(directory, "snapshots", namespace, key)


def resolve(name):
    if name != "busybox":
        raise Error("NotFound", "there is no image " + name)
    strings = dbus.Array([], signature="s")
    return {
        "name": "docker.io/library/busybox:latest", "digest": "sha256:" + "1" * 64,
        "chain-id": "sha256:" + "2" * 64, "platform": "linux/amd64", "user": "", "working-dir": "/",
        "stop-signal": "", "env": dbus.Array(["FROM_IMAGE=1"], signature="s"), "entrypoint": strings,
        "cmd": dbus.Array(["sh"], signature="s"), "volumes": strings, "exposed-ports": strings,
        "labels": dbus.Dictionary({}, signature="ss"),
    }


def prepare(path, size):
    if os.path.exists(path):
        raise Error("AlreadyExists", "there is a snapshot " + path)
    os.makedirs(os.path.join(path, "upper"))
    os.makedirs(os.path.join(path, "work"))
    with open(os.path.join(path, "size-max"), "w") as file:
        file.write(str(size))


def find(path):
    if not os.path.exists(path):
        raise Error("NotFound", "there is no snapshot " + path)
    return path


def mount(path):
    find(path)
    fd = mount_overlay(image, os.path.join(path, "upper"), os.path.join(path, "work"))
    try:
        return dbus.types.UnixFd(fd)
    finally:
        os.close(fd)


class Images(dbus.service.Object):
    @dbus.service.method("org.crt.Images1", "sa{sv}", "a{sv}", async_callbacks=("ok", "error"))
    def Resolve(self, name, options, ok, error):
        reply("Resolve", lambda: resolve(name), ok, error)


class Snapshots(dbus.service.Object):
    @dbus.service.method("org.crt.Snapshots1", "ssa{sv}", "", async_callbacks=("ok", "error"))
    def Prepare(self, key, parent, options, ok, error):
        size = options.get("size-max", "none")
        reply("Prepare", lambda: prepare(key_path(options["namespace"], key), size), ok, error)

    @dbus.service.method("org.crt.Snapshots1", "sa{sv}", "", async_callbacks=("ok", "error"))
    def Remove(self, key, options, ok, error):
        reply("Remove", lambda: shutil.rmtree(find(key_path(options["namespace"], key))), ok, error)

    @dbus.service.method("org.crt.Snapshots1", "sa{sv}", "h", async_callbacks=("ok", "error"))
    def Mount(self, key, options, ok, error):
        reply("Mount", lambda: mount(key_path(options["namespace"], key)), ok, error)


image = make_image()
dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
names = [dbus.service.BusName("org.crt." + name, bus, do_not_queue=True) for name in ("Images", "Snapshots")]
objects = [Images(bus, "/org/crt/Images"), Snapshots(bus, "/org/crt/Snapshots")]
GLib.MainLoop().run()
