// A strict reader of whole .stc streams. SPEC.md sections 2 to 8.

import { createHash } from 'node:crypto';
import { crc32, fail, Fields, fromHalf, StreamError, toHalf } from './bytes.js';
import { decodeRows, foretell, readQuantiser, stepOf } from './compact.js';

export { StreamError };

const MAGIC = [0x8d, 0x53, 0x54, 0x43, 0x0d, 0x0a, 0x1a, 0x0a];
const SYNC = [0xfd, 0x7e, 0xfc, 0x7f];
const HEADER = 1;
const IDENTITY = 2;
const GROUP = 3;
const AUDIO_CONFIG = 4;
const AUDIO = 5;
const INDEX = 6;
const END = 7;
const REFERENCE = 0x11;
const ATTACHED = new Set([0x10, 0x12]); // of sections 13 and 14: this reader does not render, and skips them
const LIMITS = new Map([
  [HEADER, 822],
  [IDENTITY, 18466],
  [GROUP, 75792],
  [AUDIO_CONFIG, 8],
  [AUDIO, 1 << 20],
  [INDEX, 12582912],
  [END, 24],
  [REFERENCE, 34],
]);
const MAX_OTHER = 1 << 24;
const MAX_TICKS = (1n << 62n) - 1n;
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Section 2. */
function readPrologue(bytes) {
  const wrong = MAGIC.findIndex((byte, i) => i < bytes.length && bytes[i] !== byte);
  if (wrong >= 0) fail('BadMagic', wrong, 'not a stylecodec stream');
  if (bytes.length < 16) fail('Truncated', bytes.length, 'the stream ends inside its first 16 bytes');
  const fields = new Fields(bytes, 8, 16);
  const [major, minor] = [fields.u8(), fields.u8()];
  fields.u16();
  if (fields.u32() !== crc32(bytes, 0, 12)) fail('ChecksumMismatch', 0, 'the version bytes are damaged');
  if (major !== 1) fail('UnsupportedVersion', 8, `major version ${major}`);
  return { major, minor };
}

/** Section 3: the chunk that begins at `at`. */
function readChunk(bytes, at) {
  for (let i = 0; i < 4 && at + i < bytes.length; i++) {
    if (bytes[at + i] !== SYNC[i]) fail('CorruptChunk', at, 'no chunk begins where one must');
  }
  if (bytes.length - at < 12) fail('Truncated', bytes.length, 'the stream ends inside the head of a chunk');
  const fields = new Fields(bytes, at + 4, at + 12);
  const [type, flags, length, check] = [fields.u8(), fields.u8(), fields.u32(), fields.u16()];
  if (check !== (crc32(bytes, at, at + 10) & 0xffff)) fail('ChecksumMismatch', at, 'the head of a chunk is damaged');
  const limit = LIMITS.get(type) ?? MAX_OTHER;
  if (length > limit) fail('LimitExceeded', at + 6, `a payload of ${length} bytes`);
  const start = at + 12;
  const end = start + length;
  if (bytes.length < end + 4) fail('Truncated', bytes.length, 'the stream ends inside a chunk');
  if (new Fields(bytes, end, end + 4).u32() !== crc32(bytes, at, end)) {
    fail('ChecksumMismatch', at, 'the CRC-32 of a chunk does not fit');
  }
  return { type, mandatory: (flags & 1) === 1, at, start, end, next: end + 4 };
}

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/** Section 5.1. */
function readHeader(fields) {
  const at = fields.at;
  if (fields.left < 147) fail('Truncated', fields.end, 'a stream header has at least 147 bytes');
  const [profile, flags, width, height] = [fields.u8(), fields.u8(), fields.u16(), fields.u16()];
  const [numerator, denominator, timeScale] = [fields.u32(), fields.u32(), fields.u32()];
  const packDigest = hex(fields.slice(32));
  const indices = Array.from({ length: 32 }, () => [fields.u8(), fields.u16()]);
  if (profile > 1) fail('UnsupportedVersion', at, `profile ${profile}`);
  if (flags & ~3) fail('CorruptChunk', at + 1, 'a reserved flag is set');
  if (!denominator) fail('CorruptChunk', at + 10, 'a rate with denominator 0');
  if (gcd(numerator, denominator) !== 1) fail('CorruptChunk', at + 6, 'the rate is not in lowest terms');
  const nameLength = fields.u8();
  const nameAt = fields.at;
  const nameBytes = fields.slice(nameLength);
  const crop = flags & 1 ? [fields.u32(), fields.u32(), fields.f64(), fields.f64(), fields.f64()] : null;
  const quantiser = profile === 1 ? null : undefined;
  if (quantiser === undefined) fields.done('header');
  let packName;
  try {
    packName = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(nameBytes);
  } catch {
    const good = nameBytes.findIndex((_, i) => !isUtf8(nameBytes.subarray(0, i + 1), i + 1 < nameBytes.length));
    fail('CorruptChunk', nameAt + Math.max(good, 0), 'the pack name is not UTF-8');
  }
  if (crop && (!crop.slice(2).every(Number.isFinite) || !(crop[4] > 0))) {
    fail('CorruptChunk', nameAt + nameLength, 'the crop geometry is not a square');
  }
  if (crop && !crop.slice(0, 2).every((side) => side >= 1 && side <= 1 << 20)) {
    fail('LimitExceeded', nameAt + nameLength, 'a source side is out of range');
  }
  const coding = profile === 1 ? readQuantiser(fields) : null;
  if (![width, height].every((side) => side >= 1 && side <= 16384)) fail('LimitExceeded', at, 'picture size');
  if (!(numerator > 0 && numerator / denominator <= 1000)) fail('LimitExceeded', at, 'frame rate');
  if (!nameLength || nameLength > 64 || /[\p{C}\p{Zl}\p{Zp}]/u.test(packName)) fail('LimitExceeded', at, 'pack name');
  if (new Set(indices.map(String)).size !== 32) fail('CorruptChunk', at, 'an index occurs twice');
  if (indices.some(([layer, channel]) => layer > 63 || channel > 8191)) fail('LimitExceeded', at, 'StyleSpace index');
  const rate = [numerator, denominator];
  return { profile, live: (flags & 2) !== 0, width, height, rate, timeScale, packDigest, indices, packName, crop, coding };
}

