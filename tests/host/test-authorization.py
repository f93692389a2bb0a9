#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every documented method, called by a user without rights: refused if it changes anything, let through by a rule."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from interfaces import Cases, GLib, Gio, bus, call, documented, error_name, service_of  # noqa: E402
from polkit_rules import PolkitRule  # noqa: E402

# What a user may do in the namespace of their own by default: look.
READING = {"Get", "GetLease", "List", "ListIngests", "ListLeases", "ListResources", "Open", "Resolve", "Stat", "Usage",
           "StatIngest", "StatNamespace", "Wait"}
REFUSED = {"org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"}
# Between crt's own services: refused to everybody else, whatever polkit says.
OWN_USE = {"org.crt.Content1.Collector", "org.crt.Snapshots1.Collector", "org.crt.Tasks1.References"}
VALUES = {"s": "probe", "u": 1, "t": 1, "i": 1, "b": False, "a{sv}": {}, "a(ss)": [], "h": 0}
set_rule = PolkitRule("authorization").write


def is_for_own_use(method):
    return method in OWN_USE or method.rsplit(".", 1)[0] in OWN_USE


def methods():
    for interface, element in documented().items():
        for method in element.iter("method"):
            inputs = [a.get("type") for a in method.iter("arg") if a.get("direction") != "out"]
            yield interface, method.get("name"), inputs


def object_path(interface, namespace):
    _, root = service_of(interface)
    if interface.count(".") == 2 or interface.endswith(".Collector"):
        return root
    return f"{root}/{interface.split('.')[3].lower()}/{namespace}/probe"


def call_all(options):
    """Every method once, with arguments of the right types; the error's name, or "" for an answer."""
    connection, answers = bus(), {}
    namespace = options.get("namespace", f"u{os.getuid()}")
    for interface, member, types in methods():
        values = [{k: GLib.Variant("s", v) for k, v in options.items()} if t == "a{sv}" and
                  interface.count(".") == 2 else VALUES[t] for t in types]
        fds = Gio.UnixFDList.new()
        fds.append(os.open("/dev/null", os.O_RDONLY))
        try:
            call(connection, service_of(interface)[0], object_path(interface, namespace), interface, member,
                 GLib.Variant(f"({''.join(types)})", values), fds)
            answers[f"{interface}.{member}"] = ""
        except GLib.Error as error:
            answers[f"{interface}.{member}"] = error_name(error)
    return answers


def call_all_as(user, **options):
    command = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", sys.executable, __file__,
               json.dumps(options)]
    return json.loads(subprocess.run(command, check=True, text=True, capture_output=True).stdout)


def listen():
    """Signals of crt that reach this user until it is told to end, though it calls every service and asks for all."""
    connection, loop, heard = bus(), GLib.MainLoop(), []
    connection.signal_subscribe(None, None, None, None, None, Gio.DBusSignalFlags.NONE,
                                lambda _c, sender, path, interface, member, _a: heard.append(f"{member} {path}")
                                if path.startswith("/org/crt/") else None)

    def ask_all():
        for service in ("Content", "Images", "Snapshots", "Tasks"):
            call(connection, f"org.crt.{service}", f"/org/crt/{service}", "org.freedesktop.DBus.ObjectManager",
                 "GetManagedObjects")
    ask_all()
    print("listening", flush=True)
    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_LOW, GLib.IO_IN | GLib.IO_HUP, lambda *_: loop.quit())
    # What was sent to us before the answers is here when they are.
    GLib.timeout_add(20, lambda: print("heard", flush=True) if heard else True)
    GLib.timeout_add_seconds(100, loop.quit)
    loop.run()
    ask_all()
    while GLib.MainContext.default().iteration(False):
        pass
    print(json.dumps(heard))


class Listener:
    """A process of this user's, which listens from now on."""

    def __init__(self, user):
        self.process = subprocess.Popen(["setpriv", "--reuid", user, "--regid", user, "--init-groups", sys.executable,
                                         __file__, "listen"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "listening\n"

    def wait(self):
        """Until it has heard something."""
        assert self.process.stdout.readline() == "heard\n"

    def heard(self):
        return json.loads(self.process.communicate()[0].splitlines()[-1])


def main():
    cases = Cases()
    set_rule(None)
    own = call_all_as("alice")
    for method, error in own.items():
        reads = method.rsplit(".", 1)[1] in READING
        if reads:
            cases.case(f"{method} may be called by anyone about what is theirs", [error] if error in REFUSED else [])
        else:
            cases.case(f"{method} is refused without rights", [] if error in REFUSED else [f"answered '{error}'"])

    foreign = call_all_as("alice", namespace="system")
    cases.case("nothing of another namespace can be reached without rights",
               [f"{m} answered '{e}'" for m, e in foreign.items() if e not in REFUSED])

    ingest = ["busctl", "call", "org.crt.Content", "/org/crt/Content", "org.crt.Content1", "Ingest", "sa{sv}",
              "x", "0"]
    abort = ["busctl", "call", "org.crt.Content", "/org/crt/Content", "org.crt.Content1", "Abort", "sa{sv}", "x", "0"]
    root, alice = Listener("root"), Listener("alice")
    for command in (ingest, abort):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    root.wait()
    cases.case("signals reach those who may see", [] if root.heard() else ["root heard nothing"])
    cases.case("signals of another namespace reach nobody else", alice.heard())

    try:
        set_rule('polkit.addRule(function(action, subject) {'
                 ' if (action.id.indexOf("org.crt.") == 0 && subject.user == "alice") return polkit.Result.YES; });')
        allowed = call_all_as("alice")
        cases.case("a polkit rule lets all of them pass",
                   [f"{m} answered '{e}'" for m, e in allowed.items() if e in REFUSED and not is_for_own_use(m)])
        cases.case("no rule lets anybody call what is for crt's own services",
                   [f"{m} answered '{e}'" for m, e in allowed.items() if e not in REFUSED and is_for_own_use(m)])
        set_rule('polkit.addRule(function(action, subject) {'
                 ' if (action.id.indexOf("org.crt.") == 0 && action.lookup("namespace") == "u" + subject.user.length)'
                 ' return polkit.Result.YES; });')
        cases.case("a rule sees the namespace",
                   [f"{m} answered '{e}'" for m, e in call_all_as("alice").items()
                    if m.rsplit(".", 1)[1] not in READING and e not in REFUSED])
    finally:
        set_rule(None)
    cases.end()


if sys.argv[1:] == ["listen"]:
    listen()
elif len(sys.argv) > 1:
    print(json.dumps(call_all(json.loads(sys.argv[1]))))
else:
    main()
