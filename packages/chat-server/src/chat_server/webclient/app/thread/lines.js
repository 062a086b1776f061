/** From messages to lines: which follow one another, which pictures are drawn together, where a day or the news begins. */
import { dayOf } from "../text/days.js";

/** Messages of one person within so many milliseconds are one group. */
const GROUP_SPAN = 5 * 60 * 1000;
/** Pictures in one row at most. */
const TILES = 9;

/**
 * Rows in order: `{key, day: time}`, `{key, news: true}`, or a message's `{key, seq?, line}`, whose line is
 * `{message?, entry?, mine, first, last, state, tiles?}`: `first` and `last` of its sender's group, `tiles` the pictures that
 * are drawn together, the last of which is `message`.
 * @param said `{message}` or `{entry}` in order; @param before the message above the first one
 * @param conversation whose `peerRead` says what was read; @param newFrom seq of the first new message
 */
export function linesOf(said, before, conversation, me, newFrom) {
  let previous = before && { sender: before.sender, time: before.time, plain: isPlain(before) };
  const lines = said.map(({ message, entry }) => {
    const mine = entry !== undefined || message.sender === me;
    const line = { message, entry, mine, time: entry ? entry.at : message.time, sender: mine ? me : message.sender, plain: isPlain(message ?? entry) };
    line.state = entry ? stateOf(entry) : mine && message.seq <= conversation.peerRead ? "read" : "sent";
    return line;
  });
  const grouped = albums(lines, newFrom);
  const rows = [];
  let told = newFrom === undefined;
  grouped.forEach((line, index) => {
    const day = dayOf(line.time);
    const newDay = !previous || dayOf(previous.time) !== day;
    const seq = (line.tiles?.[0] ?? line.message)?.seq;
    // The first that is not mine from there on: over an own message there is nothing new.
    const isNew = !told && seq !== undefined && seq >= newFrom && !line.mine && (before?.seq ?? 0) < newFrom;
    if (isNew) told = true;
    if (newDay) rows.push({ key: `day:${day}:${line.message?.seq ?? line.entry.ref}`, day: line.time });
    if (isNew) rows.push({ key: "new", news: true });
    line.first = newDay || isNew || !together(previous, line);
    const next = grouped[index + 1];
    line.last = !next || !together(line, next) || dayOf(next.time) !== day;
    const head = line.tiles?.[0] ?? line.message ?? line.entry;
    rows.push({ key: line.mine ? `ref:${head.ref}` : `seq:${head.seq}`, seq: line.message?.seq, line });
    previous = line;
  });
  return rows;
}

/** Pictures that follow one another are drawn as one row; the words under the last one end it. */
function albums(lines, newFrom) {
  const rows = [];
  for (const line of lines) {
    const previous = rows.at(-1);
    const open = previous?.tiles && !previous.message.body.text && previous.tiles.length < TILES;
    if (!isTile(line)) rows.push(line);
    else if (open && line.message.seq !== newFrom && together(previous, line) && dayOf(previous.time) === dayOf(line.time)) {
      rows[rows.length - 1] = { ...line, tiles: [...previous.tiles, line.message] };
    } else rows.push({ ...line, tiles: [line.message] });
  }
  return rows;
}

function isTile({ message }) {
  return message?.kind === "image" && message.body?.file && !message.reply_to && !message.recalled && !message.reactions?.length;
}

/** Nothing is said to be on its way that a reload would still lose. */
function stateOf({ state, kept }) {
  return ["queued", "sending"].includes(state) && kept === undefined ? "keeping" : state;
}

function isPlain(said) {
  return said.kind !== "system" && !said.recalled;
}

function together(one, other) {
  return Boolean(one?.plain && other.plain && one.sender === other.sender && other.time - one.time < GROUP_SPAN);
}
