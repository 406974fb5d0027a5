// The compact profile. SPEC.md section 12.

import { fail } from './bytes.js';

const BOUNDS = [192, 400, 720, 1200, 1760, 2560, 3680, 5280, 7680, 11200, 17600];
const ACTIVITIES = [100, 290, 550, 950, 1470, 2130, 3100, 4450, 6400, 9300, 14000, 22000];
const ZERO = [
  255, 232, 254, 224, 251, 211, 245, 251,
  251, 226, 243, 212, 223, 193, 234, 242,
  245, 221, 233, 198, 207, 176, 237, 231,
  231, 191, 211, 174, 185, 150, 157, 207,
  210, 154, 183, 142, 160, 134, 179, 186,
  181, 131, 150, 118, 114, 90, 120, 151,
  179, 137, 125, 93, 75, 69, 121, 131,
  148, 99, 102, 68, 54, 65, 89, 102,
  144, 79, 73, 55, 40, 33, 59, 79,
  95, 65, 51, 43, 23, 22, 41, 58,
  75, 64, 38, 31, 47, 35, 28, 43,
  56, 48, 22, 18, 41, 38, 11, 33,
];
const SIZE = [
  255, 214, 249, 243, 236, 223,
  255, 166, 178, 177, 222, 217,
  253, 182, 167, 168, 136, 179,
  248, 197, 154, 144, 141, 104,
  236, 187, 195, 157, 124, 122,
  220, 187, 158, 148, 133, 125,
  187, 174, 156, 150, 125, 119,
  155, 150, 148, 128, 119, 97,
  120, 122, 117, 108, 108, 95,
  92, 94, 95, 92, 89, 84,
  59, 61, 62, 59, 56, 50,
  44, 43, 42, 41, 39, 37,
  244, 237, 229, 215, 193, 166,
  241, 234, 226, 213, 194, 166,
  246, 234, 222, 208, 187, 159,
  213, 203, 163, 180, 148, 152,
  207, 192, 176, 156, 128, 98,
  167, 153, 127, 110, 77, 89,
  162, 146, 130, 109, 85, 60,
  131, 105, 125, 81, 91, 42,
  91, 82, 57, 71, 48, 30,
  64, 47, 39, 31, 36, 23,
  50, 45, 45, 39, 37, 34,
  32, 22, 24, 22, 25, 19,
];
const SIGN = [102, 45, 81, 135, 128, 121, 175, 211, 154];

/** Section 12.1. */
class RangeDecoder {
  constructor(bytes, start, end) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.at = start;
    this.range = 0xffffffff;
    this.code = 0;
    for (let i = 0; i < 4; i++) this.code = this.code * 256 + this.next();
  }

  next() {
    const byte = this.at < this.end ? this.bytes[this.at] : 0;
    this.at++;
    return byte;
  }

  refill() {
    while (this.range < 2 ** 24) {
      this.range *= 256;
      this.code = (this.code * 256 + this.next()) % 2 ** 32;
    }
  }

  decide(states, index) {
    const chance = states[index];
    const bound = (this.range >>> 12) * (chance >> 4);
    const one = this.code >= bound;
    if (one) {
      this.range -= bound;
      this.code -= bound;
      states[index] = chance - (chance >> 6);
    } else {
      this.range = bound;
      states[index] = chance + ((65536 - chance) >> 6);
    }
    this.refill();
    return one;
  }

  even() {
    this.range = Math.floor(this.range / 2);
    const one = this.code >= this.range;
    if (one) this.code -= this.range;
    this.refill();
    return one;
  }

  number(bits) {
    let value = 0;
    for (let i = 0; i < bits; i++) value = value * 2 + (this.even() ? 1 : 0);
    return value;
  }

  golomb(most) {
    let bits = 1;
    while (this.even()) {
      bits++;
      if (bits > most) fail('CorruptChunk', this.start, 'a number is too long');
    }
    return 2 ** (bits - 1) + this.number(bits - 1) - 1;
  }

  finish() {
    if (this.at < this.end) fail('CorruptChunk', this.at, 'bytes follow the coded levels');
  }
}

/** Section 12.2: the prediction and its skew, for rows but the first. */
function predict(k, row, before, earlier, rest, terms) {
  if (!terms.length) return [before[k], 0];
  let sum = 16;
  for (const { source, weight } of terms) {
    if (source === 64) sum += weight * (earlier ? before[k] - earlier[k] : 0);
    else if (source === 65) sum += weight * (rest[k] - before[k]);
    else sum += weight * (row[source] - before[source]);
  }
  const whole = Math.floor(sum / 32);
  const above = sum - whole * 32 - 16;
  const prediction = Math.max(-32767, Math.min(32767, before[k] + whole));
  return [prediction, above >= 5 ? 1 : above <= -5 ? -1 : 0];
}

/**
 * Rows of levels from bytes start..end-1, and the ticks between frames if `timed`.
 * spread, rest: an activity class and a rest level for each place of a row. terms: of 5.1.1. foretold: of each row what
 * another identity lets expect, where only the differences from it are coded.
 */
