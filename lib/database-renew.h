/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The files of a SQLite database after an I/O error. What could not be written counts as written from then
 * on: it is in memory and clean, a later fsync(2) succeeds, and ext4 may keep what is written to the same
 * place again marked as never written. What SQLite puts into its log behind such a gap would be lost with
 * the power. New files with the same bytes have none.
 *
 * Durable under their names when it is done; 0 also if there are none. Whoever has them open has the old
 * ones, and must not write any more. */

/* The log (-wal) of a database, as it is; nothing is done while another process has that open. */
int database_renew_log(int directory, const char *name);
/* Log and database of one that is open: of the log what is committed, and not what could not be. */
int database_renew(int directory, const char *name);
