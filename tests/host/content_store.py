# SPDX-License-Identifier: LGPL-2.1-or-later
"""org.crt.Content as its tests use it, and what it keeps on disk."""

import contextlib
import hashlib
import os
import sqlite3
import subprocess
import sys  # noqa: F401  for those who take all of this
import traceback

from interfaces import Cases, Gio, GLib, call, error_name, pids_of, unmount, wait_for  # noqa: F401

NAME, PATH, INTERFACE = "org.crt.Content", "/org/crt/Content", "org.crt.Content1"
STATE = "/var/lib/crt/content"
ERROR = "org.crt.Error."
TYPES = {str: "s", bool: "b"}


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def connect():
    """A connection of its own."""
    address = Gio.dbus_address_get_for_bus_sync(Gio.BusType.SYSTEM, None)
    flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
    return Gio.DBusConnection.new_for_address_sync(address, flags, None, None)


def variants(options):
    return {key: value if isinstance(value, GLib.Variant) else GLib.Variant(TYPES.get(type(value), "t"), value)
            for key, value in options.items()}


class Lease:
    """An object; things: the argument of Add and Remove."""

    INTERFACE = "org.crt.Content1.Lease"

    def __init__(self, store, path):
        self.store, self.connection, self.path = store, store.connection, path

    def call(self, member, things=None, **options):
        values = ([] if things is None else [things]) + [variants(options)]
        signature = "(a{sv})" if things is None else "(a(ss)a{sv})"
        return call(self.connection, NAME, self.path, self.INTERFACE, member, GLib.Variant(signature, values))[0]

    def things(self):
        return self.call("ListResources")[0]

    def properties(self):
        return self.store.properties(self.path, self.INTERFACE)


class Waiting:
    """A Commit that the service has (if it runs), and whose answer is not there yet: "digest size" or the name of the
    error."""

    def __init__(self, store, reference, options, runs=True):
        self.answer = None
        store.connection.call(NAME, PATH, INTERFACE, "Commit", GLib.Variant("(sa{sv})", (reference, variants(options))),
                              None, Gio.DBusCallFlags.NONE, 300000, None, self.take)
        store.connection.flush_sync(None)
        if runs:
            store.ingests()  # which is answered when the other call has been seen

    def take(self, connection, result):
        self.answer = outcome(lambda: connection.call_finish(result).unpack())

    def poll(self):
        while GLib.MainContext.default().iteration(False):
            pass
        return self.answer

    def result(self):
        wait_for(self.poll, what="the answer")
        return self.answer


