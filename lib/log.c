/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/log.h"

#include <errno.h>
#include <endian.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/strv.h"

#define FIELDS_MAX 24

static struct {
        const char *program;
        int level;
        int journal; /* connected datagram socket; -EBADF: stderr */
} state = { .program = "crt", .level = LOG_INFO, .journal = -EBADF };

static const char *const level_names[] = {
        [LOG_EMERG] = "emerg",     [LOG_ALERT] = "alert",   [LOG_CRIT] = "crit", [LOG_ERR] = "err",
        [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

/* JOURNAL_STREAM is "device:inode" of the socket that systemd connected stderr to; a redirected stderr
 * differs. */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;
        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
               fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static int journal_connect(void) {
        static const struct sockaddr_un address = { .sun_family = AF_UNIX,
                                                    .sun_path = "/run/systemd/journal/socket" };
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

void log_open(const char *program) {
        state.program = program;
        int level = string_table_find(level_names, ELEMENTS_OF(level_names), getenv("CRT_LOG_LEVEL"));
        if (level >= 0)
                state.level = level;
        if (state.journal < 0 && stderr_is_journal())
                state.journal = journal_connect();
}

void log_set_level(int level) {
        state.level = level;
}

bool log_is_enabled(int level) {
        return level <= state.level;
}

/* The native protocol: KEY=value\n, or KEY\n<64-bit little-endian size>value\n when the value has a newline.
 */
static void append_field(FILE *out, const char *key, size_t key_size, const char *value) {
        size_t size = strlen(value);
        (void) fwrite(key, 1, key_size, out);
        if (strchr(value, '\n')) {
                uint64_t little = htole64((uint64_t) size);
                (void) fputc('\n', out);
                (void) fwrite(&little, 1, sizeof(little), out);
        } else
                (void) fputc('=', out);
        (void) fwrite(value, 1, size, out);
        (void) fputc('\n', out);
}

static int write_journal(int level, const char *const *fields, const char *text) {
        _cleanup_free_ char *datagram = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&datagram, &size);
        if (!out)
                return -errno;
        (void) fprintf(out, "PRIORITY=%i\nSYSLOG_IDENTIFIER=%s\n", level, state.program);
        append_field(out, "MESSAGE", strlen("MESSAGE"), text);
        for (size_t i = 0; fields && fields[i] && i < FIELDS_MAX; i++) {
                const char *equals = strchr(fields[i], '=');
                if (equals)
                        append_field(out, fields[i], (size_t) (equals - fields[i]), equals + 1);
        }
        if (fclose(out) != 0)
                return -errno;
        return send(state.journal, datagram, size, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void log_write(int level, const char *const *fields, const char *format, ...) {
        if (!log_is_enabled(level))
                return;

        int saved = errno;
        va_list arguments;
        _cleanup_free_ char *text = NULL;
        va_start(arguments, format);
        if (vasprintf(&text, format, arguments) < 0)
                text = NULL;
        va_end(arguments);

        if (text && (state.journal < 0 || write_journal(level, fields, text) < 0))
                (void) fprintf(stderr, "%s: %s\n", state.program, text);
        errno = saved;
}
