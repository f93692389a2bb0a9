/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Messages of the RPC of criu(8), which are protocol buffers: requests are built, answers are read, as much
 * of both as is needed (criu's images/rpc.proto). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum CriuRequestType {
        CRIU_DUMP = 1,
        CRIU_RESTORE = 2,
        CRIU_PRE_DUMP = 4,
        CRIU_NOTIFY = 6,
} CriuRequestType;

/* Fields of criu_opts. */
typedef enum CriuField {
        CRIU_IMAGES_DIR_FD = 1,
        CRIU_PID = 2,
        CRIU_LEAVE_RUNNING = 3,
        CRIU_EXT_UNIX_SK = 4,
        CRIU_TCP_ESTABLISHED = 5,
        CRIU_EVASIVE_DEVICES = 6,
        CRIU_SHELL_JOB = 7,
        CRIU_FILE_LOCKS = 8,
        CRIU_LOG_LEVEL = 9,
        CRIU_LOG_FILE = 10,
        CRIU_PAGE_SERVER = 11, /* address and port */
        CRIU_NOTIFY_SCRIPTS = 12,
        CRIU_ROOT = 13,
        CRIU_PARENT_IMAGES = 14,
        CRIU_TRACK_MEMORY = 15,
        CRIU_AUTO_DEDUP = 16,
        CRIU_WORK_DIR_FD = 17,
        CRIU_LINK_REMAP = 18,
        CRIU_RESTORE_SIBLING = 26,
        CRIU_INHERIT_FD = 27, /* name and descriptor */
        CRIU_MANAGE_CGROUPS_MODE = 34,
        CRIU_EXTERNAL = 37,
        CRIU_EMPTY_NAMESPACES = 38,
        CRIU_FREEZE_CGROUP = 44,
        CRIU_TCP_SKIP_IN_FLIGHT = 46,
        CRIU_LAZY_PAGES = 48,
        CRIU_STATUS_FD = 49,
        CRIU_ORPHAN_PTS_MASTER = 50,
        CRIU_LSM_PROFILE = 53,
        CRIU_LSM_MOUNT_CONTEXT = 63,
} CriuField;

typedef struct CriuMessage {
        uint8_t *data;
        size_t size;
        bool failed; /* out of memory: sticky, found by who sends it */
} CriuMessage;

void criu_message_add_number(CriuMessage *message, unsigned field, uint64_t number);
void criu_message_add_text(CriuMessage *message, unsigned field, const char *text);
/* A text and a number as fields 1 and 2 of a message within. */
void criu_message_add_pair(CriuMessage *message, unsigned field, const char *text, uint64_t number);
/* A whole criu_req. */
int criu_message_build_request(CriuRequestType type, const CriuMessage *options, CriuMessage *ret);
int criu_message_build_reply(bool success, CriuMessage *ret);
void criu_message_done(CriuMessage *message);

typedef struct CriuAnswer {
        unsigned type;
        bool success;
        pid_t pid;        /* of what was restored, or what is told about; 0: none */
        char script[64];  /* what is told: "setup-namespaces" */
        char error[1024]; /* "": none */
} CriuAnswer;

/* -EBADMSG for what is no criu_resp. */
int criu_answer_parse(const uint8_t *data, size_t size, CriuAnswer *ret);
