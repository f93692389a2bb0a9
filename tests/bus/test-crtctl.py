#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""crtctl against stand-ins for the services on a private bus: what it sends, shows and answers.

Usage: test-crtctl.py CRTCTL"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time

CRTCTL = os.path.abspath(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))
IMAGE = "docker.io/library/debian:latest"
FOREVER = "while :; do sleep 0.05; done"
CASES = []


def case(function):
    CASES.append(function)
    return function


def crtctl(*arguments, status=0, stdin=b"", **more):
    done = subprocess.run([CRTCTL, *arguments], input=stdin, capture_output=True, timeout=120, check=False, **more)
    assert done.returncode == status, f"{arguments}: status {done.returncode}, {done.stderr.decode()}"
    return done


def said(done):
    return done.stdout.decode()


def complained(done):
    return done.stderr.decode()


class Terminal:
    """crtctl on a terminal of its own."""

    def __init__(self, *arguments, rows=24, columns=100, **variables):
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen([CRTCTL, *arguments], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, env={**os.environ, "TERM": "xterm", **variables})
        self.text = b""

    def until(self, pattern, seconds=100):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"waited in vain for {pattern}: {self.text!r}"
            self.text += os.read(self.master, 4096)
        return self.text

    def type(self, data):
        os.write(self.master, data)

    def end(self):
        """Exit status; the terminal must be as it was."""
        status = self.process.wait(timeout=100)
        while select.select([self.master], [], [], 0.05)[0]:
            self.text += os.read(self.master, 4096)
        after = termios.tcgetattr(self.slave)
        assert after == self.before, f"the terminal was left changed: {after} {self.before}"
        os.close(self.slave)
        os.close(self.master)
        return status


# ---- pull ----

@case
def pull_shows_the_result():
    text = said(crtctl("pull", IMAGE))
    assert re.match(rf"{IMAGE}: 0123456789ab \(linux/amd64\), 47\.6M in ", text), text


@case
def pull_quiet_prints_the_digest():
    done = crtctl("pull", "-q", IMAGE)
    assert said(done) == "sha256:" + "0123456789abcdef" * 4 + "\n" and not complained(done), done


@case
def pull_gives_json():
    assert json.loads(said(crtctl("pull", "--json=short", IMAGE)))["platform"] == "linux/amd64"


@case
def pull_draws_bars_on_a_terminal():
    terminal = Terminal("pull", "slow")
    text = terminal.until(rb"layer    2abababababa downloading").decode()
    summary = terminal.until(rb"s left").decode()
    assert re.search(r"downloading [0-9.]+M / 47\.6M, [0-9.]+M/s, [0-9.]+m?s left", summary), text
    assert terminal.end() == 0
    assert b"slow: 0123456789ab" in terminal.text


@case
def pull_is_cancelled_by_ctrl_c():
    terminal = Terminal("pull", "slow-cancelled")
    terminal.until(rb"downloading")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 1
    assert b"the next pull continues" in terminal.text and b"cancelled" in terminal.text, terminal.text


@case
def pull_that_fails_says_why():
    done = crtctl("pull", "bad", status=1)
    assert complained(done) == "crtctl: bad: layer 1: the registry sent other bytes than it promised\n", done


@case
def pull_sends_what_it_was_told():
    with tempfile.NamedTemporaryFile() as ca:
        crtctl("pull", "options", "--platform=linux/arm64", "--plain-http", f"--ca={ca.name}", "--username=me",
               "--password-stdin", "--no-unpack", stdin=b"secret\n")
    text = services_said()
    for part in ("'linux/arm64'", "'plain-http'): dbus.Boolean(True", "UnixFd", "'me'", "'secret'",
                 "'unpack'): dbus.Boolean(False"):
        assert part in text, f"{part} in {text}"


@case
def password_without_user_is_refused():
    assert "--username" in complained(crtctl("pull", "x", "--password-stdin", status=1))


# ---- images ----

@case
def images_reads_all_pages():
    for name in ("b", "c", "d", "e"):
        crtctl("pull", "-q", name)
    names = said(crtctl("images", "-q")).split()
    assert names == sorted(names) and {"b", "c", "d", "e", IMAGE} <= set(names), names


@case
def images_are_a_table():
    lines = said(crtctl("images")).splitlines()
    assert lines[0].split() == ["NAME", "DIGEST", "PLATFORM", "SIZE", "CREATED", "PULLED"], lines
    assert any(re.match(rf"{IMAGE} +0123456789ab linux/amd64 +52\.0M +\S+ ago +", line) for line in lines), lines