function isUtf8(bytes, cut) {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: cut });
    return true;
  } catch {
    return false;
  }
}

const levelsOf = (fields, coding) => decodeRows(fields.bytes, fields.at, fields.end, 18, { ...coding, limit: 1023 }).rows;

/** The levels times the step of an identity of form 1 or 2. known: identities by slot. */
function readLevels(fields, slot, form, known) {
  const coding = { spread: Array(512).fill(8), rest: Array(512).fill(0), terms: [] };
  if (form === 1) {
    const step = stepOf(fields.u8());
    return { depth: 0, numbers: levelsOf(fields, coding).flat().map((level) => level * step) };
  }
  const baseAt = fields.at;
  const [from, code] = [fields.u8(), fields.u8()];
  const base = known.get(from);
  if (from === slot || !base) fail('CorruptChunk', baseAt, `slot ${from} cannot be the base of slot ${slot}`);
  if (base.depth === 8) fail('LimitExceeded', baseAt, 'more than 8 predictions one after the other');
  const foretold = foretell(base.latent, code);
  const levels = levelsOf(fields, { ...coding, spread: Array(512).fill(3), foretold });
  return { depth: base.depth + 1, numbers: levels.flat().map((level) => level * stepOf(code)) };
}

/** Section 5.2: slot, digest and the latent as 9,216 numbers. known: identities by slot. */
function readIdentity(fields, minor, known) {
  const at = fields.at;
  if (fields.left < 34) fail('Truncated', fields.end, 'an identity has at least 34 bytes');
  const [slot, form, digest] = [fields.u8(), fields.u8(), hex(fields.slice(32))];
  const begin = fields.at;
  let raw;
  let depth = 0; // predictions one after the other
  if (form === 0) {
    raw = fields.slice(18432);
    fields.done('identity');
  } else if (form === 1 || (form === 2 && minor >= 1)) {
    const read = readLevels(fields, slot, form, known);
    depth = read.depth;
    raw = new Uint8Array(18432);
    const view = new DataView(raw.buffer);
    read.numbers.forEach((number, i) => view.setUint16(2 * i, toHalf(number), true));
  } else {
    fail('UnsupportedVersion', at + 1, `form ${form} of an identity`);
  }
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const latent = Float64Array.from({ length: 9216 }, (_, i) => fromHalf(view.getUint16(2 * i, true)));
  const bad = latent.findIndex((number) => !Number.isFinite(number));
  if (bad >= 0) fail('CorruptChunk', form ? at : begin + 2 * bad, 'a number of the latent is not finite');
  if (sha256(raw) !== digest) fail('ChecksumMismatch', at + 2, 'the digest does not fit the latent');
  return { slot, form, digest, latent, depth };
}

