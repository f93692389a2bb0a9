/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "tmpcopyup": what a directory of the image holds is copied into the tmpfs that covers it. Nothing of the
 * image is opened that is no file or directory, and no link is followed. */

/* What is in source; both are directories. proc is a descriptor of /proc. */
int copy_up(int source, int target, int proc);

/* Owner, mode, extended attributes and times of one. */
int copy_up_attributes(int from, int to);
