/* The baseline: what a server costs that makes one send() call for every message and member.
 *
 * One thread, epoll, no storage, no rights, no windows. It speaks as much of chat.v1.json as load.c needs:
 * hello -> welcome, call submit -> a push to every connection of the room and a reply, ack (taken and dropped).
 * A member's token is CONVERSATION.ANYTHING; a room is all connections whose tokens begin alike.
 * --drop, --double, --swap, --renumber, --mute N plant a defect at every N-th delivery (receipt for the last two),
 * so that the generator's checks are themselves checked. --joined 1 collects a turn's writes for each socket, as the
 * server under test does: the floor that is left when the calls are gone, and the generator's own cost.
 *
 * It prints `http://127.0.0.1:PORT` when it accepts connections.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "websocket.h"

typedef struct Connection Connection;
typedef struct {
    char name[65];
    Connection **members;
    size_t count, room;
    long seq;
} Room;

struct Connection {
    int fd;
    bool upgraded;
    Room *room;
    size_t place; /* in room->members */
    uint8_t *in, *out;
    size_t in_len, in_room, out_len, out_room;
};

static int epoll_fd;
static Room *rooms;
static size_t room_count;
static uint8_t chunk[1 << 18];
static long every_drop, every_double, every_swap, every_renumber, every_mute, deliveries, receipts, joined;
static Connection *dirty[1 << 16]; /* --joined: who has bytes to write at the end of this turn */
static size_t dirty_count;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void *grown(void *p, size_t size) {
    p = realloc(p, size);
    if (!p) die("realloc");
    return p;
}

static void append(uint8_t **buf, size_t *len, size_t *room, const void *p, size_t n) {
    if (*len + n > *room) *buf = grown(*buf, *room = (*len + n) * 2);
    memcpy(*buf + *len, p, n);
    *len += n;
}

/* --- the handshake's digest (RFC 3174), for a message of one or two blocks --- */
static void sha1_base64(const char *text, char out[29]) {
    uint8_t block[128] = {0};
    size_t n = strlen(text), total = n + 9 > 64 ? 128 : 64;
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    memcpy(block, text, n);
    block[n] = 0x80;
    block[total - 2] = (uint8_t)(n * 8 >> 8);
    block[total - 1] = (uint8_t)(n * 8);
#define ROL(v, s) ((v) << (s) | (v) >> (32 - (s)))
    for (size_t at = 0; at < total; at += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)block[at + 4 * i] << 24 | block[at + 4 * i + 1] << 16 | block[at + 4 * i + 2] << 8 |
                   block[at + 4 * i + 3];
        for (int i = 16; i < 80; i++) w[i] = ROL(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
            uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
            uint32_t t = ROL(a, 5) + f + e + k + w[i];
            e = d, d = c, c = ROL(b, 30), b = a, a = t;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t raw[21] = {0};
    for (int i = 0; i < 20; i++) raw[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0, o = 0; i < 21; i += 3) {
        uint32_t v = (uint32_t)raw[i] << 16 | raw[i + 1] << 8 | raw[i + 2];
        for (int s = 18; s >= 0; s -= 6) out[o++] = digit[v >> s & 63];
    }
    out[27] = '=';
    out[28] = 0;
}

static void leave(Connection *c) {
    if (!c->room) return;
    Room *r = c->room;
    r->members[c->place] = r->members[--r->count];
    r->members[c->place]->place = c->place;
    c->room = NULL;
}

static void drop(Connection *c) {
    leave(c);
    close(c->fd);
    free(c->in);
    free(c->out);
    if (!joined) c->out_len = 0;
    c->fd = -1; /* freed by the loop: this turn may still name it */
}

static void watch(Connection *c, int op, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, op, c->fd, &e)) die("epoll_ctl");
}

