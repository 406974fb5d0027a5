// Bytes with bounds, CRC-32, half precision. SPEC.md section 1.

/** An error of SPEC.md section 8: `kind` is its class, `offset` the absolute byte it was found at. */
export class StreamError extends Error {
  constructor(kind, offset, message) {
    super(`${kind} at byte ${offset}: ${message}`);
    this.kind = kind;
    this.offset = offset;
  }
}

export const fail = (kind, offset, message) => {
  throw new StreamError(kind, offset, message);
};

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest >>> 0;
});

/** CRC-32 of bytes start..end-1. */
export function crc32(bytes, start, end) {
  let crc = 0xffffffff;
  for (let i = start; i < end; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}

/** The number that 16 bits stand for in binary16. */
export function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The 16 bits of the binary16 number nearest to a number, ties to even. */
export function toHalf(number) {
  const sign = number < 0 || Object.is(number, -0) ? 0x8000 : 0;
  const size = Math.abs(number);
  if (size === 0) return sign;
  const exponent = Math.max(Math.floor(Math.log2(size)), -14);
  const unit = 2 ** (exponent - 10); // of the last bit; one too large where log2 was rounded up does no harm
  const scaled = size / unit;
  const whole = Math.floor(scaled);
  const rest = scaled - whole;
  const rounded = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole;
  const bits = (exponent + 14) * 1024 + rounded; // of a normal number the leading 1 counts into the exponent
  return sign | Math.min(bits, 0x7c00);
}

/** Reads a payload field by field; every access is checked. Numbers above 2^53 are BigInt. */
export class Fields {
  constructor(bytes, start, end) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left() {
    return this.end - this.at;
  }

  take(count) {
    if (this.left < count) fail('Truncated', this.end, `${count} bytes are wanted, ${this.left} are left`);
    this.at += count;
    return this.at - count;
  }

  u8() {
    return this.bytes[this.take(1)];
  }

  i8() {
    return this.view.getInt8(this.take(1));
  }

  u16() {
    return this.view.getUint16(this.take(2), true);
  }

  u32() {
    return this.view.getUint32(this.take(4), true);
  }

  u64() {
    return this.view.getBigUint64(this.take(8), true);
  }

  i64() {
    return this.view.getBigInt64(this.take(8), true);
  }

  f64() {
    return this.view.getFloat64(this.take(8), true);
  }

  slice(count) {
    const start = this.take(count);
    return this.bytes.subarray(start, start + count);
  }

  varint() {
    const start = this.at;
    let value = 0;
    for (let size = 1; size <= 3; size++) {
      const byte = this.u8();
      value += (byte & 127) * 128 ** (size - 1);
      if (byte < 128) {
        if (size > 1 && byte === 0) break;
        return value;
      }
    }
    return fail('CorruptChunk', start, 'a varint is not in its shortest form');
  }

  svarint() {
    const value = this.varint();
    return value % 2 ? -(value + 1) / 2 : value / 2;
  }

  done(what) {
    if (this.left) fail('CorruptChunk', this.at, `${what}: ${this.left} bytes too many`);
  }
}