/** Section 5.3: packets as rows of 35 numbers; `levels` too where the group is compact. */
function readGroup(fields, header) {
  const at = fields.at;
  if (fields.left < 12) fail('Truncated', fields.end, 'a group has at least 12 bytes');
  const [firstFrame, count, slot, flags] = [fields.u64(), fields.u16(), fields.u8(), fields.u8()];
  if (!count) fail('CorruptChunk', at, 'a group without frames');
  if (count > 1024) fail('LimitExceeded', at, `a group of ${count} frames`);
  if (firstFrame > (1n << 40n) - BigInt(count)) fail('LimitExceeded', at, 'the frame number is too high');
  if (flags & ~3) fail('CorruptChunk', at + 11, 'a reserved flag is set');
  const timed = (flags & 1) === 1;
  if (((flags & 2) !== 0) !== (header.profile === 1)) fail('CorruptChunk', at + 11, 'not the profile of the header');
  const group = { firstFrame: Number(firstFrame), slot };
  const read = header.profile === 1 ? readCompact : readRaw;
  Object.assign(group, read(fields, count, timed, header.coding));
  if (timed !== header.timeScale > 0) fail('CorruptChunk', at + 11, 'times and the time scale do not go together');
  return group;
}

function readRaw(fields, count, timed) {
  const packetsAt = fields.at;
  const wanted = count * 70 + (timed ? 8 + 4 * (count - 1) : 0);
  if (fields.left < wanted) fail('Truncated', fields.end, 'a group is too short');
  const packets = Array.from({ length: count }, () => Array.from({ length: 35 }, () => fromHalf(fields.u16())));
  const bad = packets.flat().findIndex((number) => !Number.isFinite(number));
  if (bad >= 0) fail('CorruptChunk', packetsAt + 2 * bad, 'a number of a packet is not finite');
  if (!timed) {
    fields.done('group');
    return { packets };
  }
  const timesAt = fields.at;
  const first = fields.u64();
  const steps = Array.from({ length: count - 1 }, () => fields.u32());
  fields.done('group');
  return { packets, times: sumTimes(first, steps, timesAt, packetsAt - 12) };
}

function readCompact(fields, count, timed, coding) {
  const timesAt = fields.at;
  const first = timed ? fields.u64() : 0n;
  const start = fields.at;
  const { rows, ticks } = decodeRows(fields.bytes, start, fields.end, count, { ...coding, timed });
  if (rows.some((row) => row.some((level, k) => Math.abs(level * coding.steps[k]) > 65504))) {
    fail('LimitExceeded', start, 'a number is above 65,504');
  }
  const packets = rows.map((row) => row.map((level, k) => level * coding.steps[k]));
  const group = { packets, levels: rows };
  return timed ? { ...group, times: sumTimes(first, ticks, timesAt, timesAt - 12) } : group;
}

function sumTimes(first, steps, at, payloadAt) {
  if (first > MAX_TICKS) fail('LimitExceeded', at, 'a presentation time is too high');
  if (steps.some((step) => step < 1)) fail('CorruptChunk', payloadAt, 'presentation times do not increase');
  const times = [first];
  for (const step of steps) times.push(times.at(-1) + BigInt(step));
  if (times.at(-1) > MAX_TICKS) fail('LimitExceeded', payloadAt, 'a presentation time is too high');
  return times;
}

