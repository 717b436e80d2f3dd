// The camera's position from a photo's EXIF, as landmark_models/imaging/position.py reads it.

const GPS_POINTER = 0x8825, REFERENCES = {latitude: [1, 2, 'NS'], longitude: [3, 4, 'EW']};
const ASCII = 2, BYTE = 1, RATIONALS = [5, 10];
const HEAD = 2 ** 18; // bytes at the beginning of a JPEG among which its EXIF is

// [latitude, longitude] in degrees; null if the photo, a Blob, doesn't state a valid position.
export async function photoPosition(photo) {
  try {
    const block = await exifBlock(photo);
    return block && valid(gps(block));
  } catch {
    return null; // malformed
  }
}

function valid([latitude, longitude]) {
  const possible = Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180 && (latitude !== 0 || longitude !== 0);
  return possible ? [latitude, longitude] : null;
}

// The TIFF structure with the EXIF of a JPEG, PNG or WebP.
async function exifBlock(photo) {
  const head = new DataView(await photo.slice(0, HEAD).arrayBuffer());
  if (head.getUint16(0) === 0xffd8) return jpegBlock(head);
  if (head.getUint32(0) === 0x89504e47) return chunk(photo, 8, 'eXIf', (view, at) => [view.getUint32(at), at + 4, 12]);
  if (text(head, 8, 4) !== 'WEBP') return null;
  const block = await chunk(photo, 12, 'EXIF', (view, at) => [view.getUint32(at + 4, true), at, 8]);
  return block && text(block, 0, 4) === 'Exif' ? new DataView(block.buffer, block.byteOffset + 6) : block;
}

function jpegBlock(view) {
  for (let at = 2; view.getUint8(at) === 0xff;) {
    const marker = view.getUint8(at + 1), length = view.getUint16(at + 2);
    if (marker === 0xda) return null;
    if (marker === 0xe1 && text(view, at + 4, 6) === 'Exif\0\0') return new DataView(view.buffer, at + 10, length - 8);
    at += 2 + length;
  }
  return null;
}

// The first chunk of a name; `layout` tells a chunk's length, where its name is, and what it takes beside its content.
async function chunk(photo, at, name, layout) {
  while (at + 12 <= photo.size) {
    const view = new DataView(await photo.slice(at, at + 12).arrayBuffer()), [length, named, beside] = layout(view, 0);
    if (text(view, named, 4) === name) return new DataView(await photo.slice(at + 8, at + 8 + length).arrayBuffer());
    at += beside + length + (beside === 8 ? length % 2 : 0);
  }
  return null;
}

function text(view, at, length) {
  return String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, length));
}

function gps(view) {
  const little = text(view, 0, 2) === 'II';
  const pointer = entries(view, view.getUint32(4, little), little).get(GPS_POINTER);
  const found = entries(view, view.getUint32(pointer + 8, little), little);
  return Object.values(REFERENCES).map(([reference, value, letters]) =>
    degrees(view, found.get(value), little) * sign(view, found.get(reference), little, letters));
}

// Where the entry of each tag of a directory begins.
function entries(view, at, little) {
  const count = view.getUint16(at, little);
  return new Map(Array.from({length: count}, (_, i) => at + 2 + 12 * i).map(entry => [view.getUint16(entry, little), entry]));
}

function degrees(view, entry, little) {
  if (!RATIONALS.includes(view.getUint16(entry + 2, little))) throw new Error('not an angle');
  const count = Math.min(3, view.getUint32(entry + 4, little)), at = view.getUint32(entry + 8, little);
  const parts = Array.from({length: count}, (_, i) =>
    view.getInt32(at + 8 * i, little) / view.getInt32(at + 8 * i + 4, little));
  const size = Math.abs(parts.reduce((sum, part, i) => sum + part / 60 ** i, 0));
  if (!Number.isFinite(size)) throw new Error('not an angle');
  return size;
}

function sign(view, entry, little, letters) {
  if (![BYTE, ASCII].includes(view.getUint16(entry + 2, little))) throw new Error('not a hemisphere');
  const count = view.getUint32(entry + 4, little);
  const at = count > 4 ? view.getUint32(entry + 8, little) : entry + 8;
  const index = letters.indexOf(text(view, at, 1).toUpperCase());
  if (index < 0) throw new Error('not a hemisphere');
  return 1 - 2 * index;
}
