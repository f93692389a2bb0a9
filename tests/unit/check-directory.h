/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A directory for one test program, removed when it ends. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/path.h"

static char check_directory_name[] = "/tmp/crt-unit-XXXXXX";
static pid_t check_directory_owner;

static void check_directory_remove(void) {
        if (getpid() == check_directory_owner)
                (void) path_remove_tree(AT_FDCWD, check_directory_name + strlen("/"));
}

/* Opens it, for O_DIRECTORY; made at the first call. */
static int check_directory(void) {
        if (!check_directory_owner) {
                if (!mkdtemp(check_directory_name) || chdir("/") < 0) {
                        perror("mkdtemp");
                        exit(EXIT_FAILURE);
                }
                check_directory_owner = getpid();
                (void) atexit(check_directory_remove);
        }
        int fd = open(check_directory_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                perror(check_directory_name);
                exit(EXIT_FAILURE);
        }
        return fd;
}

__attribute__((unused)) static void check_directory_write(int directory, const char *name,
                                                          const char *text) {
        int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t) strlen(text) || close(fd) < 0) {
                perror(name);
                exit(EXIT_FAILURE);
        }
}
