/* The load generator: thousands of chat.v1.json clients in one thread, which count every delivery.
 *
 *   load room  --port P --tokens FILE [--senders 1] [--inflight 8 | --rate 20] [--release delivered|receipt]
 *              [--seconds 8] [--warmup 2] [--refs FILE]
 *   load idle  --port P --tokens FILE [--seconds 60]
 *   load storm --port P --tokens FILE [--resume 1] [--missed 4] [--jitter 0] [--cut fin|rst] [--refs FILE]
 *
 * FILE has one member a line: TOKEN CONVERSATION. In each conversation the first `--senders` members speak.
 * Every text begins with the run, the conversation and an index, so a delivery is told from its copy, its loss and
 * its neighbour; numbers (seq, rev) are compared between all members and with the receipt. Members acknowledge every
 * 16 pushes or 200 ms and at once on a beat, and sync as protocol.md says: on a jump, `lagged`, `behind`, and after a
 * connect that was not resumed. `--server-pid` reads that process's CPU clock (all its threads) around the window.
 *
 * One JSON object goes to stdout; progress to stderr. Exit status 1: the run could not be made; what the server did
 * wrong is in the object (`defects`), and no clock fails anything.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "scan.h"
#include "websocket.h"

#define MS 1000000LL
#define SECOND 1000000000LL
enum { ACK_EVERY = 16, SOURCES = 4 };
static const int64_t ACK_AFTER = 200 * MS, CONNECT_TIMEOUT = 20 * SECOND, STALL = 3 * SECOND, SETTLE = 5 * SECOND;

typedef struct { /* one submit */
    uint64_t nonce;
    int64_t sent, seq, rev;
    uint32_t sender, missing; /* members that have not got it */
    bool receipted, refused, measured;
} Sent;

typedef struct {
    char id[65];
    uint32_t *member;
    uint32_t members, room;
    Sent *sent;
    uint32_t count, sent_room;
} Conversation;

enum state { OFF, CONNECTING, UPGRADING, GREETING, READY };
enum call { NONE, INBOX, SYNC_USER, SYNC_CONVERSATION };

typedef struct {
    int fd;
    enum state state;
    enum call call;
    bool wants_sync, behind, ack_queued, resumes, wants_reconnect, sender, caught_up;
    uint32_t conversation, inflight, ack_next;
    int64_t received, acked, pushed_rev, held, version, ack_at, begun, retry_at;
    char *token, session[65], epoch[65];
    uint8_t *in, *out;
    size_t in_len, in_room, out_len, out_room;
    uint64_t *seen;
    uint32_t seen_words;
} Member;

static struct {
    const char *scenario, *tokens, *release, *refs, *cut, *platform, *host;
    double seconds, warmup, rate, jitter;
    long port, senders, inflight, server_pid, core, parallel, text, missed, resume, inbox;
} opt = {.release = "delivered", .cut = "fin", .platform = "linux", .host = "127.0.0.1", .seconds = 8, .warmup = 2,
         .senders = 1, .inflight = 8, .core = -1, .parallel = 256, .text = 128, .missed = 4, .resume = 1};

static struct { /* what a right server never does */
    uint64_t lost, doubled, swapped, renumbered, foreign, unreceipted, refused, malformed, closed, ack_refused;
} defects;

static struct {
    uint64_t submits, receipts, pushes, deliveries, synced, other, lagged, gaps, syncs, beats, behind, acks, messages_read,
        bytes, reads, stalls, retries, welcomes, resumed, released;
} tally;

static Member *members;
static Conversation *conversations;
static uint32_t member_count, conversation_count, run, ready, caught, connecting, connect_next;
static int epoll_fd;
static clockid_t server_clock;
static int64_t now;
static bool sending, measuring, storming;
static int64_t next_send;
static uint32_t next_sender, ack_head = UINT32_MAX, ack_tail = UINT32_MAX;
static Histogram receipt_time, delivery_time, complete_time, all_but_one_percent_time, back_time;
static uint8_t chunk[1 << 18];
static struct { char code[40]; uint64_t count; } errors[32], closes[32];

static void quit(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void *grown(void *p, size_t size) {
    p = realloc(p, size);
    if (!p) quit("out of memory");
    return p;
}

static int64_t clock_now(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t)) return 0;
    return t.tv_sec * SECOND + t.tv_nsec;
}

static uint64_t any(void) { /* xorshift; masks and nonces need no more */
    static uint64_t x;
    if (!x && getrandom(&x, sizeof x, 0) != sizeof x) x = 88172645463325252ULL;
    x ^= x << 13, x ^= x >> 7;
    return x ^= x << 17;
}

static void count_code(void *table, Str code) {
    struct { char code[40]; uint64_t count; } *t = table;
    uint32_t n = code.n < 39 ? code.n : 39;
    for (int i = 0; i < 32; i++) {
        if (t[i].count && (strlen(t[i].code) != n || memcmp(t[i].code, code.s, n))) continue;
        memcpy(t[i].code, code.s, n);
        t[i].count++;
        return;
    }
}

/* --- what goes out --- */

static void watch(Member *m, int op, uint32_t events) {
    struct epoll_event e = {.events = events | EPOLLET, .data.u32 = (uint32_t)(m - members)};
    if (epoll_ctl(epoll_fd, op, m->fd, &e)) quit("epoll_ctl: %s", strerror(errno));
}

