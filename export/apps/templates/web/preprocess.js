// The preprocessing that the model was trained with, in JavaScript.
//
// A canvas resizes otherwise than training does (Pillow: antialiased, 8 bit between its two passes, fixed-point weights),
// which changes a classifier's answers. This repeats Pillow's arithmetic, so the pixels are the same bytes; check.html
// proves it. It needs no DOM: it runs in a page, in a worker and in Node.

const PRECISION_BITS = 22; // of a weight; Pillow keeps 32 - 8 (pixel) - 2 (overshoot and sign)
const MAX_PIXELS = 64_000_000;
const MAX_RATIO = 1000; // of the sides

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight(value) {
      const a = -0.5;
      const x = Math.abs(value);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
      return 0;
    },
  },
};

/**
 * The central square of an image.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} image RGBA, opaque
 * @param {{size: number, resize: number, interpolation: string}} spec
 * @returns {Uint8Array} RGB, size x size x 3
 */
export function geometry({ data, width, height }, spec) {
  const short = Math.min(width, height);
  if (short < 1 || width * height > MAX_PIXELS || Math.max(width, height) > MAX_RATIO * short) {
    throw new RangeError(`image of ${width} x ${height} pixels: sides from 1, within 1:${MAX_RATIO}, at most ${MAX_PIXELS} pixels`);
  }
  const targetWidth = Math.floor((width * spec.resize) / short);
  const targetHeight = Math.floor((height * spec.resize) / short);
  const across = windows(width, targetWidth, cropStart(targetWidth - spec.size), spec);
  const down = windows(height, targetHeight, cropStart(targetHeight - spec.size), spec);
  return vertical(horizontal(data, width, across, down), across.count, down);
}

/**
 * (pixel / 255 - mean) / std, channels first, rounded once from double to float.
 * @returns {Float32Array} 3 x size x size
 */
export function normalize(pixels, spec) {
  const plane = spec.size * spec.size;
  const out = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    const table = Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - spec.mean[channel]) / spec.std[channel]);
    for (let i = 0; i < plane; i++) out[channel * plane + i] = table[pixels[3 * i + channel]];
  }
  return out;
}

/** The logits; throws if one is NaN or infinite, from which softmax would make class 0. */
export function finite(logits) {
  if (!logits.every(Number.isFinite)) throw new RangeError('the model gave no answer: its logits are not finite');
  return logits;
}

/** Probabilities of logits; throws as finite. */
export function softmax(logits) {
  const top = finite(logits).reduce((a, b) => Math.max(a, b), -Infinity);
  const shares = Array.from(logits, (value) => Math.exp(value - top));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share) => share / sum);
}

/** Half of what is left over, rounded half to even. */
function cropStart(leftOver) {
  return (leftOver + ((leftOver >> 1) & 1)) >> 1;
}

/** Source pixels and fixed-point weights of the target pixels from..from + spec.size - 1. */
function windows(sourceSize, targetSize, from, { size, interpolation }) {
  const filter = FILTERS[interpolation];
  if (filter === undefined) throw new RangeError(`interpolation ${interpolation}`);
  const scale = sourceSize / targetSize;
  const stretch = Math.max(scale, 1); // a smaller image widens the filter: antialiasing
  const reach = filter.support * stretch;
  const most = Math.ceil(reach) * 2 + 1;
  const starts = new Int32Array(size);
  const lengths = new Int32Array(size);
  const weights = new Int32Array(size * most);
  const exact = new Float64Array(most);
  for (let i = 0; i < size; i++) {
    const center = (from + i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - reach + 0.5));
    const length = Math.min(sourceSize, Math.trunc(center + reach + 0.5)) - start;
    let sum = 0;
    for (let k = 0; k < length; k++) {
      exact[k] = filter.weight((k + start - center + 0.5) * (1 / stretch));
      sum += exact[k];
    }
    for (let k = 0; k < length; k++) {
      const fixed = (sum === 0 ? exact[k] : exact[k] / sum) * (1 << PRECISION_BITS);
      weights[i * most + k] = Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    starts[i] = start;
    lengths[i] = length;
  }
  return { count: size, most, starts, lengths, weights };
}

function clip8(sum) {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** First pass, over the rows that the second one reads: RGBA -> RGB, rows x across.count x 3. */
function horizontal(data, width, across, down) {
  const first = down.starts[0];
  const last = down.starts[down.count - 1] + down.lengths[down.count - 1];
  const out = new Uint8Array((last - first) * across.count * 3);
  const half = 1 << (PRECISION_BITS - 1);
  let at = 0;
  for (let y = first; y < last; y++) {
    for (let i = 0; i < across.count; i++) {
      let red = half;
      let green = half;
      let blue = half;
      let pixel = 4 * (y * width + across.starts[i]);
      const end = i * across.most + across.lengths[i];
      for (let k = i * across.most; k < end; k++, pixel += 4) {
        const weight = across.weights[k];
        red += data[pixel] * weight;
        green += data[pixel + 1] * weight;
        blue += data[pixel + 2] * weight;
      }
      out[at++] = clip8(red);
      out[at++] = clip8(green);
      out[at++] = clip8(blue);
    }
  }
  return { rows: out, first };
}

/** Second pass: RGB, down.count x columns x 3. */
function vertical({ rows, first }, columns, down) {
  const stride = columns * 3;
  const out = new Uint8Array(down.count * stride);
  const half = 1 << (PRECISION_BITS - 1);
  for (let i = 0; i < down.count; i++) {
    const end = i * down.most + down.lengths[i];
    const top = (down.starts[i] - first) * stride;
    for (let x = 0; x < stride; x++) {
      let sum = half;
      for (let k = i * down.most, at = top + x; k < end; k++, at += stride) sum += rows[at] * down.weights[k];
      out[i * stride + x] = clip8(sum);
    }
  }
  return out;
}