@case
def legend_can_be_left_out():
    assert "NAME" not in said(crtctl("images", "--no-legend"))


@case
def long_lists_go_through_the_pager():
    terminal = Terminal("images", rows=4, SYSTEMD_PAGER="sed s/^/paged:/")
    terminal.until(rb"paged:.*NAME")
    assert terminal.end() == 0
    for variables in ({"SYSTEMD_PAGER": ""}, {"PAGER": "cat"}, {"SYSTEMD_PAGER": "/no/such/pager"}):
        terminal = Terminal("images", rows=4, **variables)
        terminal.until(rb"NAME")
        assert terminal.end() == 0
    terminal = Terminal("images", "--no-pager", rows=4, SYSTEMD_PAGER="sed s/^/paged:/")
    terminal.until(rb"NAME")
    assert terminal.end() == 0 and b"paged" not in terminal.text
    terminal = Terminal("images", rows=40, SYSTEMD_PAGER="sed s/^/paged:/")
    terminal.until(rb"NAME")
    assert terminal.end() == 0 and b"paged" not in terminal.text


@case
def dumb_terminals_get_lines():
    terminal = Terminal("pull", "slow-dumb", TERM="dumb")
    terminal.until(rb"slow-dumb: 0123456789ab")
    assert terminal.end() == 0 and b"\x1b" not in terminal.text, terminal.text


@case
def closed_streams_are_empty_ones():
    """Not what was opened in their place."""
    master, slave = pty.openpty()
    with tempfile.NamedTemporaryFile() as file:
        command = f"for i in 0 1 2; do all=\"$all $(readlink /proc/$$/fd/$i)\"; done; echo $all >{file.name}"
        subprocess.run(["sh", "-c", '"$@" <&- 2>&-', "sh", CRTCTL, "run", "--rm", "-i", IMAGE, "sh", "-c", command],
                       check=True, timeout=20, stdout=slave)
        text = file.read().decode()
    os.close(master)
    os.close(slave)
    assert re.fullmatch(r"/dev/null pipe:\[\d+\] /dev/null\n", text), text


@case
def images_as_json():
    image = next(i for i in json.loads(said(crtctl("images", "--json=pretty"))) if i["name"] == IMAGE)
    assert image["size"] == 54525952 and image["digest"].startswith("sha256:"), image


@case
def inspect_shows_image_and_container():
    crtctl("create", "--name", "inspected", IMAGE, "true")
    both = json.loads(said(crtctl("inspect", IMAGE, "inspected")))
    assert both[0]["Config"]["cmd"] == ["sh"] and both[0]["Config"]["labels"] == {"a": "b"}, both
    assert both[1]["Id"] == "inspected" and both[1]["Command"] == ["true"], both
    assert "neither" in complained(crtctl("inspect", "nothing", status=1))
    crtctl("rm", "inspected")


@case
def tag_takes_a_name_only_when_told():
    assert said(crtctl("tag", "d", "another")) == ""
    done = crtctl("tag", "d", "another", status=1)
    assert complained(done) == "crtctl: another is the name of an image already\n", done
    crtctl("tag", "--replace", "d", "another")
    assert "no image" in complained(crtctl("tag", "nothing", "another", "-r", status=1))
    crtctl("tag", "d", status=1)


@case
def rmi_goes_on_after_a_failure():
    done = crtctl("rmi", "b", "nothing", "c", status=1)
    assert complained(done) == "crtctl: nothing: no image 'nothing' is here\n", done
    assert not {"b", "c"} & set(said(crtctl("images", "-q")).split())


@case
def access_denied_says_which_action():
    text = complained(crtctl("rmi", "denied", status=1))
    assert text == "crtctl: denied: Access denied: polkit does not authorize org.crt.images.remove\n", text


@case
def transfers_are_listed_watched_and_cancelled():
    pull = subprocess.Popen([CRTCTL, "pull", "slow-listed"], stderr=subprocess.PIPE)
    end = time.monotonic() + 5
    while not (rows := json.loads(said(crtctl("transfers", "--json=short")))):
        assert time.monotonic() < end, "no transfer is seen"
    assert rows[0]["object"] == "slow-listed" and rows[0]["state"] == "running", rows
    watch = subprocess.Popen([CRTCTL, "transfers", "watch", rows[0]["id"]], stderr=subprocess.PIPE)
    crtctl("transfers", "cancel", rows[0]["id"])
    assert pull.wait(timeout=5) == 1 and b"cancelled" in pull.stderr.read()
    assert watch.wait(timeout=5) == 1 and b"cancelled" in watch.stderr.read()
    pull.stderr.close()
    watch.stderr.close()