static void write_to(Connection *c, const void *p, size_t n) {
    if (c->fd < 0) return;
    if (joined && !c->out_len) {
        dirty[dirty_count++] = c;
    } else if (!c->out_len) {
        ssize_t done = send(c->fd, p, n, MSG_NOSIGNAL);
        if (done == (ssize_t)n) return;
        if (done < 0 && errno != EAGAIN) return; /* its end of stream will be read */
        if (done > 0) p = (const char *)p + done, n -= (size_t)done;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    append(&c->out, &c->out_len, &c->out_room, p, n);
}

static void flush(Connection *c) {
    ssize_t done = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (done <= 0) return;
    memmove(c->out, c->out + done, c->out_len -= (size_t)done);
    if (!c->out_len && !joined) watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static size_t framed(uint8_t *out, const char *payload, size_t n) {
    size_t header = ws_header(out, WS_TEXT, n, NULL);
    memcpy(out + header, payload, n);
    return header + n;
}

static void say(Connection *c, const char *payload, size_t n) {
    static uint8_t frame[1 << 17];
    write_to(c, frame, framed(frame, payload, n));
}

/* The string value of a key that our own generator wrote without white space or escapes. */
static bool field(const char *text, const char *key, char *out, size_t room) {
    const char *at = strstr(text, key), *end = at ? strchr(at += strlen(key), '"') : NULL;
    if (!end || (size_t)(end - at) >= room) return false;
    memcpy(out, at, (size_t)(end - at));
    out[end - at] = 0;
    return true;
}

static bool planted(long every, long count) { return every && count % every == 0; }

static void join(Connection *c, const char *text) {
    char token[129];
    if (!field(text, "\"token\":\"", token, sizeof token)) return;
    char *dot = strchr(token, '.');
    if (dot) *dot = 0;
    token[64] = 0;
    Room *r = NULL;
    for (size_t i = room_count; i-- && !r;)
        if (!strcmp(rooms[i].name, token)) r = &rooms[i];
    if (!r) {
        if (room_count == 1 << 16) return;
        r = &rooms[room_count++];
        strcpy(r->name, token);
    }
    if (r->count == r->room) r->members = grown(r->members, (r->room = r->room * 2 + 8) * sizeof *r->members);
    c->room = r;
    c->place = r->count;
    r->members[r->count++] = c;
    static const char welcome[] =
        "{\"op\":\"welcome\",\"session\":\"csend\",\"resumed\":false,\"device\":\"d\",\"epoch\":\"e\",\"version\":1,"
        "\"heartbeat\":30,\"resume_for\":60,\"window\":256,\"limits\":{},\"server_time\":1,\"node\":\"n\"}";
    say(c, welcome, sizeof welcome - 1);
}

static void relay(Connection *c, const char *text, const char *ref) {
    static char push[1 << 17];
    static uint8_t frame[1 << 17], held[1 << 17];
    static size_t held_len;
    static Connection *held_for;
    Room *r = c->room;
    const char *body = strstr(text, "\"body\":"), *end = text + strlen(text) - 2; /* before params' and call's brace */
    if (!r || !body) return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    r->seq++;
    int n = snprintf(push, sizeof push,
                     "{\"op\":\"push\",\"event\":\"message\",\"data\":{\"conversation\":\"%s\",\"seq\":%ld,\"rev\":%ld,"
                     "\"sender\":\"u0123456789abcdef\",\"ref\":\"%s\",\"kind\":\"text\",%.*s,\"time\":%lld}}",
                     r->name, r->seq, r->seq, ref, (int)(end - body), body,
                     (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    size_t len = framed(frame, push, (size_t)n);
    for (size_t i = 0; i < r->count; i++) {
        Connection *to = r->members[i];
        deliveries++;
        if (planted(every_drop, deliveries)) continue;
        if (planted(every_swap, deliveries) && !held_for) { /* goes out behind its successor */
            held_for = to;
            memcpy(held, frame, held_len = len);
            continue;
        }
        write_to(to, frame, len);
        if (planted(every_double, deliveries)) write_to(to, frame, len);
        if (held_for == to) {
            write_to(to, held, held_len);
            held_for = NULL;
        }
    }
    receipts++;
    if (planted(every_mute, receipts)) return;
    long seq = r->seq + planted(every_renumber, receipts);
    n = snprintf(push, sizeof push,
                 "{\"op\":\"reply\",\"ref\":\"%s\",\"result\":{\"conversation\":\"%s\",\"seq\":%ld,\"rev\":%ld,"
                 "\"time\":%lld}}",
                 ref, r->name, seq, seq, (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    say(c, push, (size_t)n);
}

static void take(Connection *c, char *text) {
    if (!strncmp(text, "{\"op\":\"ack\"", 11)) return;
    if (!strncmp(text, "{\"op\":\"hello\"", 13)) {
        join(c, text);
        return;
    }
    char ref[65], answer[256];
    if (strncmp(text, "{\"op\":\"call\"", 12) || !field(text, "\"ref\":\"", ref, sizeof ref)) return;
    if (strstr(text, "\"command\":\"submit\"")) {
        relay(c, text, ref);
        return;
    }
    int n = snprintf(answer, sizeof answer,
                     "{\"op\":\"reply\",\"ref\":\"%s\",\"result\":{\"epoch\":\"e\",\"version\":1,\"rev\":%ld,"
                     "\"more\":false,\"inbox\":[],\"messages\":[],\"members\":[]}}",
                     ref, c->room ? c->room->seq : 0);
    say(c, answer, (size_t)n);
}

static bool upgrade(Connection *c, const char *request) {
    char key[32], accept[29], full[80], answer[256];
    const char *at = strcasestr(request, "\r\nsec-websocket-key:");
    if (!at || sscanf(at + 20, " %24[A-Za-z0-9+/=]", key) != 1) return false;
    snprintf(full, sizeof full, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1_base64(full, accept);
    int n = snprintf(answer, sizeof answer,
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: chat.v1.json\r\n\r\n",
                     accept);
    write_to(c, answer, (size_t)n);
    return c->upgraded = true;
}

/* Takes whole requests and frames from p; returns the bytes used, or -1 when the connection has to end. */
static ssize_t feed(Connection *c, uint8_t *p, size_t n) {
    size_t at = 0;
    if (!c->upgraded) {
        uint8_t *end = memmem(p, n, "\r\n\r\n", 4);
        if (!end) return n > 8192 ? -1 : 0;
        *end = 0;
        if (!upgrade(c, (char *)p)) return -1;
        at = (size_t)(end + 4 - p);
    }
    while (at < n) {
        WsFrame f;
        int whole = ws_peek(p + at, n - at, &f);
        if (whole < 0 || (whole && !f.masked)) return -1;
        if (!whole) break;
        uint8_t *payload = p + at + f.header;
        at += f.header + f.payload;
        ws_mask(payload, f.payload, f.mask);
        if (f.opcode == WS_CLOSE) return -1;
        if (f.opcode != WS_TEXT) continue;
        uint8_t behind = payload[f.payload]; /* the buffers have a byte to spare */
        payload[f.payload] = 0;
        take(c, (char *)payload);
        payload[f.payload] = behind;
    }
    return (ssize_t)at;
}

static void readable(Connection *c) {
    ssize_t n = recv(c->fd, chunk, sizeof chunk - 1, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        drop(c);
        return;
    }
    uint8_t *p = chunk;
    size_t len = (size_t)n;
    if (c->in_len) {
        append(&c->in, &c->in_len, &c->in_room, chunk, len + 1);
        c->in_len--;
        p = c->in, len = c->in_len;
    }
    ssize_t used = feed(c, p, len);
    if (used < 0) {
        drop(c);
        return;
    }
    size_t left = len - (size_t)used;
    if (p == c->in) {
        memmove(c->in, c->in + used, c->in_len = left);
    } else if (left) {
        append(&c->in, &c->in_len, &c->in_room, p + used, left);
    }
}

int main(int argc, char **argv) {
    int port = 0, one = 1;
    struct { const char *name; long *value; } plant[] = {
        {"--drop", &every_drop}, {"--double", &every_double}, {"--swap", &every_swap},
        {"--renumber", &every_renumber}, {"--mute", &every_mute}, {"--joined", &joined},
    };
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--port")) port = atoi(argv[i + 1]);
        for (size_t k = 0; k < sizeof plant / sizeof *plant; k++)
            if (!strcmp(argv[i], plant[k].name)) *plant[k].value = atol(argv[i + 1]);
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    rooms = calloc(1 << 16, sizeof *rooms);
    epoll_fd = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof a;
    if (bind(listener, (struct sockaddr *)&a, size) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&a, &size);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[512];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    printf("http://127.0.0.1:%d\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 512, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (c) {
                if (events[i].events & EPOLLOUT) flush(c);
                if (events[i].events & ~EPOLLOUT) readable(c);
                if (c->fd < 0 && !c->out_len) free(c);
                continue;
            }
            for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                c = calloc(1, sizeof *c);
                c->fd = fd;
                watch(c, EPOLL_CTL_ADD, EPOLLIN);
            }
        }
        while (dirty_count) {
            Connection *c = dirty[--dirty_count];
            if (c->fd < 0) free(c);
            else if (flush(c), c->out_len) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        }
    }
}
