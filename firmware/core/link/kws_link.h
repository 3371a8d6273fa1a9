/* The device's half of docs/protocol.md: COBS frames with CRC-32, sequence numbers and credit.
 * Knows no port: bytes come in by kws_link_receive() and go out by a callback. No heap, all lengths bounded. */
#ifndef KWS_LINK_H
#define KWS_LINK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KWS_LINK_PROTOCOL 1
#define KWS_LINK_MAX_PAYLOAD 512
#define KWS_LINK_HEADER_BYTES 6
#define KWS_LINK_CRC_BYTES 4
#define KWS_LINK_MAX_FRAME (KWS_LINK_HEADER_BYTES + KWS_LINK_MAX_PAYLOAD + KWS_LINK_CRC_BYTES)
/* COBS adds one byte for every 254 begun; the terminating zero is not in this. */
#define KWS_LINK_MAX_RUN (KWS_LINK_MAX_FRAME + (KWS_LINK_MAX_FRAME + 253) / 254)

enum {
  KWS_CMD_HELLO = 0x01,
  KWS_CMD_INFO = 0x02,
  KWS_CMD_STATS = 0x03,
  KWS_CMD_STREAM_START = 0x04,
  KWS_CMD_STREAM_DATA = 0x05,
  KWS_CMD_STREAM_STOP = 0x06,
  KWS_CMD_INFER_FEATURES = 0x07,
  KWS_CMD_RESET = 0x08,
  KWS_CMD_SET_DETECTOR = 0x09,
  KWS_CMD_DIE = 0x0A,
  KWS_CMD_PROFILE = 0x0B,

  KWS_EVT_ACK = 0x80,
  KWS_EVT_NAK = 0x81,
  KWS_EVT_HELLO_REPLY = 0x82,
  KWS_EVT_INFO_REPLY = 0x83,
  KWS_EVT_STATS_REPLY = 0x84,
  KWS_EVT_RESULT = 0x85,
  KWS_EVT_DETECTION = 0x86,
  KWS_EVT_LOG = 0x87,
  KWS_EVT_FAULT = 0x88,
  KWS_EVT_FEATURES = 0x89,
  KWS_EVT_ERROR = 0x8A,
  KWS_EVT_STREAM_DONE = 0x8B,
  KWS_EVT_READY = 0x8C,
  KWS_EVT_SET_DETECTOR_OK = 0x8D,
  KWS_EVT_RESET_OK = 0x8E,
  KWS_EVT_PROFILE_REPLY = 0x8F,
  KWS_EVT_AUDIO = 0x90,
};

enum {
  KWS_NAK_MALFORMED = 1,
  KWS_NAK_CRC = 2,
  KWS_NAK_OVERSIZED = 3,
  KWS_NAK_LENGTH = 4,
  KWS_NAK_MISSING = 5,
  KWS_NAK_VERSION = 6,
};

/* Of ERROR: why a command was not carried out. */
enum {
  KWS_ERROR_UNKNOWN = 1,
  KWS_ERROR_PAYLOAD = 2,
  KWS_ERROR_STATE = 3,
  KWS_ERROR_UNSUPPORTED = 4,
  KWS_ERROR_ENGINE = 5,
  KWS_ERROR_POSITION = 6,
};

/* Of LOG. */
enum { KWS_LOG_DEBUG = 0, KWS_LOG_INFO = 1, KWS_LOG_WARNING = 2, KWS_LOG_ERROR = 3 };

/* The fields of INFO_REPLY. */
enum {
  KWS_INFO_FIRMWARE = 1,
  KWS_INFO_BOARD = 2,
  KWS_INFO_ENGINE = 3,
  KWS_INFO_MODEL_HASH = 4,
  KWS_INFO_LABELS = 5,
  KWS_INFO_SHAPE = 6,
  KWS_INFO_TIMER = 7,
  KWS_INFO_TIMER_SOURCE = 8,
  KWS_INFO_MEMORY = 9,
  KWS_INFO_DETECTOR = 10,
  KWS_INFO_BUILD = 11,
  KWS_INFO_MORE = 12,
  KWS_INFO_PART = 13,
};

/* In the order of STATS_REPLY; what the port counts is filled in by the application. */
typedef struct {
  uint32_t rx_frames; /* acted on */
  uint32_t rx_malformed, rx_crc, rx_oversized, rx_length, rx_missing, rx_duplicate, rx_version;
  uint32_t tx_frames, tx_dropped;
} kws_link_stats_t;

/* Takes up to n bytes; returns how many. Fewer than n means that the rest of the frame is lost. */
typedef size_t (*kws_link_write_fn)(void *context, const uint8_t *data, size_t n);
/* Called for every frame that is in order and whole. payload is valid until the call returns. */
typedef void (*kws_link_frame_fn)(void *context, uint8_t type, uint16_t seq, const uint8_t *payload, uint16_t len);

typedef struct {
  kws_link_write_fn write;
  kws_link_frame_fn on_frame;
  void *context;
  kws_link_stats_t stats;

  uint16_t window;      /* frames that the receive ring has room for */
  uint16_t rx_expected; /* seq of the next frame to act on */
  uint16_t rx_unacked;  /* acted on since the last ACK */
  uint16_t rx_run;      /* non-zero bytes since the last zero */
  uint16_t rx_len;      /* bytes decoded into rx_frame */
  uint8_t rx_block;     /* bytes still to come of the COBS block */
  uint8_t rx_zero;      /* that block ends in a zero, unless it is the last */
  uint8_t rx_oversized;
  uint8_t open;      /* a HELLO came */
  uint8_t gap_nak;   /* the NAK for the present gap was sent */
  uint8_t ack_owed;  /* a duplicate wants its ACK */
  uint8_t tx_resync; /* the next frame begins with an extra zero */
  uint16_t tx_seq;

  uint8_t rx_frame[KWS_LINK_MAX_RUN];
  uint8_t tx_frame[1 + KWS_LINK_MAX_RUN + 1];
} kws_link_t;

/* window: frames of the longest kind that fit in the bytes the port can hold; at least 1. */
void kws_link_init(kws_link_t *link, uint16_t window, kws_link_write_fn write, kws_link_frame_fn on_frame,
                   void *context);
/* Takes bytes until one frame has ended or n are used up; returns how many were taken. */
size_t kws_link_receive(kws_link_t *link, const uint8_t *data, size_t n);
/* To be called when no input waits: sends an ACK that is owed. */
void kws_link_idle(kws_link_t *link);
/* 0, or -1: dropped and counted (too long, or the port did not take it). */
int kws_link_send(kws_link_t *link, uint8_t type, const uint8_t *payload, size_t len);

/* CRC-32 of IEEE 802.3 (reflected 0xEDB88320). crc: 0 to begin, else what the last call gave. */
uint32_t kws_crc32(uint32_t crc, const uint8_t *data, size_t n);

static inline void kws_put16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}
static inline void kws_put32(uint8_t *p, uint32_t v) {
  kws_put16(p, (uint16_t)v);
  kws_put16(p + 2, (uint16_t)(v >> 16));
}
static inline uint16_t kws_get16(const uint8_t *p) { return (uint16_t)(p[0] | (p[1] << 8)); }
static inline uint32_t kws_get32(const uint8_t *p) { return kws_get16(p) | ((uint32_t)kws_get16(p + 2) << 16); }

#ifdef __cplusplus
}
#endif
#endif
