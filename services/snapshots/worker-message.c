/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/snapshots/worker-message.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/message.h"

#define WORKER_SOCKET 3
#define ERRNO_MAX 4095

int worker_message_send(WorkerMessageType type, int error, uint64_t bytes, const char *text) {
        WorkerMessage message = { .type = (uint32_t) type, .error = error, .bytes = bytes };
        (void) snprintf(message.text, sizeof(message.text), "%s", text ? text : "");
        return message_send(WORKER_SOCKET, &message, sizeof(message), NULL, 0);
}

int worker_message_read(const void *data, size_t size, WorkerMessage *ret) {
        if (size != sizeof(*ret))
                return -EBADMSG;
        memcpy(ret, data, sizeof(*ret));
        if (ret->type >= _WORKER_MESSAGE_TYPE_MAX)
                return -EBADMSG;
        if ((ret->type == WORKER_FAILED || ret->type == WORKER_DISK_FAILED) &&
            (ret->error >= 0 || ret->error < -ERRNO_MAX))
                return -EBADMSG;
        ret->text[sizeof(ret->text) - 1] = '\0';
        for (char *p = ret->text; *p; p++)
                if (*p < ' ' || *p > '~')
                        *p = '?';
        return 0;
}
