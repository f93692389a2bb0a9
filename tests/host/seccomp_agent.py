# SPDX-License-Identifier: LGPL-2.1-or-later
"""Takes one listener, notes the state, and answers every mkdir with errno 71 until the peer is gone."""
import array, ctypes, fcntl, json, os, select, socket, struct, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(sys.argv[1])
server.listen(1)
open(sys.argv[2] + ".ready", "w").close()
connection, _ = server.accept()
data, fds = b"", []
while True:
    chunk, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(16))
    for level, kind, content in ancillary:
        got = array.array("i")
        got.frombytes(content)
        fds += got
    if not chunk:
        break
    data += chunk
with open(sys.argv[2] + ".new", "w") as told:
    told.write(data.decode())
os.rename(sys.argv[2] + ".new", sys.argv[2])
assert len(fds) == 1, fds
poller = select.poll()
poller.register(fds[0], select.POLLIN)
SIZE, RECEIVE, SEND = 80, 0xc0502100, 0xc0182101
while True:
    events = poller.poll(10000)
    if not events or not events[0][1] & select.POLLIN:
        break
    request = bytearray(SIZE)
    try:
        fcntl.ioctl(fds[0], RECEIVE, request)
        fcntl.ioctl(fds[0], SEND, bytearray(struct.pack("=QqiI", struct.unpack_from("=Q", request)[0], 0, -71, 0)))
    except OSError:
        break
