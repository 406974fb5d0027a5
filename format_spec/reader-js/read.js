#!/usr/bin/env node
// Print what .stc streams hold, a line of JSON for each; the exit code is 1 if one of them is not valid.
//
//     node format_spec/reader-js/read.js talk.stc
//     node format_spec/reader-js/read.js format_spec/vectors/valid/*.stc

import { readFileSync } from 'node:fs';
import { readStream, StreamError } from './stream.js';

const plain = (key, value) => (typeof value === 'bigint' ? Number(value) : value);

/** Packets as numbers, and as the hexadecimal bytes of binary32, which holds all of them exactly. */
function packetsHex(packets) {
  const view = new DataView(new ArrayBuffer(4 * 35 * packets.length));
  packets.flat().forEach((number, i) => view.setFloat32(4 * i, number, true));
  return Buffer.from(view.buffer).toString('hex');
}

function describe(bytes) {
  let stream;
  try {
    stream = readStream(bytes, (begun) => {
      stream = begun;
    });
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    const { kind, offset, message } = error;
    return { error: kind, offset, message, groups_before: stream?.groups.length ?? 0 };
  }
  const { header } = stream;
  return {
    version: stream.version,
    profile: header.profile,
    fps: header.rate,
    size: [header.width, header.height],
    pack: header.packName,
    frames: stream.frames,
    identities: Object.fromEntries([...stream.identities].map(([slot, { digest }]) => [slot, digest])),
    references: Object.fromEntries(stream.references),
    groups: stream.groups.map(({ firstFrame, slot, packets, levels, times }) => ({
      first_frame: firstFrame,
      identity: slot,
      packets32: packetsHex(packets),
      sum: packets.flat().reduce((sum, number) => sum + number, 0),
      levels,
      pts: times,
    })),
    audio: stream.audio.map(({ time, bytes: count }) => ({ first_packet_pts: time, bytes: count })),
    unknown: stream.unknown,
  };
}

let failed = false;
for (const path of process.argv.slice(2)) {
  const result = describe(new Uint8Array(readFileSync(path)));
  failed ||= 'error' in result;
  console.log(JSON.stringify({ file: path, ...result }, plain));
}
process.exitCode = failed ? 1 : 0;
