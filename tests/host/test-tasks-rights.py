#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what with containers: nobody anything but to look at their own, until a polkit rule says so."""

import os
import pwd
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from polkit_rules import PolkitRule  # noqa: E402
from task_containers import Container, containers, equal, main, shell  # noqa: E402

set_rule = PolkitRule("tasks").set
ALICE = pwd.getpwnam("alice").pw_uid
SPACE = f"u{ALICE}"
DENIED = {"AccessDenied", "InteractiveAuthorizationRequired"}


def as_user(user, code):
    """Runs it as that user, with everything of task_containers; what it prints."""
    prelude = "import sys; from task_containers import *\n"
    done = subprocess.run(["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--inh-caps=-all",
                           sys.executable, "-c", prelude + code], text=True, capture_output=True, check=False,
                          cwd=os.path.dirname(os.path.abspath(__file__)))
    assert done.returncode == 0, done.stderr[-600:]
    return done.stdout.strip()


def tried(user, expression):
    """The last word of the error's name, or "done"."""
    return as_user(user, f"""
try:
    {expression}
    print("done")
except GLib.Error as error:
    print(error_name(error).split(".")[-1])""")


def allow(condition):
    set_rule(f"subject.user == 'alice' && ({condition})")


def forget():
    set_rule(None)


def test_nothing_is_allowed_without_a_rule():
    own = shell("sleep 100", id="own", namespace=SPACE)
    own.start()
    found = f"Container({own.path!r})"
    for expression in ("shell('true')", f"{found}.start()", f"{found}.kill('TERM')", f"{found}.delete()",
                       f"{found}.resize(1, 1)"):
        answer = tried("alice", expression)
        assert answer in DENIED, f"{expression}: {answer}"
    equal("running", own.State)


def test_one_may_look_at_ones_own():
    own = shell("exit 3", id="own", namespace=SPACE)
    own.start()
    equal("3", as_user("alice", f"print(Container({own.path!r}).wait())"))
    equal("own", as_user("alice", "print(*[entry['Id'] for entry in containers()[0]])"))
    equal("own", as_user("alice", f"print(Container({own.path!r}).Id)"))


def test_one_may_not_look_at_others():
    other = shell("true", id="other")
    own = shell("true", id="own", namespace=SPACE)
    equal("", as_user("bob", "print(*[entry['Id'] for entry in containers()[0]])"))
    for path in (other.path, own.path):
        assert tried("bob", f"Container({path!r}).wait()") in DENIED
        assert tried("bob", f"print(Container({path!r}).State)") != "done"
    assert tried("bob", f"containers(namespace={SPACE!r})") in DENIED
    assert tried("bob", "containers(namespace='system')") in DENIED
    tree = ("call(bus(), NAME, PATH, 'org.freedesktop.DBus.ObjectManager', 'GetManagedObjects')")
    equal("0", as_user("bob", f"print(len([p for p in {tree}[0][0] if '/container/' in p]))"))
    equal("1", as_user("alice", f"print(len([p for p in {tree}[0][0] if '/container/' in p]))"))


def test_all_is_allowed_with_a_rule():
    allow("action.id.indexOf('org.crt.tasks.') == 0")
    try:
        equal("7 stopped", as_user("alice", """
c = shell('exit 7', id='mine')
assert c.path.endswith('/container/' + 'u%i' % os.getuid() + '/mine'), c.path
print(c.run(), c.State)
c.start()
c.wait()
d = create('sleep', '100')
d.start()
d.kill('KILL')
d.wait()
d.delete()
c.delete()"""))
        equal([], containers(namespace=SPACE)[0])
        assert tried("bob", "shell('true')") in DENIED
        assert tried("alice", "shell('true', namespace='system')") in DENIED
    finally:
        forget()


def test_rules_see_what_it_is_about():
    allow("action.id == 'org.crt.tasks.run' && action.lookup('container') == 'web' || "
          "action.id == 'org.crt.tasks.kill' && action.lookup('object') == 'web' && action.lookup('verb') == 'Kill' && "
          f"action.lookup('namespace') == '{SPACE}'")
    try:
        equal("done", tried("alice", "shell('true', id='web')"))
        assert tried("alice", "shell('true', id='database')") in DENIED
        web = Container(f"/org/crt/Tasks/container/{SPACE}/web")
        assert tried("alice", f"Container({web.path!r}).start()") in DENIED
        equal("FailedPrecondition", tried("alice", f"Container({web.path!r}).kill()"))
    finally:
        forget()


def test_mounts_by_path_are_for_root():
    allow("action.id.indexOf('org.crt.tasks.') == 0")
    try:
        equal("AccessDenied", tried("alice", "shell('true', mounts=GLib.Variant('a(ssas)', [('/etc', '/x', [])]))"))
        equal("text", as_user("alice", """
import tempfile
directory = tempfile.mkdtemp()
with open(directory + '/file', 'w') as file:
    file.write('text')
def give(path, flags):
    fds = Gio.UnixFDList.new()
    fd = os.open(path, flags)
    return {'binds': GLib.Variant('a(hsas)', [(fds.append(fd), '/bound', ['ro'])]), 'fds': fds}
failure('InvalidArgs', lambda: shell('true', **give('/root', os.O_PATH)))
c = shell('cat /bound/file', **give(directory, os.O_RDONLY))
r, w = os.pipe()
c.start({'stdout': w})
os.close(w)
print(read_all(r))
c.wait()
c.delete()
"""))
    finally:
        forget()


def test_containers_of_one_user_are_limited():
    allow("action.id.indexOf('org.crt.tasks.') == 0")
    try:
        made = as_user("alice", """
made = []
try:
    while len(made) < 300:
        made.append(shell('true'))
except GLib.Error as error:
    print(error_name(error).split('.')[-1], len(made))
for c in made:
    c.delete()
try:
    shell('true').delete()
    print('again')
except GLib.Error as error:
    print(error_name(error))""")
        equal("LimitsExceeded 256\nagain", made)
    finally:
        forget()


forget()
main(globals())
