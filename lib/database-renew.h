/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The files of a SQLite database after an I/O error. What could not be written counts as written from then
 * on: it is in memory and clean, a later fsync(2) succeeds, and ext4 may keep what is written to the same
 * place again marked as never written. What SQLite puts into its log behind such a gap would be lost with
 * the power, and so would what it takes from there into the database.
 *
 * The log gets a new file with the same bytes, which has no gap. What could not be written into the database
 * is in the log still, which begins anew only when all of it was synced. So of the database, which may be
 * large, no more is done than that it is forgotten: whoever reads it reads what the disk has, and whoever
 * writes to it asks the file system for the place again. Where it can't be forgotten it gets a new file,
 * too.
 *
 * Durable under their names when it is done; 0 also if there are none. Whoever has them open has the old
 * ones, and must not write any more. */

/* Of one that nobody has open, after a process that was killed: its log as it is. Nothing is done if there
 * is none, or while another process has it open. */
int database_renew_closed(int directory, const char *name);
/* Of one that is open: of the log what is committed, and not what could not be. */
int database_renew(int directory, const char *name);