# ---- run ----

@case
def run_gives_the_exit_status():
    for remove in ([], ["--rm"]):
        for status in (0, 7, 255):
            crtctl("run", *remove, IMAGE, "sh", "-c", f"exit {status}", status=status)
        crtctl("run", *remove, IMAGE, "sh", "-c", "kill -TERM $$", status=128 + 15)


@case
def run_hands_over_the_streams():
    done = crtctl("run", "--rm", "-i", IMAGE, "sh", "-c", "cat; echo err >&2", stdin=b"through\n")
    assert done.stdout == b"through\n" and done.stderr == b"err\n", done
    assert crtctl("run", "--rm", IMAGE, "cat", stdin=b"not given").stdout == b""


@case
def run_pulls_what_is_missing():
    crtctl("run", "--rm", "fresh", "true")
    assert "fresh" in said(crtctl("images", "-q")).split()
    assert "no image 'other'" in complained(crtctl("run", "--pull=never", "other", "true", status=125))
    assert "the registry has no" in complained(crtctl("run", "missing", "true", status=125))
    crtctl("run", "--rm", "--pull=always", IMAGE, "true")


@case
def run_tells_missing_and_unusable_commands():
    assert complained(crtctl("run", "--rm", IMAGE, "/no/such", status=127)).startswith("crtctl: execve")
    crtctl("run", "--rm", IMAGE, "/etc/passwd", status=126)
    assert not json.loads(said(crtctl("ps", "-a", "--json=short")))[0]["image"] == "x"


@case
def run_sends_what_it_was_told():
    crtctl("pull", "-q", "options")
    with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile("w") as variables:
        variables.write("# comment\nA=file\nFROM_FILE=1\nINHERITED\n")
        variables.flush()
        crtctl("create", "--name=told", "-eA=b", "-e", "OWN", "-e", "ABSENT", f"--env-file={variables.name}",
               f"-v{directory}:/data:ro", "-w/tmp", "-unobody:staff", "--hostname=h", "--entrypoint=/bin/e",
               "--read-only", "--memory=512M", "--pids-limit=10", "--cpus=1.5", "--label=x=y", "-l", "flag", "--rm",
               "--stop-signal=SIGINT", "--storage-opt=size=3G", "options", "--", "-x",
               env=dict(os.environ, OWN="mine", INHERITED="yes"))
        text = services_said()
        for part in ("'A=b'", "'FROM_FILE=1'", "'INHERITED=yes'", "'OWN=mine'", "'/data'", "'rbind'", "'ro'", "'/tmp'",
                     "'nobody:staff'", "'hostname'", "'/bin/e'", "'read-only'", "UInt64(536870912", "UInt64(10",
                     "UInt64(150", "'rootfs-size-max'", "UInt64(3221225472",
                     "dbus.String('x'): dbus.String('y'", "dbus.String('flag'): dbus.String(''", "'auto-remove'",
                     "'volatile'",
                     "'SIGINT'", "'-x'", "'mounts'" if os.getuid() == 0 else "'binds'"):
            assert part in text, f"{part} in {text}"
        assert "ABSENT" not in text and "A=file" not in text and text.count("A=") == 1, text
    crtctl("rm", "told")


@case
def detached_run_prints_the_id():
    assert said(crtctl("run", "-d", "--name", "web", IMAGE, "sleep", "60")) == "web\n"
    rows = json.loads(said(crtctl("ps", "--json=short")))
    assert [r["id"] for r in rows] == ["web"] and rows[0]["state"] == "running" and rows[0]["exit-status"] == -1, rows
    table = said(crtctl("ps"))
    assert re.search(r"web +docker.io/library/debian:latest +sleep 60 +.* running \d+m?s", table), table
    assert "web: it runs" in complained(crtctl("rm", "web", status=1)).replace(" (--force kills it first)", "")
    crtctl("kill", "-s", "TERM", "web")
    assert said(crtctl("wait", "web")) == "143\n"
    crtctl("rm", "web")
    assert complained(crtctl("kill", "web", status=1)) == "crtctl: web: no container 'web' is here\n"


