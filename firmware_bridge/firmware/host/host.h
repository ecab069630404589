/* What the program on a computer has beyond hal.h: a state file, a line by its path, randomness. */
#ifndef MEDLEDGER_HOST_H
#define MEDLEDGER_HOST_H

#include "../hal.h"

/* Read the state file, or make one with this seed (NULL: a random one). Locks it for the life of the process. Prints
 * what is wrong and returns false. */
bool host_open_state(const char *path, const uint8_t *seed, struct state *state);

/* Open a serial port or pseudo-terminal; or make a pseudo-terminal, print its name, and link to it (NULL: no link). */
bool host_open_port(const char *path);
bool host_make_pty(const char *link);

/* Whether the line has failed for good: unplugged, or the other side is gone. */
bool host_line_lost(void);

void host_random(uint8_t *to, size_t size);

#endif