export function decodeRows(bytes, start, end, count, { spread, rest, terms, limit = 32767, timed = false, foretold = null }) {
  if (end > start && bytes[end - 1] === 0) fail('CorruptChunk', end - 1, 'the coded levels end with a zero');
  const coder = new RangeDecoder(bytes, start, end);
  const zero = ZERO.map((chance) => chance * 256);
  const sizes = SIZE.map((chance) => chance * 256);
  const signs = SIGN.map((chance) => chance * 256);
  const activity = spread.map((kind) => ACTIVITIES[kind]);
  const lastSign = spread.map(() => 0);
  const ownTerms = spread.map((_, k) => terms.filter((term) => term.target === k));
  const rows = [];
  for (let r = 0; r < count; r++) {
    const before = r ? rows[r - 1] : rest;
    const row = [];
    let seen = 0;
    let expected = 0;
    for (let k = 0; k < spread.length; k++) {
      const [usual, skew] = r ? predict(k, row, before, rows[r - 2], rest, ownTerms[k]) : [rest[k], 0];
      const prediction = foretold ? usual + foretold[r][k] - (r ? foretold[r - 1][k] : 0) : usual;
      const a = r ? activity[k] : 4 * activity[k];
      let split = 0;
      while (Math.floor(a / 2 ** split) >= 24576) split++;
      const scaled = Math.floor(a / 2 ** split);
      const kind = BOUNDS.filter((bound) => scaled >= bound).length;
      const surprise = !r ? 3 : 2 * seen < expected ? 0 : 4 * seen < 5 * expected + 8192 ? 1 : 2;
      let size = 0;
      if (coder.decide(zero, 8 * kind + 2 * surprise + (skew ? 1 : 0))) {
        size = 1;
        while (size < 14 && coder.decide(sizes, (r ? 0 : 72) + 6 * kind + Math.min(size, 6) - 1)) size++;
        if (size === 14) size += coder.golomb(17);
      }
      const magnitude = size * 2 ** split + coder.number(split);
      const negative = magnitude > 0 && coder.decide(signs, 3 * (skew + 1) + lastSign[k] + 1);
      const level = prediction + (negative ? -magnitude : magnitude);
      if (Math.abs(level) > 32767) fail('CorruptChunk', start, `a level of row ${r} is out of range`);
      row.push(level);
      if (r) {
        seen += Math.min(size, 3) * 4096;
        expected += Math.min(scaled, 12288);
        activity[k] = a + Math.floor((Math.min(magnitude, 16384) * 4096 - a) / 32);
        lastSign[k] = magnitude ? (negative ? -1 : 1) : 0;
      }
    }
    rows.push(row);
  }
  const ticks = [];
  const states = [32768, 32768];
  for (let i = 1, step = 0; timed && i < count; i++) {
    if (coder.decide(states, 0)) {
      const change = coder.golomb(34) + 1;
      step += coder.decide(states, 1) ? -change : change;
    }
    if (step < 1 || step > 2 ** 32 - 1) fail('CorruptChunk', start, 'a step between frames is out of range');
    ticks.push(step);
  }
  if (rows.some((row) => row.some((level) => Math.abs(level) > limit))) {
    fail('CorruptChunk', start, 'a level is out of range');
  }
  coder.finish();
  return { rows, ticks };
}

/** The step that a code names: section 5.1.1. */
export const stepOf = (code) => (8 + (code % 8)) * 2 ** (Math.floor(code / 8) - 19);

/**
 * The levels, 18 rows of 512, that another identity's numbers let expect in steps of a code: the end of section 12.2.
 * Numerator and denominator are integers below 2^43, so the rounded quotient never reaches the next integer.
 */
export function foretell(latent, code) {
  const step = (8 + (code % 8)) * 2 ** (Math.floor(code / 8) + 5); // in units of 2^-24, as the numbers below
  const level = (number) => Math.floor((2 * number * 2 ** 24 + step) / (2 * step));
  const row = (r) => Array.from(latent.subarray(512 * r, 512 * (r + 1)), (number) => Math.max(-1023, Math.min(1023, level(number))));
  return Array.from({ length: 18 }, (_, r) => row(r));
}

/** The quantiser at the end of a compact header: section 5.1.1. */
export function readQuantiser(fields) {
  const begin = fields.at;
  const steps = Array.from({ length: 35 }, () => stepOf(fields.u8()));
  const spread = [];
  for (let i = 0; i < 18; i++) {
    const byte = fields.u8();
    spread.push(byte & 15, byte >> 4);
  }
  if (spread.pop() !== 0) fail('CorruptChunk', begin + 52, 'the reserved half byte is not zero');
  const rest = Array.from({ length: 35 }, () => fields.svarint());
  const count = fields.u8();
  if (count > 140) fail('LimitExceeded', fields.at - 1, `${count} prediction terms`);
  const termsAt = fields.at;
  const rows = Array.from({ length: count }, () => [fields.u8(), fields.u8(), fields.i8()]);
  fields.done('quantiser');
  for (const [target, source, weight] of rows) {
    const known = source < target || source === 64 || source === 65;
    if (target > 34 || !known || !weight) fail('CorruptChunk', termsAt, 'a prediction term makes no sense');
  }
  if (spread.some((kind) => kind > 11)) fail('LimitExceeded', begin, 'an activity class is above 11');
  if (rest.some((level, k) => Math.abs(level) > 32767 || Math.abs(level * steps[k]) > 65504)) {
    fail('LimitExceeded', begin, 'a rest level is out of range');
  }
  const places = rows.map(([target, source]) => target * 256 + source);
  if (places.some((place, i) => i && place <= places[i - 1])) {
    fail('CorruptChunk', begin, 'the prediction terms are not in order');
  }
  const terms = rows.map(([target, source, weight]) => ({ target, source, weight }));
  return { steps, spread, rest, terms };
}