@case
def stop_insists():
    with tempfile.TemporaryDirectory() as directory:
        crtctl("run", "-d", "--name", "deaf", IMAGE, "sh", "-c",
               f"trap '' TERM; touch {directory}/up; while :; do sleep 0.1; done")
        end = time.monotonic() + 60
        while not os.path.exists(f"{directory}/up"):
            assert time.monotonic() < end, "it does not begin"
            time.sleep(0.01)
    crtctl("stop", "-t", "200ms", "deaf")
    assert said(crtctl("wait", "deaf")) == "137\n"
    crtctl("rm", "deaf")


@case
def stopped_containers_start_again_attached():
    crtctl("run", "--name", "again", IMAGE, "sh", "-c", "echo once; exit 3", status=3)
    assert crtctl("start", "-a", "again", status=3).stdout == b"once\n"
    assert said(crtctl("start", "again")) == "again\n"
    crtctl("wait", "again")
    crtctl("rm", "-f", "again")


@case
def signals_reach_the_container():
    run = subprocess.Popen([CRTCTL, "run", "--rm", IMAGE, "sh", "-c", f"trap 'exit 9' TERM; echo up; {FOREVER}"],
                           stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"up\n"
    run.terminate()
    assert run.wait(timeout=100) == 9
    run.stdout.close()


@case
def terminal_is_the_containers():
    terminal = Terminal("run", "--rm", "-ti", IMAGE, "sh", "-c", "stty size; tty; read x; echo got-$x; exit 5",
                        rows=31, columns=77)
    terminal.until(rb"31 77")
    terminal.until(rb"/dev/pts/")
    terminal.type(b"word\r")
    terminal.until(rb"got-word")
    assert terminal.end() == 5


@case
def terminal_keys_are_not_ours():
    terminal = Terminal("run", "--rm", "-ti", IMAGE, "sh", "-c",
                        f"trap 'echo interrupted; exit 4' INT; echo up; {FOREVER}")
    terminal.until(rb"up")
    terminal.type(b"\x03")
    terminal.until(rb"interrupted")
    assert terminal.end() == 4


@case
def window_changes_are_passed_on():
    terminal = Terminal("run", "--rm", "-ti", IMAGE, "sh", "-c",
                        f"trap 'stty size; exit 0' WINCH; echo up; {FOREVER}")
    terminal.until(rb"up")
    termios.tcsetwinsize(terminal.slave, (50, 120))
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.until(rb"50 120")
    assert terminal.end() == 0


@case
def ctrl_p_ctrl_q_detaches():
    terminal = Terminal("run", "--name", "left", "-ti", IMAGE, "sh", "-c", "echo up; exec sleep 60")
    terminal.until(rb"up")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 0
    assert b"Detached" in terminal.text
    # The stand-in gave its master away, so the terminal hung up; what counts is that nobody deleted the container.
    assert "left" in said(crtctl("ps", "-a"))
    crtctl("rm", "-f", "left")


@case
def own_terminal_is_not_given_away():
    terminal = Terminal("run", "--rm", "-i", IMAGE, "sh", "-c",
                        "for i in 0 1 2; do test -t $i && echo leaked; done; cat; echo end")
    terminal.type(b"hello\n\x04")
    terminal.until(rb"end")
    assert terminal.end() == 0
    assert b"leaked" not in terminal.text and terminal.text.count(b"hello") == 2, terminal.text


@case
def much_output_is_complete():
    done = crtctl("run", "--rm", IMAGE, "seq", "200000")
    assert done.stdout.splitlines()[-1] == b"200000" and len(done.stdout) == 1288895
    terminal = Terminal("run", "--rm", "-t", IMAGE, "seq", "20000")
    terminal.until(rb"20000\r\n")
    assert terminal.end() == 0


@case
def tty_without_terminal_is_refused():
    assert "needs a terminal" in complained(crtctl("run", "--rm", "-ti", IMAGE, "true", status=125))


@case
def escapes_do_not_reach_the_table():
    crtctl("create", "--name", "nasty", IMAGE, "printf", "\x1b[31mred")
    text = said(crtctl("ps", "-a"))
    assert "\x1b" not in text and "\\x1b[31mred" in text, text
    crtctl("rm", "nasty")


# ---- the command line ----

@case
def wrong_usage_gets_a_hint():
    for arguments, status, hint in (((), 1, "crtctl --help"), (("frob",), 1, "'frob' is no verb"),
                                    (("run",), 125, "'crtctl run --help'"), (("run", "--bogus", "x"), 125, "--bogus"),
                                    (("kill", "-s"), 1, "'-s' needs a value"),
                                    (("images", "x"), 1, "takes no operands"),
                                    (("ps", "--json=x"), 1, "short, pretty"),
                                    (("run", "--memory=1Q", IMAGE), 125, "--memory=1Q"),
                                    (("run", "-vfoo", IMAGE), 125, "SOURCE:DESTINATION"),
                                    (("run", "--storage-opt=3G", IMAGE), 125, "size=SIZE"),
                                    (("run", "--storage-opt=size=0", IMAGE), 125, "at least 1"),
                                    (("gc", "--why=image:x", "--plan"), 1, "--why goes with no other option"),
                                    (("gc", "--why=image:x", "--older-than=1h"), 1, "--why goes with"),
                                    (("content",), 1, "--help")):
        text = complained(crtctl(*arguments, status=status))
        assert text.startswith("crtctl: ") and text.count("\n") == 1 and hint in text, (arguments, text)


@case
def help_and_version():
    assert "run IMAGE" in said(crtctl("--help")) and "run IMAGE" in said(crtctl("-h"))
    assert "--entrypoint" in said(crtctl("run", "--help"))
    assert re.match(r"crtctl \d", said(crtctl("--version")))


@case
def manual_page_has_every_verb_and_option():
    with open(os.path.join(HERE, "..", "..", "man", "crtctl.1"), encoding="utf-8") as file:
        manual = file.read()
    overview = said(crtctl("--help"))
    verbs = re.findall(r"^  ((?:(?:content|snapshot|lease|transfers) )?[a-z]+)(?= )", overview, re.MULTILINE)
    assert len(verbs) > 30, verbs
    for verb in verbs:
        assert re.search(rf"^\.It Ic {verb}\b", manual, re.MULTILINE), f"{verb} is not described"
        for option in re.findall(r"^  (?:-.|  ) --([a-z-]+)", said(crtctl(*verb.split(), "--help")), re.MULTILINE):
            assert re.search(rf"\bFl -{option}\b|, -{option}\b", manual), f"{verb} --{option} is not described"


@case
def services_that_are_absent_are_named():
    assert "is crt installed?" in complained(crtctl("content", "ls", status=1))
    text = complained(crtctl("ps", status=1, env=dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS="unix:path=/nowhere")))
    assert text.startswith("crtctl: cannot connect to the system bus"), text


