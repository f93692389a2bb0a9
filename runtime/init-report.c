/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/init-report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/fd.h"

InitReport init_report_make(InitReportKind kind, const char *step, int error, const char *text) {
        InitReport report = { .kind = kind, .error = error };
        (void) snprintf(report.step, sizeof(report.step), "%s", step);
        (void) snprintf(report.text, sizeof(report.text), "%s", text);
        return report;
}

const char *init_report_text(InitReport *report) {
        report->step[sizeof(report->step) - 1] = '\0';
        report->text[sizeof(report->text) - 1] = '\0';
        return report->text;
}

int init_report_to_fault(InitReport *report, Fault *fault) {
        int error = report->error < 0 && report->error > -4096 ? report->error : -EIO;
        const char *text = init_report_text(report);
        return fault_set(fault, error, "%s: %s", report->step, text[0] ? text : strerror(-error));
}

int init_report_and_wait(int socket, InitReportKind kind) {
        InitReport report = init_report_make(kind, "", 0, "");
        char go;
        int r = fd_write_all(socket, &report, sizeof(report));
        if (r < 0)
                return r;
        ssize_t n = fd_read_full(socket, &go, sizeof(go));
        return n == sizeof(go) ? 0 : n < 0 ? (int) n : -ECANCELED;
}