class Store:
    """Methods raise GLib.Error; see failure()."""

    def __init__(self, **options):
        self.connection = connect()
        self.options = options

    def call(self, member, *arguments, fds=None, timeout=300000, **options):
        entries = variants({**self.options, **options})
        signature = "(" + "s" * len(arguments) + "a{sv})"
        return call(self.connection, NAME, PATH, INTERFACE, member,
                    GLib.Variant(signature, (*arguments, entries)), fds, timeout)

    def ingest(self, reference, **options):
        """(fd of the stream, offset, object path)"""
        (handle, offset, path), fds = self.call("Ingest", reference, **options)
        return fds.get(handle), offset, path

    def commit(self, reference, **options):
        return self.call("Commit", reference, **options)[0]

    def commit_later(self, reference, **options):
        return Waiting(self, reference, {**self.options, **options})

    def abort(self, reference, **options):
        self.call("Abort", reference, **options)

    def put(self, data, reference=None, **options):
        stream, _, _ = self.ingest(reference or sha256(data), **options)
        write(stream, data)
        os.close(stream)
        return self.commit(reference or sha256(data))

    def read(self, digest, **options):
        (handle, size), fds = self.call("Open", digest, **options)
        with os.fdopen(fds.get(handle), "rb") as file:
            data = file.read()
        equal(size, len(data))
        return data

    def list(self, **options):
        return self.call("List", **options)[0]

    def delete(self, digest, **options):
        self.call("Delete", digest, **options)

    def ingests(self):
        (tree,), _ = call(self.connection, NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        return {path: interfaces["org.crt.Content1.Ingest"] for path, interfaces in tree.items()
                if "org.crt.Content1.Ingest" in interfaces}

    def leases(self):
        (tree,), _ = call(self.connection, NAME, PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        return [Lease(self, path) for path, interfaces in tree.items() if Lease.INTERFACE in interfaces]

    def lease(self, path):
        return Lease(self, path)

    def bind_lease(self, name, descriptor):
        """Makes one that ends with a process: a pidfd."""
        fds = Gio.UnixFDList.new()
        return self.call("CreateLease", name, fds=fds, pidfd=GLib.Variant("h", fds.append(descriptor)))

    def properties(self, path, interface):
        return call(self.connection, NAME, path, "org.freedesktop.DBus.Properties", "GetAll",
                    GLib.Variant("(s)", (interface,)))[0][0]

    def wait(self, job):
        """Its result."""
        return call(self.connection, NAME, job, "org.crt.Content1.Job", "Wait", GLib.Variant("(a{sv})", ({},)))[0][0]

    def cancel(self, job):
        call(self.connection, NAME, job, "org.crt.Content1.Job", "Cancel", GLib.Variant("(a{sv})", ({},)))

    def clear(self):
        for lease in self.leases():
            lease.call("Delete")
        for path, ingest in self.ingests().items():
            self.abort(ingest["Reference"], namespace=ingest["Namespace"])
        for namespace in {row[0] for row in rows("SELECT namespace FROM namespace_blobs")}:
            for blob in self.list(namespace=namespace)[0]:
                unless_gone(self.delete, blob["digest"], namespace=namespace)
            equal([], self.list(namespace=namespace)[0])


def write(stream, data):
    view = memoryview(data)
    while view:
        view = view[os.write(stream, view):]


def unless_gone(action, *arguments, **options):
    """A removal that a daemon resumes can be first."""
    try:
        action(*arguments, **options)
    except GLib.Error as error:
        if not error_name(error).endswith(".NotFound"):
            raise


def outcome(action):
    """What a call answered, as a line."""
    try:
        answer = action()
    except GLib.Error as error:
        return error_name(error)
    return " ".join(map(str, answer)) if isinstance(answer, tuple) else "done"


def failure(name, action):
    """The call must fail with that error; its sentence."""
    try:
        action()
    except GLib.Error as error:
        got = error_name(error)
        assert got in (name, ERROR + name), f"{got} instead of {name}: {error.message}"
        return error.message
    raise AssertionError(f"succeeded instead of failing with {name}")


def equal(expected, got):
    assert expected == got, f"{got!r} instead of {expected!r}"


# ---- what is on disk ----

def rows(sql):
    connection = sqlite3.connect(f"file:{STATE}/content.db?mode=ro", uri=True, timeout=60)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def files(below):
    found = set()
    for directory, _, names in os.walk(os.path.join(STATE, below)):
        found.update(os.path.relpath(os.path.join(directory, name), os.path.join(STATE, below)) for name in names)
    return found


def expected_blobs():
    return {"{0}/{1:.2}/{1}".format(*digest.split(":"))
            for (digest,) in rows("SELECT digest FROM blobs WHERE damaged = 0")}


def expected_ingests():
    return {f"{number}.{kind}" for (number,) in rows("SELECT number FROM ingests") for kind in ("data", "state")}


def check_disk():
    """Records and files agree, once the service has put in order what was left."""
    wait_until_equal(lambda: (expected_blobs(), files("blobs")))
    wait_until_equal(lambda: (expected_ingests(), files("ingest")))
    equal([], rows("SELECT digest FROM blobs WHERE digest NOT IN (SELECT digest FROM namespace_blobs)"))


def wait_until_equal(both):
    """What is not in the end is said."""
    try:
        wait_for(lambda: len({repr(sorted(one)) for one in both()}) == 1, 5)
    except AssertionError:
        equal(*both())


# ---- the service and its processes ----

def systemctl(*arguments):
    subprocess.run(["systemctl", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def traced(pid, *options):
    """By strace, from here to the end."""
    with open("/tmp/strace", "w+", encoding="utf-8") as said, \
            subprocess.Popen(["strace", "-o", "/dev/null", "-f", *options, "-p", str(pid)], stderr=said) as tracer:
        try:
            wait_for(lambda: said.seek(0) or "attached" in said.read(), what="the tracer")
            yield
        finally:
            tracer.kill()


def worker_pids():
    return pids_of("crt-ingest")


def refuses_to_start_with(variable, use, ask):
    """use(value) is a setting for the service, ask() a call that starts it."""
    for value in ("0", "many", "1G", "-1", str(1 << 63)):
        use(value)
        try:
            ask()
        except GLib.Error as error:
            assert f"{variable}={value}: a number from 1 to " in error.message, error.message
            continue
        raise AssertionError(f"it starts with {variable}={value}")


class Skip(Exception):
    """Why a case cannot be shown here."""


def run_cases(functions, clean=lambda: None):
    """Those whose names contain $ONLY."""
    cases = Cases()
    for function in functions:
        name = function.__name__.removeprefix("test_").replace("_", " ")
        if os.environ.get("ONLY", "") not in function.__name__:
            continue
        problems = []
        try:
            clean()
            function()
        except Skip as reason:
            print(f"skip {name}: {reason}", flush=True)
            continue
        except Exception as error:  # pylint: disable=broad-except
            message = error.message if isinstance(error, GLib.Error) else str(error)
            problems = [f"{type(error).__name__}: {message}", *traceback.format_exc().splitlines()[-5:]]
        cases.case(name, problems)
    clean()
    cases.end()
