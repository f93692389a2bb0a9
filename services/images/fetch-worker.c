/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* crt-fetch: the one process of crt that speaks to registries. systemd starts one for each connection of
 * crt-imagesd to crt-fetch.socket and holds it in its unit's sandbox; it has a network, and nothing else. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "services/images/fetch-session.h"

int main(int argc, char *argv[]) {
        FetchSession session;
        int type;
        socklen_t length = sizeof(type);

        log_open("crt-fetch");
        if (getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_SEQPACKET) {
                log_error("standard input is no connection to crt-imagesd: this program is started by "
                          "crt-fetch.socket");
                return EXIT_FAILURE;
        }
        signal(SIGPIPE, SIG_IGN);
        fetch_session_init(&session, STDIN_FILENO);
        int r = fetch_session_run(&session);
        if (r < 0)
                log_error("conversation with crt-imagesd ended: %s", strerror(-r));
        /* Without waiting for a look-up that is under way, so that the streams end at once. */
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
