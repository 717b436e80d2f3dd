// From a photo's file to the network's input, as landmark_models/photo.py and preprocess.py do it: the browser decodes,
// turns upright and converts to sRGB; what follows is Pillow's own arithmetic, since a canvas resizes in other ways.

const STRIP = 4e6; // pixels that are read from a canvas at a time; phones have no room for large canvases

const FILTERS = { // Pillow's: half the width of the kernel at scale 1, and the kernel
  bilinear: [1, x => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, x => {
    const a = -0.5, t = Math.abs(x);
    if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
  }],
  lanczos: [3, x => Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0],
};
const sinc = x => x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);

// A decoded photo as float32 (3, height, width), normalised. `input` is what the model expects, from page.json.
export function networkInput(bitmap, isJpeg, input) {
  const factor = reduction(bitmap.width, bitmap.height, input.enough, isJpeg);
  return normalised(resized(reduced(bitmap, factor), input), input);
}

// How many times smaller each side is read, so that the shorter one still has `enough` pixels. A JPEG's decoder can halve
// three times, and rounds as Pillow asks it to.
export function reduction(width, height, enough, isJpeg) {
  const shorter = Math.min(width, height);
  if (shorter <= enough) return 1;
  if (!isJpeg) return Math.floor(shorter / enough);
  const least = side => Math.ceil(side * enough / shorter);
  const ratio = Math.min(Math.floor(width / least(width)), Math.floor(height / least(height)));
  return [8, 4, 2, 1].find(factor => ratio >= factor);
}

// The image over white, each block of factor x factor pixels as their mean.
function reduced(bitmap, factor) {
  const width = Math.ceil(bitmap.width / factor), height = Math.ceil(bitmap.height / factor);
  const data = new Uint8ClampedArray(width * height * 3);
  const rows = Math.max(1, Math.floor(STRIP / bitmap.width / factor)) * factor;
  const canvas = new OffscreenCanvas(bitmap.width, Math.min(rows, bitmap.height));
  const context = canvas.getContext('2d', {willReadFrequently: true});
  for (let top = 0; top < bitmap.height; top += rows) {
    const count = Math.min(rows, bitmap.height - top);
    context.fillStyle = '#fff';
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, top, bitmap.width, count, 0, 0, bitmap.width, count);
    const pixels = context.getImageData(0, 0, bitmap.width, count).data;
    means(pixels, bitmap.width, count, factor, data, top / factor * width * 3);
  }
  return {data, width, height};
}

// The means of the blocks of a strip of RGBA, written from `offset` on as RGB.
function means(pixels, width, height, factor, target, offset) {
  for (let top = 0; top < height; top += factor) {
    const bottom = Math.min(top + factor, height);
    for (let left = 0; left < width; left += factor) {
      const right = Math.min(left + factor, width);
      let red = 0, green = 0, blue = 0;
      for (let y = top; y < bottom; y++) {
        for (let i = (y * width + left) * 4, end = (y * width + right) * 4; i < end; i += 4) {
          red += pixels[i];
          green += pixels[i + 1];
          blue += pixels[i + 2];
        }
      }
      const count = (bottom - top) * (right - left);
      target[offset++] = Math.floor(red / count + 0.5);
      target[offset++] = Math.floor(green / count + 0.5);
      target[offset++] = Math.floor(blue / count + 0.5);
    }
  }
}

// The image resized and cropped to the centre: only the part that is kept is computed.
export function resized(image, {size, resize, filter}) {
  const [height, width] = size;
  const [newHeight, newWidth] = newSize(image, resize);
  const columns = kernels(image.width, newWidth, margin(newWidth, width), width, filter);
  const rows = kernels(image.height, newHeight, margin(newHeight, height), height, filter);
  // Horizontally first, rounded to whole levels in between, as Pillow does.
  const first = rows.length ? Math.min(...rows.map(row => row.start)) : 0;
  const last = Math.max(...rows.map(row => row.start + row.weights.length));
  const between = new Uint8ClampedArray((last - first) * width * 3);
  for (let y = first, target = 0; y < last; y++) {
    for (const {start, weights} of columns) {
      target = weigh(image.data, (y * image.width + start) * 3, 3, weights, between, target);
    }
  }
  const data = new Uint8ClampedArray(height * width * 3);
  let target = 0;
  for (const {start, weights} of rows) {
    for (let x = 0; x < width; x++) {
      target = weigh(between, ((start - first) * width + x) * 3, width * 3, weights, data, target);
    }
  }
  return {data, width, height};
}

function weigh(source, from, step, weights, target, to) {
  let red = 0, green = 0, blue = 0;
  for (let i = 0; i < weights.length; i++, from += step) {
    red += weights[i] * source[from];
    green += weights[i] * source[from + 1];
    blue += weights[i] * source[from + 2];
  }
  target[to] = Math.floor(red + 0.5); // an array of this type would round halves to even numbers
  target[to + 1] = Math.floor(green + 0.5);
  target[to + 2] = Math.floor(blue + 0.5);
  return to + 3;
}

// As torchvision computes it: one number is the shorter side, two are height and width.
function newSize({width, height}, resize) {
  if (Array.isArray(resize)) return resize;
  const shorter = Math.min(width, height);
  const other = side => side === shorter ? resize : Math.trunc(resize * side / shorter);
  return [other(height), other(width)];
}

// Where the kept part begins; halves are rounded to the even number, as Python's `round` does.
function margin(whole, kept) {
  const half = (whole - kept) / 2, down = Math.floor(half);
  return half - down === 0.5 ? down + down % 2 : Math.round(half);
}

// What each of `count` pixels from `first` on is made of, where `size` pixels become `newSize`: the position of the first
// pixel and the weights from there on.
function kernels(size, newSize, first, count, filter) {
  if (size === newSize) return Array.from({length: count}, (_, i) => ({start: first + i, weights: [1]}));
  const [width, kernel] = FILTERS[filter];
  const scale = size / newSize, stretch = Math.max(scale, 1), support = width * stretch;
  return Array.from({length: count}, (_, i) => {
    const center = (first + i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(size, Math.trunc(center + support + 0.5));
    const weights = Array.from({length: end - start}, (_, j) => kernel((start + j - center + 0.5) / stretch));
    const sum = weights.reduce((one, other) => one + other, 0);
    return {start, weights: weights.map(weight => weight / sum)};
  });
}

function normalised({data, width, height}, {mean, std}) {
  const area = width * height, values = new Float32Array(3 * area);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < area; i++) values[channel * area + i] = (data[3 * i + channel] / 255 - mean[channel]) / std[channel];
  }
  return values;
}
