/* Sizes, in one place. A smaller device sets smaller ones with -D; none may exceed what the specification allows. */
#ifndef MEDLEDGER_CONFIG_H
#define MEDLEDGER_CONFIG_H

#ifndef RING /* sealed batches kept until they are acknowledged */
#define RING 32
#endif
#ifndef READINGS_BYTES /* the encoded readings of one batch */
#define READINGS_BYTES 3072
#endif
#define MAX_READINGS 16 /* readings of one batch; below 24, so that the array's head is one byte */
#define MAX_SAMPLES 8   /* samples of one reading; below 24 */
#define MAX_TEXT 64     /* bytes of the device's name, model and firmware version */

#ifndef WINDOW
#define WINDOW 8 /* batches under way */
#endif
#define FIRST_TIMEOUT_MS 1000u  /* until everything is said again when nothing is acknowledged; doubles ... */
#define LAST_TIMEOUT_MS 32000u  /* ... up to this */
#define MAX_COUNTER 9007199254740991u /* 2^53 - 1 */

#define BOOT_BYTES 8
#define SEED_BYTES 32
#define KEY_BYTES 32
#define SECRET_BYTES 64
#define SIGNATURE_BYTES 64

#define MAX_PACKET_BYTES 4096      /* what the specification allows */
#define MAX_HOST_PACKET_BYTES 128  /* the largest packet that a host sends */
#define BATCH_BYTES (READINGS_BYTES + 256) /* a signed batch: its readings, and at most 196 bytes around them */
#define PACKET_BYTES (BATCH_BYTES + 32)    /* the largest packet that this device sends; a hello has at most 286 */
#define FRAME_BYTES (PACKET_BYTES + PACKET_BYTES / 254 + 1 + 2) /* its COBS encoding and both delimiters */

#if PACKET_BYTES > MAX_PACKET_BYTES
#error "a batch must fit one packet"
#endif
#if READINGS_BYTES < 64 || RING < 1 || WINDOW < 1 || WINDOW > RING
#error "too small, or a window larger than the ring"
#endif

#endif
