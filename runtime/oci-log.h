/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What crt-oci says: errors on standard error, and everything in the file of --log, in the form that callers
 * of runc read back. */

#include "runtime/oci-options.h"

/* The options are borrowed until the program's end. */
void oci_log_open(const OciOptions *options);

/* The one error that a command ends with. */
void oci_log_error(const char *text);
void oci_log_warning(const char *format, ...) _printf_(1, 2);
/* With --debug only; on standard error where there is no --log. */
void oci_log_debug(const char *format, ...) _printf_(1, 2);