# ---- the bus and the services ----

def start_bus(directory):
    config = os.path.join(directory, "bus.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
            "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
            <busconfig><type>system</type><listen>unix:path={directory}/bus</listen><policy context="default">
            <allow send_destination="*"/><allow own="*"/><allow receive_sender="*"/></policy></busconfig>""")
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={directory}/bus"
    bus = subprocess.Popen(["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"],
                           stdout=subprocess.PIPE)
    assert bus.stdout.readline()
    return bus


def services_said():
    """What the stand-ins were asked with; they write it before they answer."""
    end = time.monotonic() + 60
    text = b""
    while b"\n" not in text and time.monotonic() < end:
        if select.select([services.stdout], [], [], 0.1)[0]:
            text += os.read(services.stdout.fileno(), 65536)
    return text.decode()


def run_case(function):
    name = function.__name__.replace("_", " ")
    if os.environ.get("ONLY", "") not in function.__name__:
        return f"{name} # SKIP not in $ONLY", True
    try:
        function()
        return name, True
    except Exception as error:  # pylint: disable=broad-except
        print("#", repr(error)[:1500])
        return name, False


def run_all(place):
    global services  # pylint: disable=global-statement
    daemon, failures = start_bus(place), 0
    try:
        services = subprocess.Popen([sys.executable, os.path.join(HERE, "crtctl-services.py")], stdout=subprocess.PIPE)
        assert services.stdout.readline() == b"ready\n", "the stand-ins did not start"
        print(f"1..{len(CASES)}")
        for number, one in enumerate(CASES, 1):
            label, passed = run_case(one)
            failures += not passed
            print("ok" if passed else "not ok", number, "-", label, flush=True)
    finally:
        for process in (services, daemon):
            if process:
                process.kill()
                process.wait()
    return failures


services = None
with tempfile.TemporaryDirectory(prefix="crtctl-") as scratch:
    for variable in ("NO_COLOR", "SYSTEMD_COLORS", "SYSTEMD_PAGER", "PAGER"):
        os.environ.pop(variable, None)
    os.environ["LANG"] = "C.UTF-8"
    sys.exit(run_all(scratch) > 0)
