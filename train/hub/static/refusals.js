// Why a photo can't be read, in a sentence; as landmark_models/photo.py and landmark_models/imaging say it.

const MAX_BYTES = 64 * 2 ** 20, MAX_PIXELS = 128e6, MAX_ASPECT = 50;
const HEIF = ['heic', 'heix', 'heim', 'heis', 'hevc', 'hevx', 'mif1', 'msf1', 'mif2'];

// The sentence for a photo, {file, name}, that can't be used; "" if it may be tried.
export async function refusal({file, name}) {
  if (!file.size) return `${name} is empty (0 bytes).`;
  if (file.size > MAX_BYTES) return `${name} is larger than ${MAX_BYTES / 2 ** 20} MiB; choose a smaller copy.`;
  const size = await imageSize(file);
  if (!size) return unreadable({file, name});
  const [width, height] = size;
  if (Math.max(...size) > MAX_ASPECT * Math.min(...size)) {
    return `${name} has ${width} x ${height} pixels, more than ${MAX_ASPECT} times as long as wide; crop it.`;
  }
  if (width * height > MAX_PIXELS) {
    return `${name} has ${width} x ${height} pixels, more than the ${MAX_PIXELS / 1e6} million that are accepted; ` +
      'choose a smaller copy.';
  }
  return '';
}

// The sentence for a photo that the browser can't decode.
export async function unreadable({file, name}) {
  const start = new Uint8Array(await file.slice(0, 32).arrayBuffer()), text = String.fromCharCode(...start);
  if (text.slice(4, 8) === 'ftyp' && HEIF.includes(text.slice(8, 12))) {
    return `${name} is a HEIC photo, which this browser can't open; save it as JPEG.`;
  }
  if (/^(II\*\0|MM\0\*)/.test(text)) return `${name} is a TIFF image, which this browser can't open; save it as JPEG.`;
  if (/^(\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|BM)/s.test(text)) return `${name} is damaged and can't be decoded.`;
  return `${name} is not an image that this browser can read (JPEG, PNG, WebP, GIF, BMP or AVIF).`;
}

// Width and height from the file's header: its pixels aren't decoded until they are drawn.
function imageSize(file) {
  const image = new Image(), url = URL.createObjectURL(file);
  return new Promise(resolve => {
    image.onload = () => resolve(image.naturalWidth ? [image.naturalWidth, image.naturalHeight] : null);
    image.onerror = () => resolve(null);
    image.src = url;
  }).finally(() => URL.revokeObjectURL(url));
}
