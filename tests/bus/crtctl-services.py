#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stand-ins for Images and Tasks, for tests of the client: containers are processes of this machine, pulls clocks.

What an image does is in its name: "slow" takes a while to pull, "bad" fails with DigestMismatch, "missing" is missing.
Prints "ready" when the names are there."""

import errno
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

NAMESPACE = "system" if os.getuid() == 0 else f"u{os.getuid()}"
PROPERTIES = "org.freedesktop.DBus.Properties"
IMAGES, TRANSFER, IMAGE = "org.crt.Images1", "org.crt.Images1.Transfer", "org.crt.Images1.Image"
TASKS, CONTAINER = "org.crt.Tasks1", "org.crt.Tasks1.Container"
OBJECTS = "org.freedesktop.DBus.ObjectManager"
DIGEST = "sha256:" + "0123456789abcdef" * 4
U32, U64, I32, STR = dbus.UInt32, dbus.UInt64, dbus.Int32, dbus.String


class Refusal(dbus.DBusException):
    def __init__(self, name, text):
        super().__init__(text, name="org.crt.Error." + name)


def now():
    return U64(time.time_ns() // 1000)


def encode(text):
    """sd_bus_path_encode(3)."""
    return "".join(c if c.isascii() and c.isalnum() and not (i == 0 and c.isdigit())
                   else "".join(f"_{b:02x}" for b in c.encode()) for i, c in enumerate(text)) or "_"


class Thing(dbus.service.Object):
    """An object with properties."""

    def __init__(self, bus, path, interface, values):
        super().__init__(bus, path)
        self.path, self.interface, self.values = dbus.ObjectPath(path), interface, values

    @dbus.service.method(PROPERTIES, in_signature="s", out_signature="a{sv}")
    def GetAll(self, interface):
        return dbus.Dictionary(self.values, signature="sv")

    @dbus.service.signal(PROPERTIES, signature="sa{sv}as")
    def PropertiesChanged(self, interface, changed, invalidated):
        pass

    def change(self, **values):
        self.values.update(values)
        self.PropertiesChanged(self.interface, dbus.Dictionary(values, signature="sv"), [])

    def row(self):
        return dbus.Dictionary(dict(self.values, Path=self.path), signature="sv")


class Image(Thing):
    def __init__(self, bus, name):
        super().__init__(bus, f"/org/crt/Images/image/{NAMESPACE}/{encode(name)}", IMAGE, {
            "Namespace": NAMESPACE, "Name": name, "Digest": DIGEST,
            "MediaType": "application/vnd.oci.image.index.v1+json",
            "ManifestDigest": DIGEST, "ConfigDigest": DIGEST, "ChainId": DIGEST, "Platform": "linux/amd64",
            "Size": U64(54525952), "Created": U64(1700000000000000), "Pulled": now()})


class Transfer(Thing):
    SIZES = (1200, 3400, 30_000_000, 20_000_000)

    def __init__(self, service, number, name):
        super().__init__(service.bus, f"/org/crt/Images/transfer/{NAMESPACE}/{encode(str(number))}", TRANSFER, {
            "Namespace": NAMESPACE, "Verb": "pull", "Object": name, "Owner": U32(os.getuid()), "State": "running",
            "Phase": "resolving", "BytesDone": U64(0), "BytesTotal": U64(0), "Error": dbus.Struct(("", "")),
            "Parts": dbus.Array([], signature="(ssstt)"), "Result": dbus.Dictionary({}, signature="sv"),
            "Started": now(), "Finished": U64(0)})
        self.service, self.name, self.step, self.waiting, self.error = service, name, 0, [], None
        GLib.timeout_add(150 if "slow" in name else 5, self.advance)

    def advance(self):
        self.step += 1
        if self.values["State"] != "running":
            return False
        if "bad" in self.name and self.step == 3:
            self.end("failed", Refusal("DigestMismatch", "layer 1: the registry sent other bytes than it promised"))
            return False
        share = min(self.step / 10, 1)
        parts = []
        for index, size in enumerate(self.SIZES):
            done = int(size * min(share * (4 - index), 1))
            kind = ("manifest", "config", "layer", "layer")[index]
            state = "done" if done == size else "downloading" if done else "waiting"
            parts.append(dbus.Struct((f"sha256:{index}{'ab' * 32}"[:71], kind, state, U64(done), U64(size)),
                                     signature="ssstt"))
        self.change(Phase="downloading", BytesDone=U64(sum(p[3] for p in parts)), BytesTotal=U64(sum(self.SIZES)),
                    Parts=dbus.Array(parts, signature="(ssstt)"))
        if share == 1:
            if self.name not in self.service.images:
                self.service.images[self.name] = Image(self.service.bus, self.name)
            self.values["Result"] = dbus.Dictionary({"name": self.name, "digest": DIGEST, "manifest-digest": DIGEST,
                                                     "chain-id": DIGEST, "platform": "linux/amd64"}, signature="sv")
            self.end("done", None)
            return False
        return True

    def end(self, state, error):
        self.change(State=state, Finished=now())
        self.error = error
        self.tell()

    def tell(self):
        for answer, refuse in self.waiting:
            refuse(self.error) if self.error else answer(self.values["Result"])
        self.waiting = []

    @dbus.service.method(TRANSFER, in_signature="a{sv}", out_signature="a{sv}", async_callbacks=("answer", "refuse"))
    def Wait(self, options, answer, refuse):
        self.waiting.append((answer, refuse))
        if self.values["State"] != "running":
            self.tell()

    @dbus.service.method(TRANSFER, in_signature="a{sv}")
    def Cancel(self, options):
        if self.values["State"] != "running":
            raise Refusal("FailedPrecondition", "it has ended")
        self.end("cancelled", Refusal("Cancelled", "the transfer was cancelled"))


class Images(dbus.service.Object):
    def __init__(self, bus):
        super().__init__(bus, "/org/crt/Images")
        self.bus, self.images, self.transfers = bus, {}, []

    def find(self, name):
        if name not in self.images:
            raise Refusal("NotFound", f"no image '{name}' is here")
        return self.images[name]

    @dbus.service.method(IMAGES, in_signature="sa{sv}", out_signature="o")
    def Pull(self, name, options):
        if "missing" in name:
            raise Refusal("NotFound", f"the registry has no '{name}'")
        if "options" in name:
            print(dict(options), flush=True)
        self.transfers.append(Transfer(self, len(self.transfers) + 1, str(name)))
        return self.transfers[-1].path

    @dbus.service.method(IMAGES, in_signature="sa{sv}", out_signature="o")
    def Get(self, name, options):
        return self.find(name).path

    @dbus.service.method(IMAGES, in_signature="a{sv}", out_signature="aa{sv}s")
    def List(self, options):
        """Pages of two, so that a client that reads only the first is found out."""
        names = sorted(n for n in self.images if n > options.get("after", ""))
        page = dbus.Array([self.images[n].row() for n in names[:2]], signature="a{sv}")
        return page, names[1] if len(names) > 2 else ""

    @dbus.service.method(IMAGES, in_signature="sa{sv}", out_signature="a{sv}")
    def Resolve(self, name, options):
        self.find(name)
        return dbus.Dictionary({"name": name, "cmd": dbus.Array(["sh"], signature="s"),
                                "labels": dbus.Dictionary({"a": "b"}, signature="ss")}, signature="sv")

    @dbus.service.method(IMAGES, in_signature="ssa{sv}", out_signature="o")
    def Tag(self, name, source, options):
        self.find(source)
        if name in self.images and not options.get("replace"):
            raise Refusal("AlreadyExists", f"{name} is the name of an image already")
        if name not in self.images:
            self.images[name] = Image(self.bus, name)
        return self.images[name].path

    @dbus.service.method(IMAGES, in_signature="sa{sv}")
    def Remove(self, name, options):
        if name == "denied":
            raise dbus.DBusException("polkit does not authorize org.crt.images.remove",
                                     name="org.freedesktop.DBus.Error.AccessDenied")
        self.find(name).remove_from_connection()
        del self.images[name]

    @dbus.service.method(OBJECTS, out_signature="a{oa{sa{sv}}}")
    def GetManagedObjects(self):
        things = list(self.images.values()) + self.transfers
        return {t.path: {t.interface: dbus.Dictionary(t.values, signature="sv")} for t in things}


class Container(Thing):
    def __init__(self, service, name, options):
        super().__init__(service.bus, f"/org/crt/Tasks/container/{NAMESPACE}/{encode(name)}", CONTAINER, {
            "Namespace": NAMESPACE, "Id": name, "Image": options["image"], "ImageDigest": DIGEST,
            "Command": dbus.Array(options.get("args", ["sh"]), signature="s"),
            "Labels": dbus.Dictionary(options.get("labels", {}), signature="ss"),
            "Terminal": dbus.Boolean(options.get("terminal", False)), "State": "created", "Pid": U32(0), "Unit": "",
            "ExitStatus": I32(-1), "Error": "", "Created": now(), "Started": U64(0), "Finished": U64(0)})
        self.service, self.options, self.waiting, self.process, self.master = service, options, [], None, -1
        self.binds = [b[0].take() for b in options.get("binds", [])]

    def environment(self):
        return dict(os.environ, **dict(e.split("=", 1) for e in self.options.get("env", [])))

    def spawn(self, options):
        if self.values["Terminal"]:
            self.master, slave = pty.openpty()
            size = struct.pack("HHHH", options.get("rows", 0), options.get("columns", 0), 0, 0)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
            streams = [slave] * 3
        else:
            streams = [options[n].take() if n in options else os.open("/dev/null", os.O_RDWR)
                       for n in ("stdin", "stdout", "stderr")]

        def prepare():
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            if self.values["Terminal"]:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        try:
            command = [str(a) for a in self.values["Command"]]
            self.process = subprocess.Popen(command, stdin=streams[0], stdout=streams[1], stderr=streams[2],
                                            env=self.environment(), cwd=self.options.get("cwd", "/"),
                                            start_new_session=True, preexec_fn=prepare)
        finally:
            for fd in set(streams):
                os.close(fd)

    @dbus.service.method(CONTAINER, in_signature="a{sv}", out_signature="a{sv}")
    def Start(self, options):
        try:
            self.spawn(options)
        except OSError as error:
            self.values["ExitStatus"] = I32(127 if error.errno == errno.ENOENT else 126)
            raise Refusal("StartFailed", f"execve: {error.strerror}") from error
        self.change(State="running", Pid=U32(self.process.pid), Started=now(), ExitStatus=I32(-1))
        GLib.child_watch_add(GLib.PRIORITY_DEFAULT, self.process.pid, self.on_exit)
        result = dbus.Dictionary({"pid": U32(self.process.pid)}, signature="sv")
        if self.master >= 0:
            result["terminal"] = dbus.types.UnixFd(self.master)
            os.close(self.master)
        return result

    def on_exit(self, pid, wait_status):
        code = os.waitstatus_to_exitcode(wait_status)
        self.process.returncode = code
        self.change(State="stopped", Pid=U32(0), ExitStatus=I32(code if code >= 0 else 128 - code), Finished=now())
        # The race that every client has to win: it may be gone before anybody could ask.
        if self.options.get("auto-remove"):
            self.leave()
        for answer, refuse in self.waiting:
            answer(self.values["ExitStatus"], self.values["Finished"])
        self.waiting = []

    def leave(self):
        self.remove_from_connection()
        self.service.containers.pop(self.values["Id"], None)

    @dbus.service.method(CONTAINER, in_signature="a{sv}", out_signature="it", async_callbacks=("answer", "refuse"))
    def Wait(self, options, answer, refuse):
        if self.values["State"] == "created":
            refuse(Refusal("FailedPrecondition", "it was never started"))
        elif self.values["State"] == "stopped":
            answer(self.values["ExitStatus"], self.values["Finished"])
        else:
            self.waiting.append((answer, refuse))

    @dbus.service.method(CONTAINER, in_signature="sa{sv}")
    def Kill(self, name, options):
        if self.values["State"] != "running":
            raise Refusal("FailedPrecondition", "it does not run")
        os.kill(self.process.pid, int(name) if name.isdigit() else signal.Signals["SIG" + name.removeprefix("SIG")])

    @dbus.service.method(CONTAINER, in_signature="a{sv}")
    def Delete(self, options):
        if self.values["State"] == "running":
            if not options.get("force"):
                raise Refusal("FailedPrecondition", "it runs")
            os.kill(self.process.pid, signal.SIGKILL)
        self.leave()


class Tasks(dbus.service.Object):
    def __init__(self, bus, images):
        super().__init__(bus, "/org/crt/Tasks")
        self.bus, self.images, self.containers, self.made = bus, images, {}, 0

    @dbus.service.method(TASKS, in_signature="sa{sv}", out_signature="o")
    def Create(self, name, options):
        self.images.find(options["image"])
        if "options" in options["image"]:
            print(dict(options), flush=True)
        if name in self.containers:
            raise Refusal("AlreadyExists", f"'{name}' exists")
        self.made += 1
        name = str(name) or f"made-{self.made}"
        self.containers[name] = Container(self, name, options)
        return self.containers[name].path

    @dbus.service.method(TASKS, in_signature="sa{sv}", out_signature="o")
    def Get(self, name, options):
        if name not in self.containers:
            raise Refusal("NotFound", f"no container '{name}' is here")
        return self.containers[name].path

    @dbus.service.method(TASKS, in_signature="a{sv}", out_signature="aa{sv}s")
    def List(self, options):
        return dbus.Array([c.row() for _, c in sorted(self.containers.items())], signature="a{sv}"), ""


def main():
    DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    images = Images(bus)
    tasks = Tasks(bus, images)
    names = [dbus.service.BusName(name, bus) for name in ("org.crt.Images", "org.crt.Tasks")]
    print("ready", flush=True)
    GLib.MainLoop().run()
    del names, tasks


main()