/** Section 5.4. */
function readAudioConfig(fields) {
  const at = fields.at;
  if (fields.left < 8) fail('Truncated', fields.end, 'an audio configuration has 8 bytes');
  const [codec, channels, preSkip, sampleRate] = [fields.u8(), fields.u8(), fields.u16(), fields.u32()];
  if (codec !== 1) fail('UnsupportedVersion', at, `audio codec ${codec}`);
  if (sampleRate !== 48000) fail('CorruptChunk', at, `a sample rate of ${sampleRate}`);
  if (channels < 1 || channels > 8) fail('LimitExceeded', at, `${channels} channels`);
  return { channels, preSkip };
}

/** Section 5.5. */
function readAudio(fields) {
  const at = fields.at;
  if (fields.left < 10) fail('Truncated', fields.end, 'an audio chunk has at least 10 bytes');
  const [time, count] = [fields.i64(), fields.u16()];
  if (count < 1 || count > 1024) fail('LimitExceeded', at + 8, `an audio chunk of ${count} packets`);
  const lengths = [];
  for (let i = 0; i < count; i++) {
    const lengthAt = fields.at;
    const length = fields.varint();
    if (length < 1 || length > 61440) fail('LimitExceeded', lengthAt, `an audio packet of ${length} bytes`);
    lengths.push(length);
  }
  const packets = lengths.map((length) => fields.slice(length));
  fields.done('audio');
  if (time > MAX_TICKS || time < -MAX_TICKS) fail('LimitExceeded', at, 'an audio time is out of range');
  return { time, packets };
}

const same = (bytes, one, two) =>
  Buffer.compare(bytes.subarray(one.start, one.end), bytes.subarray(two.start, two.end)) === 0;

/** What has been read so far, and the rules between chunks: sections 4 to 6. */
class Assembly {
  constructor(bytes, version) {
    this.bytes = bytes;
    this.version = version;
    this.header = null;
    this.identities = new Map();
    this.whole = new Map(); // by slot: form 0 or 1, where the latent was given in one of them
    this.references = new Map();
    this.digests = new Map();
    this.groups = [];
    this.audioConfig = null;
    this.audio = [];
    this.unknown = [];
    this.entries = [];
    this.first = new Map(); // the first chunk of types, and of slots, that may be repeated
    this.frames = 0;
    this.lastTime = -1n;
    this.indexAt = 0;
    this.ended = false;
  }

  add(chunk) {
    if (this.ended) fail('CorruptChunk', chunk.at, 'bytes follow END');
    if (this.indexAt && chunk.type !== END) fail('CorruptChunk', chunk.at, 'only END may follow INDEX');
    const fields = new Fields(this.bytes, chunk.start, chunk.end);
    if (!LIMITS.has(chunk.type)) {
      if (chunk.mandatory && !ATTACHED.has(chunk.type)) fail('UnsupportedVersion', chunk.at, `chunk type ${chunk.type} is mandatory`);
      this.unknown.push({ type: chunk.type, payload: hex(this.bytes.subarray(chunk.start, chunk.end)) });
      this.entries.push([chunk.at, chunk.type, 0, 0]);
      return;
    }
    if (!this.header && chunk.type !== HEADER) fail('CorruptChunk', chunk.at, 'the header must come first');
    const take = { 1: 'takeHeader', 2: 'takeIdentity', 3: 'takeGroup', 4: 'takeConfig', 5: 'takeAudio' };
    Object.assign(take, { 6: 'takeIndex', 7: 'takeEnd', 17: 'takeReference' });
    const [slot, count] = this[take[chunk.type]](fields, chunk) ?? [0, 0];
    if (chunk.type !== INDEX && chunk.type !== END) this.entries.push([chunk.at, chunk.type, slot, count]);
  }

  takeHeader(fields, chunk) {
    const header = readHeader(fields);
    if (this.header && !same(this.bytes, this.first.get(HEADER), chunk)) {
      fail('CorruptChunk', chunk.at, 'a second, different header');
    }
    this.first.set(HEADER, this.first.get(HEADER) ?? chunk);
    this.header = header;
  }

  takeIdentity(fields, chunk) {
    const identity = readIdentity(fields, this.version.minor, this.identities);
    const whole = this.whole.get(identity.slot) ?? identity.form;
    if ((this.digests.get(identity.slot) ?? identity.digest) !== identity.digest || (identity.form < 2 && whole !== identity.form)) {
      fail('CorruptChunk', chunk.at, `slot ${identity.slot} is given two latents`);
    }
    this.digests.set(identity.slot, identity.digest);
    if (identity.form < 2) this.whole.set(identity.slot, identity.form);
    if (!this.identities.has(identity.slot)) this.identities.set(identity.slot, identity);
    return [identity.slot, 0];
  }