static void put(Member *m, const void *p, size_t n) {
    if (!m->out_len) {
        ssize_t done = send(m->fd, p, n, MSG_NOSIGNAL);
        if (done == (ssize_t)n || (done < 0 && errno != EAGAIN)) return; /* a broken socket is seen by its read */
        if (done > 0) p = (const char *)p + done, n -= (size_t)done;
        watch(m, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    if (m->out_len + n > m->out_room) m->out = grown(m->out, m->out_room = (m->out_len + n) * 2);
    memcpy(m->out + m->out_len, p, n);
    m->out_len += n;
}

static void put_frame(Member *m, int opcode, const void *payload, size_t n) {
    static uint8_t frame[1 << 16];
    uint32_t mask = (uint32_t)any();
    uint8_t key[4];
    memcpy(key, &mask, 4);
    size_t header = ws_header(frame, opcode, n, key);
    memcpy(frame + header, payload, n);
    ws_mask(frame + header, n, key);
    put(m, frame, header + n);
}

static void say(Member *m, const char *format, ...) {
    static char text[1 << 15];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_frame(m, WS_TEXT, text, (size_t)n);
}

static void ack(Member *m) {
    char text[64];
    int n = snprintf(text, sizeof text, "{\"op\":\"ack\",\"received\":%lld}", (long long)m->received);
    put_frame(m, WS_TEXT, text, (size_t)n);
    m->acked = m->received;
    tally.acks++;
}

static void ack_later(Member *m) {
    if (m->ack_queued) return;
    m->ack_queued = true;
    m->ack_at = now + ACK_AFTER;
    m->ack_next = UINT32_MAX;
    uint32_t i = (uint32_t)(m - members);
    if (ack_head == UINT32_MAX) ack_head = i;
    else members[ack_tail].ack_next = i;
    ack_tail = i;
}

static void acks_due(bool all) {
    while (ack_head != UINT32_MAX && (all || members[ack_head].ack_at <= now)) {
        Member *m = &members[ack_head];
        ack_head = m->ack_next;
        m->ack_queued = false;
        if (m->state == READY && m->received > m->acked) ack(m);
    }
}

static void submit(Member *m) {
    static char filler[1 << 14];
    Conversation *c = &conversations[m->conversation];
    if (!*filler) memset(filler, 'x', sizeof filler - 1);
    if (c->count == c->sent_room) c->sent = grown(c->sent, (c->sent_room = c->sent_room * 2 + 64) * sizeof *c->sent);
    Sent *s = &c->sent[c->count];
    *s = (Sent){.nonce = any(), .seq = -1, .rev = -1, .sender = (uint32_t)(m - members), .missing = c->members,
                .measured = measuring, .sent = clock_now(CLOCK_MONOTONIC)};
    m->inflight++;
    tally.submits++;
    say(m,
        "{\"op\":\"call\",\"ref\":\"%016llx-%x-%x\",\"command\":\"submit\",\"params\":{\"conversation\":\"%s\","
        "\"kind\":\"text\",\"body\":{\"text\":\"#%08x-%08x-%08x %.*s\"}}}",
        (unsigned long long)s->nonce, m->conversation, c->count, c->id, run, m->conversation, c->count,
        (int)(opt.text > 28 ? opt.text - 28 : 0), filler);
    c->count++;
}

static void pump(Member *m) {
    while (sending && !opt.rate && m->sender && m->state == READY && m->inflight < opt.inflight) submit(m);
}

static void pump_paced(void) {
    if (!next_send) next_send = now;
    while (sending && next_send <= now) {
        for (uint32_t tries = 0; tries < member_count; tries++) {
            Member *m = &members[next_sender++ % member_count];
            if (!m->sender || m->state != READY) continue;
            submit(m);
            break;
        }
        next_send += (int64_t)(1e9 / opt.rate);
    }
}

static void release(Member *m) {
    tally.released++;
    if (m->inflight) m->inflight--;
    pump(m);
}

/* --- what a client keeps right --- */

static void call_sync(Member *m) {
    static uint32_t calls;
    const char *epoch = m->epoch;
    m->wants_sync = false;
    tally.syncs++;
    if (m->call == INBOX)
        say(m, "{\"op\":\"call\",\"ref\":\"s%x\",\"command\":\"inbox.list\",\"params\":{}}", calls++);
    else if (m->call == SYNC_USER)
        say(m,
            "{\"op\":\"call\",\"ref\":\"s%x\",\"command\":\"sync\",\"params\":{\"epoch\":\"%s\",\"version\":%lld,"
            "\"limit\":100}}",
            calls++, epoch, (long long)m->version);
    else
        say(m,
            "{\"op\":\"call\",\"ref\":\"s%x\",\"command\":\"sync\",\"params\":{\"epoch\":\"%s\","
            "\"conversation\":\"%s\",\"rev\":%lld,\"limit\":100}}",
            calls++, epoch, conversations[m->conversation].id, (long long)(m->held < 0 ? 0 : m->held));
}

static void want_sync(Member *m, enum call kind) {
    m->wants_sync = true;
    if (kind == SYNC_USER) m->behind = true;
    if (m->call != NONE) return; /* once more when the running one has answered */
    m->call = m->behind && m->version >= 0 ? SYNC_USER : SYNC_CONVERSATION;
    m->behind = false;
    call_sync(m);
}

static bool complete(const Member *m) {
    const Conversation *c = &conversations[m->conversation];
    for (uint32_t i = 0; i < c->count; i++)
        if (!c->sent[i].refused && (i / 64 >= m->seen_words || !(m->seen[i / 64] >> i % 64 & 1))) return false;
    return true;
}

static void settle(Member *m) { /* no sync runs any more */
    m->call = NONE;
    if (m->wants_sync) want_sync(m, SYNC_CONVERSATION);
    else if (storming && !m->caught_up && complete(m)) {
        m->caught_up = true;
        caught++;
        histogram_add(&back_time, now - m->begun);
    }
}

/* Takes a message of ours into the ledger; false: this member had it. */
static bool take(Member *m, const Message *d, bool pushed) {
    Conversation *c = &conversations[m->conversation];
    if (d->tag_conversation != m->conversation || d->tag_index >= c->count) {
        defects.foreign++;
        return false;
    }
    uint32_t i = (uint32_t)d->tag_index, word = i / 64;
    Sent *s = &c->sent[i];
    if (s->seq < 0) s->seq = d->seq, s->rev = d->rev;
    if (s->seq != d->seq || s->rev != d->rev) defects.renumbered++;
    if (word >= m->seen_words) {
        uint32_t words = word * 2 + 4;
        m->seen = grown(m->seen, words * sizeof *m->seen);
        memset(m->seen + m->seen_words, 0, (words - m->seen_words) * sizeof *m->seen);
        m->seen_words = words;
    }
    if (m->seen[word] >> i % 64 & 1) return false;
    m->seen[word] |= 1ULL << i % 64;
    if (pushed) {
        tally.deliveries++;
        if (s->measured) histogram_add(&delivery_time, now - s->sent);
    } else {
        tally.synced++;
    }
    s->missing--;
    if (s->missing == c->members / 100 && s->measured) histogram_add(&all_but_one_percent_time, now - s->sent);
    if (!s->missing) {
        if (s->measured) histogram_add(&complete_time, now - s->sent);
        if (*opt.release == 'd') release(&members[s->sender]);
    }
    return true;
}

static void on_push(Member *m, const Frame *f) {
    const Message *d = &f->data;
    m->received++;
    tally.pushes++;
    bool message = is(f->event, "message");
    if (!message && !is(f->event, "members") && !is(f->event, "conversation")) {
        tally.other++;
        return;
    }
    Str id = d->conversation;
    const char *mine = conversations[m->conversation].id;
    if (id.n && !is(id, mine)) {
        if (d->tag_run == run) defects.foreign++;
        tally.other++;
        return;
    }
    bool fresh = false;
    if (message && d->tag_run == run) fresh = take(m, d, true);
    else tally.other++;
    if (d->rev < 0) return;
    if (d->rev <= m->pushed_rev) {
        if (fresh) defects.swapped++;
        else defects.doubled++;
        return;
    }
    m->pushed_rev = d->rev;
    int64_t since = d->since >= 0 ? d->since : d->rev - 1;
    if (m->held < 0 || since <= m->held) {
        if (d->rev > m->held) m->held = d->rev;
    } else {
        tally.gaps++;
        want_sync(m, SYNC_CONVERSATION);
    }
    if (storming && m->call == NONE && !m->caught_up) settle(m);
}

static void on_submitted(Member *m, const Frame *f) {
    unsigned long long nonce;
    unsigned conversation, index;
    char ref[65];
    if (f->ref.n > 64) return;
    memcpy(ref, f->ref.s, f->ref.n);
    ref[f->ref.n] = 0;
    if (sscanf(ref, "%16llx-%x-%x", &nonce, &conversation, &index) != 3 || conversation >= conversation_count ||
        index >= conversations[conversation].count || conversations[conversation].sent[index].nonce != nonce) {
        defects.malformed++;
        return;
    }
    Sent *s = &conversations[conversation].sent[index];
    if (f->op == OP_ERROR) {
        count_code(errors, f->code);
        defects.refused++;
        s->refused = true;
        release(m);
        return;
    }
    if (s->receipted) defects.doubled++;
    s->receipted = true;
    tally.receipts++;
    if (s->seq < 0) s->seq = f->data.seq, s->rev = f->data.rev;
    if (s->seq != f->data.seq || s->rev != f->data.rev) defects.renumbered++;
    if (s->measured) histogram_add(&receipt_time, now - s->sent);
    if (*opt.release == 'r') release(m);
}

static void on_synced(Member *m, const Scan *scan, const Frame *f) {
    const Message *d = &f->data;
    if (f->op == OP_ERROR) {
        count_code(errors, f->code);
        settle(m);
        return;
    }
    if (m->call == SYNC_CONVERSATION) {
        for (int i = 0; i < f->messages; i++)
            if (scan->message[f->first + i].tag_run == run) take(m, &scan->message[f->first + i], false);
        if (d->rev > m->held) m->held = d->rev;
        if (d->more) call_sync(m);
        else settle(m);
        return;
    }
    if (d->version >= 0) m->version = d->version;
    if (d->epoch.n && d->epoch.n < 65) memcpy(m->epoch, d->epoch.s, d->epoch.n), m->epoch[d->epoch.n] = 0;
    int64_t head = -1;
    for (int i = 0; i < f->inbox; i++) {
        const Message *row = &scan->message[f->first_inbox + i];
        if (is(row->conversation, conversations[m->conversation].id)) head = row->rev;
    }
    if (m->call == INBOX) {
        if (head > m->held) m->held = head;
        settle(m);
    } else {
        if (head > m->held) m->wants_sync = true;
        if (d->more) call_sync(m), m->wants_sync |= head > m->held;
        else settle(m);
    }
}

static void on_welcome(Member *m, const Frame *f) {
    if (f->session.n > 64 || f->epoch.n > 64) {
        defects.malformed++;
        return;
    }
    memcpy(m->session, f->session.s, f->session.n);
    m->session[f->session.n] = 0;
    memcpy(m->epoch, f->epoch.s, f->epoch.n);
    m->epoch[f->epoch.n] = 0;
    m->state = READY;
    connecting--;
    ready++;
    tally.welcomes++;
    if (f->resumed) {
        tally.resumed++;
        settle(m);
    } else {
        m->received = m->acked = m->pushed_rev = 0;
        if (m->resumes || (storming && m->version >= 0)) want_sync(m, SYNC_USER);
        else if (opt.inbox) m->call = INBOX, call_sync(m);
    }
    m->resumes = false;
    pump(m);
}

static void on_frame(Member *m, const Scan *scan, const Frame *f) {
    switch (f->op) {
    case OP_PUSH: on_push(m, f); break;
    case OP_LAGGED:
        m->received++;
        tally.lagged++;
        want_sync(m, SYNC_USER);
        break;
    case OP_BEAT:
        tally.beats++;
        if (f->version >= 0) m->version = f->version;
        ack(m);
        if (f->behind) tally.behind++, want_sync(m, SYNC_USER);
        break;
    case OP_WELCOME: on_welcome(m, f); break;
    case OP_REPLY:
    case OP_ERROR:
        if (f->ref.n && *f->ref.s == 's') on_synced(m, scan, f);
        else if (f->ref.n) on_submitted(m, f);
        else count_code(errors, f->code), defects.ack_refused++;
        break;
    case OP_BYE: count_code(closes, f->reason.n ? f->reason : f->code); break;
    default: break;
    }
}

/* What all members get is the same bytes: scanned once, then compared. */
typedef struct {
    char *bytes;
    size_t len, room;
    int frames, frame_room;
    Frame *frame;
} Memo;

static void read_tag(Message *d) {
    unsigned r, c, i;
    if (d->text.n < 28 || *d->text.s != '#') return;
    char tag[28];
    memcpy(tag, d->text.s, 27);
    tag[27] = 0;
    if (sscanf(tag, "#%8x-%8x-%8x", &r, &c, &i) == 3) d->tag_run = r, d->tag_conversation = c, d->tag_index = i;
}

static bool scan_tagged(Scan *s, const char *p, size_t n) {
    if (!scan(s, p, n)) return false;
    for (int i = 0; i < s->frames; i++) read_tag(&s->frame[i].data);
    for (int i = 0; i < s->messages; i++) read_tag(&s->message[i]);
    return true;
}

static uint64_t hash_of(const char *p, size_t n) { /* four lanes, so that they do not wait for each other; n >= 32 */
    uint64_t lane[4] = {n, 1, 2, 3};
    for (size_t at = 0;; at = at + 64 > n ? n - 32 : at + 32) {
        for (int i = 0; i < 4; i++) {
            uint64_t v;
            memcpy(&v, p + at + 8 * i, 8);
            lane[i] = (lane[i] ^ v) * 0x9E3779B97F4A7C15ULL;
            lane[i] ^= lane[i] >> 32;
        }
        if (at + 32 >= n) break;
    }
    return (lane[0] ^ lane[1] * 3 ^ lane[2] * 5 ^ lane[3] * 7) * 0xC2B2AE3D27D4EB4FULL;
}

static void on_text(Member *m, const char *p, size_t n) {
    static Memo memo[256];
    static Scan scanned;
    tally.messages_read++;
    if (n < 64 || n > 1 << 15) {
        if (!scan_tagged(&scanned, p, n)) defects.malformed++;
        else
            for (int i = 0; i < scanned.frames; i++) on_frame(m, &scanned, &scanned.frame[i]);
        return;
    }
    Memo *e = &memo[hash_of(p, n) >> 56];
    if (e->len != n || memcmp(e->bytes, p, n)) {
        e->len = 0;
        if (e->room < n) e->bytes = grown(e->bytes, e->room = n * 2);
        memcpy(e->bytes, p, n);
        if (!scan_tagged(&scanned, e->bytes, n)) {
            defects.malformed++;
            return;
        }
        if (scanned.messages || scanned.frames > 32) {
            for (int i = 0; i < scanned.frames; i++) on_frame(m, &scanned, &scanned.frame[i]);
            return;
        }
        if (e->frame_room < scanned.frames) e->frame = grown(e->frame, (e->frame_room = 32) * sizeof *e->frame);
        memcpy(e->frame, scanned.frame, (size_t)scanned.frames * sizeof *e->frame);
        e->frames = scanned.frames;
        e->len = n;
    }
    for (int i = 0; i < e->frames; i++) on_frame(m, NULL, &e->frame[i]);
}

/* --- sockets --- */

static void start_connect(Member *m) {
    static uint32_t turn;
    int one = 1;
    m->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (m->fd < 0) quit("socket: %s (ulimit -n?)", strerror(errno));
    setsockopt(m->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(m->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + turn++ % SOURCES); /* more ports than one address has */
    inet_pton(AF_INET, opt.host, &to.sin_addr);
    if (bind(m->fd, (struct sockaddr *)&from, sizeof from)) quit("bind: %s", strerror(errno));
    if (connect(m->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) quit("connect: %s", strerror(errno));
    m->state = CONNECTING;
    m->retry_at = now + CONNECT_TIMEOUT;
    m->in_len = m->out_len = 0;
    connecting++;
    watch(m, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void hang_up(Member *m, bool hard) {
    struct linger now_and_hard = {.l_onoff = 1};
    if (m->state == OFF) return;
    if (m->state == READY) ready--;
    else connecting--;
    if (hard) setsockopt(m->fd, SOL_SOCKET, SO_LINGER, &now_and_hard, sizeof now_and_hard);
    close(m->fd);
    m->fd = -1;
    m->state = OFF;
    m->call = NONE;
    m->in_len = m->out_len = 0;
}

static void lost_connection(Member *m, const char *why) {
    enum state was = m->state;
    hang_up(m, true);
    count_code(closes, (Str){why, (uint32_t)strlen(why)});
    if (was == READY) defects.closed++;
    else tally.retries++;
    if (was != READY || storming) {
        m->wants_reconnect = true;
        m->retry_at = now + 100 * MS + (int64_t)(any() % (400 * MS));
    }
}

static void hello(Member *m) {
    char resume[160] = "";
    if (m->resumes)
        snprintf(resume, sizeof resume, ",\"resume\":{\"session\":\"%s\",\"received\":%lld}", m->session,
                 (long long)m->received);
    m->state = GREETING;
    say(m, "{\"op\":\"hello\",\"token\":\"%s\",\"device\":{\"id\":\"bench-%u\",\"platform\":\"%s\"}%s}", m->token,
        (unsigned)(m - members), opt.platform, resume);
}

/* Takes what stands whole in p; returns the bytes used, or -1 when the connection has ended. */
static ssize_t feed(Member *m, uint8_t *p, size_t n) {
    size_t at = 0;
    if (m->state == UPGRADING) {
        uint8_t *end = memmem(p, n, "\r\n\r\n", 4);
        if (!end) return 0;
        *end = 0;
        if (strncmp((char *)p, "HTTP/1.1 101", 12) || !strstr((char *)p, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
            char status[13] = "";
            memcpy(status, p, n < 12 ? n : 12);
            lost_connection(m, status);
            return -1;
        }
        at = (size_t)(end + 4 - p);
        hello(m);
    }
    while (at < n) {
        WsFrame f;
        int whole = ws_peek(p + at, n - at, &f);
        if (!whole) break;
        if (whole < 0 || f.masked || !f.fin) {
            defects.malformed++;
            lost_connection(m, "not a frame");
            return -1;
        }
        uint8_t *payload = p + at + f.header;
        at += f.header + f.payload;
        if (f.opcode == WS_TEXT) {
            on_text(m, (char *)payload, f.payload);
        } else if (f.opcode == WS_PING) {
            put_frame(m, WS_PONG, payload, f.payload);
        } else if (f.opcode == WS_CLOSE) {
            char why[8];
            snprintf(why, sizeof why, "%d", f.payload >= 2 ? payload[0] << 8 | payload[1] : 1005);
            lost_connection(m, why);
            return -1;
        }
    }
    return (ssize_t)at;
}

/* true: the socket may hold more (edge-triggered: it would not be told again) */
static bool readable(Member *m) {
    ssize_t got = recv(m->fd, chunk, sizeof chunk, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0) {
        lost_connection(m, got ? strerror(errno) : "end of stream");
        return false;
    }
    tally.reads++;
    tally.bytes += (uint64_t)got;
    uint8_t *p = chunk;
    size_t n = (size_t)got;
    if (m->in_len) {
        if (m->in_len + n > m->in_room) m->in = grown(m->in, m->in_room = (m->in_len + n) * 2);
        memcpy(m->in + m->in_len, chunk, n);
        p = m->in;
        n = m->in_len += n;
    }
    ssize_t used = feed(m, p, n);
    if (used < 0) return false;
    size_t left = n - (size_t)used;
    if (p == m->in) {
        memmove(m->in, m->in + used, m->in_len = left);
    } else if (left) {
        if (left > m->in_room) m->in = grown(m->in, m->in_room = left * 2);
        memcpy(m->in, p + used, m->in_len = left);
    }
    if (m->state == READY && m->received - m->acked >= ACK_EVERY) ack(m);
    else if (m->state == READY && m->received > m->acked) ack_later(m);
    return got == sizeof chunk;
}

static void writable(Member *m) {
    if (m->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            lost_connection(m, strerror(error));
            return;
        }
        char request[256];
        int n = snprintf(request, sizeof request,
                         "GET /ws HTTP/1.1\r\nHost: %s:%ld\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Protocol: chat.v1.json\r\n\r\n",
                         opt.host, opt.port);
        m->state = UPGRADING;
        watch(m, EPOLL_CTL_MOD, EPOLLIN);
        put(m, request, (size_t)n);
        return;
    }
    ssize_t done = m->out_len ? send(m->fd, m->out, m->out_len, MSG_NOSIGNAL) : 0;
    if (done > 0) memmove(m->out, m->out + done, m->out_len -= (size_t)done);
    if (!m->out_len) watch(m, EPOLL_CTL_MOD, EPOLLIN);
}

static void connects_due(void) {
    static int64_t looked;
    while (connect_next < member_count && connecting < opt.parallel) start_connect(&members[connect_next++]);
    if (now - looked < 5 * MS) return;
    looked = now;
    for (uint32_t i = 0; i < member_count; i++) {
        Member *m = &members[i];
        if (m->state == OFF && m->wants_reconnect && m->retry_at <= now) {
            m->wants_reconnect = false;
            start_connect(m);
        } else if (m->state != OFF && m->state != READY && m->retry_at <= now) {
            lost_connection(m, "connect timed out");
        }
    }
}

/* Runs the loop until done() or the time; true: done. */
static bool run_until(bool (*done)(void), int64_t until) {
    struct epoll_event events[512];
    for (;;) {
        now = clock_now(CLOCK_MONOTONIC);
        if (done && done()) return true;
        if (now >= until) return false;
        connects_due();
        acks_due(false);
        if (sending && opt.rate) pump_paced();
        int64_t wake = until;
        if (ack_head != UINT32_MAX && members[ack_head].ack_at < wake) wake = members[ack_head].ack_at;
        if (sending && opt.rate && next_send < wake) wake = next_send;
        if (ready < member_count && wake > now + 5 * MS) wake = now + 5 * MS;
        if (wake > now + 50 * MS) wake = now + 50 * MS;
        struct timespec timeout = {.tv_sec = 0, .tv_nsec = wake > now ? wake - now : 0};
        int n = epoll_pwait2(epoll_fd, events, 512, &timeout, NULL);
        if (n < 0 && errno != EINTR) quit("epoll: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            Member *m = &members[events[i].data.u32];
            now = clock_now(CLOCK_MONOTONIC);
            if (m->state != OFF && events[i].events & EPOLLOUT) writable(m);
            while (m->state != OFF && events[i].events & ~EPOLLOUT && readable(m)) continue;
        }
    }
}

/* --- the scenarios --- */

typedef struct {
    int64_t wall, server_cpu, own_cpu, server_rss;
    uint64_t deliveries, receipts, submits, acks, reads;
} Reading;

static int64_t rss_of(long pid) { /* bytes */
    char path[64], line[256];
    long kb = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *f = pid ? fopen(path, "r") : NULL;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %ld kB", &kb) == 1) break;
    if (f) fclose(f);
    return kb * 1024;
}

static Reading reading(void) {
    return (Reading){clock_now(CLOCK_MONOTONIC), opt.server_pid ? clock_now(server_clock) : 0,
                     clock_now(CLOCK_PROCESS_CPUTIME_ID), rss_of(opt.server_pid), tally.deliveries, tally.receipts,
                     tally.submits, tally.acks, tally.reads};
}

static bool all_ready(void) {
    if (ready < member_count) return false;
    for (uint32_t i = 0; i < member_count; i++)
        if (members[i].call != NONE) return false;
    return true;
}

static bool all_welcome(void) { return ready == member_count; }

static bool all_receipted(void) { return tally.receipts + defects.refused == tally.submits; }

static bool all_done(void) { /* every submit has its receipt and every member */
    static uint32_t at, index;
    if (!all_receipted()) return false;
    for (; at < conversation_count; at++, index = 0)
        for (; index < conversations[at].count; index++)
            if (conversations[at].sent[index].missing && !conversations[at].sent[index].refused) return false;
    at = index = 0;
    return true;
}

static bool all_caught(void) { return caught >= member_count; }

/* Runs while deliveries or receipts still come, `patience` after the last one; true: done() */
static bool run_out(bool (*done)(void), int64_t patience) {
    for (;;) {
        uint64_t before = tally.deliveries + tally.receipts + tally.synced + tally.welcomes;
        if (run_until(done, clock_now(CLOCK_MONOTONIC) + patience)) return true;
        if (before == tally.deliveries + tally.receipts + tally.synced + tally.welcomes) return false;
    }
}

static void run_sending(double seconds) {
    int64_t until = clock_now(CLOCK_MONOTONIC) + (int64_t)(seconds * 1e9);
    while (clock_now(CLOCK_MONOTONIC) < until) {
        uint64_t before = tally.released;
        int64_t look = clock_now(CLOCK_MONOTONIC) + STALL;
        run_until(NULL, look < until ? look : until);
        if (opt.rate || tally.released != before || now < look) continue;
        tally.stalls++; /* something was lost: go on without it */
        for (uint32_t i = 0; i < member_count; i++) {
            members[i].inflight = 0;
            pump(&members[i]);
        }
    }
}

static void ledger(void) { /* what is still missing is lost */
    for (uint32_t k = 0; k < conversation_count; k++)
        for (uint32_t i = 0; i < conversations[k].count; i++) {
            const Sent *s = &conversations[k].sent[i];
            if (s->refused) continue;
            defects.lost += s->missing;
            defects.unreceipted += !s->receipted;
        }
    if (!opt.refs) return;
    FILE *f = fopen(opt.refs, "w");
    if (!f) quit("%s: %s", opt.refs, strerror(errno));
    for (uint32_t k = 0; k < conversation_count; k++)
        for (uint32_t i = 0; i < conversations[k].count; i++) {
            const Sent *s = &conversations[k].sent[i];
            fprintf(f, "%s %016llx-%x-%x %lld %s\n", conversations[k].id, (unsigned long long)s->nonce, k, i,
                    (long long)s->seq, s->receipted ? "receipted" : s->refused ? "refused" : "open");
        }
    fclose(f);
}

static void print_codes(const char *name, void *table) {
    struct { char code[40]; uint64_t count; } *t = table;
    printf(",\"%s\":{", name);
    for (int i = 0; i < 32 && t[i].count; i++) printf("%s\"%s\":%llu", i ? "," : "", t[i].code, (unsigned long long)t[i].count);
    printf("}");
}

static void print_end(void) {
#define FIELD(of, name) (unsigned long long)of.name
    printf(",\"defects\":{\"lost\":%llu,\"doubled\":%llu,\"swapped\":%llu,\"renumbered\":%llu,\"foreign\":%llu,"
           "\"unreceipted\":%llu,\"refused\":%llu,\"malformed\":%llu,\"closed\":%llu,\"ack_refused\":%llu}",
           FIELD(defects, lost), FIELD(defects, doubled), FIELD(defects, swapped), FIELD(defects, renumbered),
           FIELD(defects, foreign), FIELD(defects, unreceipted), FIELD(defects, refused), FIELD(defects, malformed),
           FIELD(defects, closed), FIELD(defects, ack_refused));
    printf(",\"tally\":{\"submits\":%llu,\"receipts\":%llu,\"pushes\":%llu,\"deliveries\":%llu,\"synced\":%llu,"
           "\"other_pushes\":%llu,\"lagged\":%llu,\"gaps\":%llu,\"syncs\":%llu,\"beats\":%llu,\"behind\":%llu,"
           "\"acks\":%llu,\"transport_messages\":%llu,\"reads\":%llu,\"bytes\":%llu,\"stalls\":%llu,\"retries\":%llu,"
           "\"welcomes\":%llu,\"resumed\":%llu}",
           FIELD(tally, submits), FIELD(tally, receipts), FIELD(tally, pushes), FIELD(tally, deliveries),
           FIELD(tally, synced), FIELD(tally, other), FIELD(tally, lagged), FIELD(tally, gaps), FIELD(tally, syncs),
           FIELD(tally, beats), FIELD(tally, behind), FIELD(tally, acks), FIELD(tally, messages_read),
           FIELD(tally, reads), FIELD(tally, bytes), FIELD(tally, stalls), FIELD(tally, retries),
           FIELD(tally, welcomes), FIELD(tally, resumed));
    print_codes("errors", errors);
    print_codes("closes", closes);
    printf("}\n");
}

static void print_window(Reading a, Reading b) {
    double seconds = (double)(b.wall - a.wall) / 1e9;
    uint64_t deliveries = b.deliveries - a.deliveries;
    printf(",\"window\":{\"seconds\":%.4f,\"deliveries\":%llu,\"receipts\":%llu,\"acks\":%llu,\"reads\":%llu,"
           "\"deliveries_per_second\":%.1f,\"receipts_per_second\":%.1f,\"server_cpu\":%.4f,\"load_cpu\":%.4f,"
           "\"server_us_per_delivery\":%.4f,\"load_us_per_delivery\":%.4f,\"server_us_per_receipt\":%.4f,"
           "\"server_rss\":%lld},",
           seconds, (unsigned long long)deliveries, (unsigned long long)(b.receipts - a.receipts),
           (unsigned long long)(b.acks - a.acks), (unsigned long long)(b.reads - a.reads), (double)deliveries / seconds,
           (double)(b.receipts - a.receipts) / seconds, (double)(b.server_cpu - a.server_cpu) / 1e9,
           (double)(b.own_cpu - a.own_cpu) / 1e9,
           deliveries ? (double)(b.server_cpu - a.server_cpu) / 1e3 / (double)deliveries : 0,
           deliveries ? (double)(b.own_cpu - a.own_cpu) / 1e3 / (double)deliveries : 0,
           b.receipts > a.receipts ? (double)(b.server_cpu - a.server_cpu) / 1e3 / (double)(b.receipts - a.receipts) : 0,
           (long long)b.server_rss);
}

static void room(void) {
    sending = true;
    for (uint32_t i = 0; i < member_count; i++) pump(&members[i]);
    run_sending(opt.warmup);
    fprintf(stderr, "phase window\n");
    measuring = true;
    Reading a = reading();
    run_sending(opt.seconds);
    Reading b = reading();
    measuring = sending = false;
    fprintf(stderr, "phase drain\n");
    run_out(all_done, SETTLE);
    acks_due(true);
    run_until(NULL, clock_now(CLOCK_MONOTONIC) + 300 * MS); /* a late copy would come now */
    ledger();
    print_window(a, b);
    histogram_print(stdout, "receipt_ms", &receipt_time);
    printf(",");
    histogram_print(stdout, "delivery_ms", &delivery_time);
    printf(",");
    histogram_print(stdout, "all_but_one_percent_ms", &all_but_one_percent_time);
    printf(",");
    histogram_print(stdout, "every_member_ms", &complete_time);
}

static void idle(int64_t rss_before) {
    fprintf(stderr, "phase window\n");
    Reading a = reading();
    run_until(NULL, now + (int64_t)(opt.seconds * 1e9));
    Reading b = reading();
    double seconds = (double)(b.wall - a.wall) / 1e9, cpu = (double)(b.server_cpu - a.server_cpu) / 1e9;
    printf(",\"window\":{\"seconds\":%.3f,\"server_cpu\":%.4f,\"percent_of_core_per_10000\":%.4f,\"server_rss\":%lld,"
           "\"rss_per_connection\":%.1f}",
           seconds, cpu, cpu / seconds * 100 / member_count * 10000, (long long)b.server_rss,
           (double)(b.server_rss - rss_before) / member_count);
}

/* Everybody but each conversation's first member falls off, misses something, and comes back at once. */
static void storm(void) {
    uint32_t dropped = 0;
    opt.inflight = 0;
    for (long i = 0; i < opt.missed; i++)
        for (uint32_t k = 0; k < member_count; k++)
            if (members[k].sender) submit(&members[k]);
    if (!run_out(all_done, SETTLE)) fprintf(stderr, "not everything came before the cut\n");
    storming = true;
    for (uint32_t i = 0; i < member_count; i++) {
        Member *m = &members[i];
        if (m->sender) {
            m->caught_up = true; /* stays */
            caught++;
            continue;
        }
        hang_up(m, *opt.cut == 'r');
        m->resumes = opt.resume;
        dropped++;
    }
    run_until(NULL, clock_now(CLOCK_MONOTONIC) + 500 * MS);
    for (long i = 0; i < opt.missed; i++)
        for (uint32_t k = 0; k < member_count; k++)
            if (members[k].sender) submit(&members[k]);
    run_out(all_receipted, SETTLE);
    fprintf(stderr, "phase window\n");
    memset(&back_time, 0, sizeof back_time);
    tally.retries = tally.resumed = 0;
    Reading a = reading();
    for (uint32_t i = 0; i < member_count; i++) {
        Member *m = &members[i];
        if (m->sender) continue;
        m->begun = now;
        m->wants_reconnect = true;
        m->retry_at = now + (opt.jitter ? (int64_t)(any() % (uint64_t)(opt.jitter * 1e9)) : 0);
    }
    for (uint32_t k = 0; k < member_count; k++)
        if (members[k].sender) submit(&members[k]); /* and life goes on meanwhile */
    int64_t welcomed = 0;
    uint64_t receipts_before = tally.receipts;
    if (run_out(all_welcome, SETTLE)) welcomed = now;
    bool back = run_out(all_caught, SETTLE);
    Reading b = reading();
    run_out(all_done, SETTLE);
    acks_due(true);
    run_until(NULL, clock_now(CLOCK_MONOTONIC) + 300 * MS);
    ledger();
    printf(",\"window\":{\"dropped\":%u,\"all_welcome_s\":%.4f,\"all_back_s\":%.4f,\"server_cpu\":%.4f,"
           "\"server_us_per_client\":%.2f,\"resumed\":%llu,\"retries\":%llu,\"receipts_meanwhile\":%llu},",
           dropped, welcomed ? (double)(welcomed - a.wall) / 1e9 : -1, back ? (double)(b.wall - a.wall) / 1e9 : -1,
           (double)(b.server_cpu - a.server_cpu) / 1e9,
           dropped ? (double)(b.server_cpu - a.server_cpu) / 1e3 / dropped : 0, FIELD(tally, resumed),
           FIELD(tally, retries), (unsigned long long)(tally.receipts - receipts_before));
    histogram_print(stdout, "back_ms", &back_time);
}

static void read_tokens(void) {
    FILE *f = fopen(opt.tokens, "r");
    char *line = NULL;
    size_t room = 0, capacity = 0;
    if (!f) quit("%s: %s", opt.tokens, strerror(errno));
    while (getline(&line, &room, f) > 0) {
        char token[8192], id[65];
        if (sscanf(line, "%8191s %64s", token, id) != 2) continue;
        uint32_t k = conversation_count; /* a conversation's lines stand together, or are few */
        while (k && strcmp(conversations[k - 1].id, id)) k--;
        if (!k) {
            conversations = grown(conversations, (conversation_count + 1) * sizeof *conversations);
            conversations[conversation_count] = (Conversation){0};
            strcpy(conversations[conversation_count++].id, id);
            k = conversation_count;
        }
        Conversation *c = &conversations[k - 1];
        if (c->members == c->room) c->member = grown(c->member, (c->room = c->room * 2 + 4) * sizeof *c->member);
        if (member_count == capacity) members = grown(members, (capacity = capacity * 2 + 64) * sizeof *members);
        members[member_count] = (Member){.fd = -1, .conversation = k - 1, .held = -1, .version = -1,
                                         .token = strdup(token), .sender = c->members < opt.senders};
        c->member[c->members++] = member_count++;
    }
    fclose(f);
    free(line);
    if (!member_count) quit("%s: no line TOKEN CONVERSATION", opt.tokens);
}

static void read_options(int argc, char **argv) {
    struct { const char *name; const char **text; long *whole; double *real; } table[] = {
        {"--tokens", &opt.tokens, 0, 0}, {"--release", &opt.release, 0, 0}, {"--refs", &opt.refs, 0, 0},
        {"--cut", &opt.cut, 0, 0}, {"--platform", &opt.platform, 0, 0}, {"--host", &opt.host, 0, 0},
        {"--seconds", 0, 0, &opt.seconds}, {"--warmup", 0, 0, &opt.warmup}, {"--rate", 0, 0, &opt.rate},
        {"--jitter", 0, 0, &opt.jitter}, {"--port", 0, &opt.port, 0}, {"--senders", 0, &opt.senders, 0},
        {"--inflight", 0, &opt.inflight, 0}, {"--server-pid", 0, &opt.server_pid, 0}, {"--core", 0, &opt.core, 0},
        {"--parallel", 0, &opt.parallel, 0}, {"--text", 0, &opt.text, 0}, {"--missed", 0, &opt.missed, 0},
        {"--resume", 0, &opt.resume, 0}, {"--inbox", 0, &opt.inbox, 0},
    };
    if (argc < 2) quit("load room|idle|storm --port P --tokens FILE ...");
    opt.scenario = argv[1];
    opt.inbox = !strcmp(opt.scenario, "storm");
    for (int i = 2; i < argc; i += 2) {
        size_t k = 0;
        while (k < sizeof table / sizeof *table && strcmp(table[k].name, argv[i])) k++;
        if (k == sizeof table / sizeof *table || i + 1 == argc) quit("unknown option or no value: %s", argv[i]);
        if (table[k].text) *table[k].text = argv[i + 1];
        if (table[k].whole) *table[k].whole = atol(argv[i + 1]);
        if (table[k].real) *table[k].real = atof(argv[i + 1]);
    }
    if (!opt.tokens || !opt.port) quit("--tokens and --port are needed");
    if (strcmp(opt.scenario, "room") && strcmp(opt.scenario, "idle") && strcmp(opt.scenario, "storm"))
        quit("unknown scenario %s", opt.scenario);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (opt.core >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)opt.core, &set);
        if (sched_setaffinity(0, sizeof set, &set)) quit("core %ld: %s", opt.core, strerror(errno));
    }
    if (opt.server_pid && clock_getcpuclockid((pid_t)opt.server_pid, &server_clock)) quit("no process %ld", opt.server_pid);
    read_tokens();
    run = (uint32_t)any();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int64_t rss = rss_of(opt.server_pid), begin = now = clock_now(CLOCK_MONOTONIC);
    if (!run_out(all_ready, 30 * SECOND)) {
        print_codes("errors", errors);
        print_codes("closes", closes);
        quit("\n%u of %u members are connected, no more come", ready, member_count);
    }
    fprintf(stderr, "phase connected %u\n", member_count);
    printf("{\"scenario\":\"%s\",\"members\":%u,\"conversations\":%u,\"connect_s\":%.4f,\"run\":\"%08x\","
           "\"rss_before\":%lld,\"rss_connected\":%lld",
           opt.scenario, member_count, conversation_count, (double)(now - begin) / 1e9, run, (long long)rss,
           (long long)rss_of(opt.server_pid));
    if (!strcmp(opt.scenario, "room")) room();
    else if (!strcmp(opt.scenario, "idle")) idle(rss);
    else storm();
    print_end();
    for (uint32_t i = 0; i < member_count; i++) hang_up(&members[i], true);
    return 0;
}