  takeReference(fields, chunk) {
    const [slot, reserved, digest] = [fields.u8(), fields.u8(), hex(fields.slice(32))];
    if (reserved) fail('CorruptChunk', chunk.start + 1, 'the reserved byte is not zero');
    if ((this.digests.get(slot) ?? digest) !== digest) fail('CorruptChunk', chunk.at, `slot ${slot} has another digest`);
    this.digests.set(slot, digest);
    this.references.set(slot, digest);
    return [slot, 0];
  }

  takeGroup(fields, chunk) {
    const group = readGroup(fields, this.header);
    if (group.firstFrame !== this.frames) fail('CorruptChunk', chunk.start, `frame ${this.frames} was expected`);
    if (group.times && group.times[0] <= this.lastTime) fail('CorruptChunk', chunk.start, 'times do not increase');
    if (!this.digests.has(group.slot)) fail('CorruptChunk', chunk.start + 10, `there is no identity ${group.slot}`);
    this.lastTime = group.times ? group.times.at(-1) : this.lastTime;
    this.frames += group.packets.length;
    this.groups.push(group);
    return [group.slot, group.packets.length];
  }

  takeConfig(fields, chunk) {
    const config = readAudioConfig(fields);
    if (this.audioConfig && !same(this.bytes, this.first.get(AUDIO_CONFIG), chunk)) {
      fail('CorruptChunk', chunk.at, 'a second, different audio configuration');
    }
    this.first.set(AUDIO_CONFIG, this.first.get(AUDIO_CONFIG) ?? chunk);
    this.audioConfig = config;
  }

  takeAudio(fields, chunk) {
    const audio = readAudio(fields);
    if (!this.audioConfig) fail('CorruptChunk', chunk.at, 'sound precedes its configuration');
    if (this.audio.length && audio.time <= this.audio.at(-1).time) {
      fail('CorruptChunk', chunk.start, 'audio times do not increase');
    }
    this.audio.push({ ...audio, bytes: chunk.end - chunk.start });
    return [0, audio.packets.length];
  }

  takeIndex(fields, chunk) {
    if (this.header.live) fail('CorruptChunk', chunk.at, 'a live stream has no index');
    const wanted = this.entries.map(([at, type, slot, count]) => [BigInt(at), type, slot, count].join());
    if (fields.left % 12) fail('CorruptChunk', fields.end - (fields.left % 12), 'half an entry');
    const found = [];
    while (fields.left) found.push([fields.u64(), fields.u8(), fields.u8(), fields.u16()].join());
    if (found.join(';') !== wanted.join(';')) fail('CorruptChunk', chunk.start, 'the index does not fit the chunks');
    this.indexAt = chunk.at;
  }

  takeEnd(fields, chunk) {
    if (this.header.live) fail('CorruptChunk', chunk.at, 'a live stream has no END');
    if (fields.left < 24) fail('Truncated', fields.end, 'END has 24 bytes');
    const [indexAt, frames, length] = [fields.u64(), fields.u64(), fields.u64()];
    if (indexAt !== BigInt(this.indexAt)) fail('CorruptChunk', chunk.start, 'END names another place of the index');
    if (frames !== BigInt(this.frames)) fail('CorruptChunk', chunk.start + 8, 'END counts other frames');
    if (length !== BigInt(chunk.next)) fail('CorruptChunk', chunk.start + 16, 'END gives another length');
    this.ended = true;
  }
}

/** Read a whole stream strictly; throws StreamError at its first fault. `progress` is given what is read so far. */
export function readStream(bytes, progress = () => {}) {
  const result = new Assembly(bytes, readPrologue(bytes));
  progress(result);
  let at = 16;
  while (at < bytes.length) {
    const chunk = readChunk(bytes, at);
    result.add(chunk);
    at = chunk.next;
  }
  if (!result.ended && !result.header?.live) fail('Truncated', bytes.length, 'the stream has no END');
  return result;
}
