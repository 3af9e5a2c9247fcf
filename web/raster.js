// Operations on grids {width, height, data}: row by row, 0 to 1, or 0 and 1 for masks.
// They compute what Pillow, NumPy and scipy.ndimage compute for `letterpress predict`.

export const grid = (width, height, data = new Float32Array(width * height)) => ({width, height, data});

/** Makes a grid whose values depend on those of another at the same place. */
export function map({width, height, data}, value) {
  const result = grid(width, height); // Float32Array.from is ten times slower than a loop
  for (let i = 0; i < data.length; i++) result.data[i] = value(data[i], i);
  return result;
}

export function sum({data}) {
  let total = 0;
  for (let i = 0; i < data.length; i++) total += data[i];
  return total;
}

/** Returns the n-th percentiles of values, interpolated linearly. */
export function percentiles(values, ...shares) {
  const sorted = Float32Array.from(values).sort();
  return shares.map((share) => {
    const place = (share / 100) * (sorted.length - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
  });
}

/** Rounds to the nearest integer, halves to the even one. */
export function round(value) {
  const nearest = Math.round(value);
  return Math.abs(value % 1) === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  bilinear: [1, (x) => Math.max(1 - Math.abs(x), 0)],
  bicubic: [2, (x) => {
    const t = Math.abs(x);
    if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
    return t < 2 ? ((t - 5) * t + 8) * t * -0.5 + 2 : 0;
  }],
};

/** Returns [first index, weights] of the inputs of each output, along one axis. */
function weights(before, after, [support, filter]) {
  const scale = before / after;
  const stretch = Math.max(scale, 1);
  return Array.from({length: after}, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support * stretch + 0.5), 0);
    const end = Math.min(Math.trunc(center + support * stretch + 0.5), before);
    const raw = Array.from({length: end - first}, (_, i) => filter((i + first - center + 0.5) / stretch));
    const total = raw.reduce((a, b) => a + b, 0);
    return [first, raw.map((weight) => weight / total)];
  });
}

/** Resizes like Pillow, with the filter "box", "bilinear" or "bicubic". */
export function resize(source, width, height, filter) {
  const across = grid(width, source.height);
  weights(source.width, width, FILTERS[filter]).forEach(([first, own], x) => {
    for (let y = 0; y < source.height; y++) {
      let value = 0;
      for (let i = 0; i < own.length; i++) value += own[i] * source.data[y * source.width + first + i];
      across.data[y * width + x] = value;
    }
  });
  const result = grid(width, height);
  weights(source.height, height, FILTERS[filter]).forEach(([first, own], y) => {
    for (let x = 0; x < width; x++) {
      let value = 0;
      for (let i = 0; i < own.length; i++) value += own[i] * across.data[(first + i) * width + x];
      result.data[y * width + x] = value;
    }
  });
  return result;
}

/** Averages blocks of `factor` x `factor`; those at the ends may be smaller. */
export function reduce(source, factor) {
  const result = grid(Math.ceil(source.width / factor), Math.ceil(source.height / factor));
  const counts = new Float32Array(result.data.length);
  for (let y = 0; y < source.height; y++) {
    for (let x = 0; x < source.width; x++) {
      const block = Math.floor(y / factor) * result.width + Math.floor(x / factor);
      result.data[block] += source.data[y * source.width + x];
      counts[block]++;
    }
  }
  return map(result, (value, i) => value / counts[i]);
}

/** Replaces each row, then each column, by `line(values)`. */
function byLines({width, height, data}, line) {
  const result = grid(width, height, data.slice());
  for (let y = 0; y < height; y++) {
    result.data.set(line(result.data.slice(y * width, (y + 1) * width)), y * width);
  }
  for (let x = 0; x < width; x++) {
    const column = Float32Array.from({length: height}, (_, y) => result.data[y * width + x]);
    line(column).forEach((value, y) => { result.data[y * width + x] = value; });
  }
  return result;
}

/** A Gaussian filter; the grid is mirrored beyond its rim. */
export function blur(source, deviation) {
  const reach = Math.trunc(4 * deviation + 0.5);
  const kernel = Array.from({length: 2 * reach + 1}, (_, i) => Math.exp(-0.5 * ((i - reach) / deviation) ** 2));
  const total = kernel.reduce((a, b) => a + b, 0);
  return byLines(source, (values) => values.map((_, place) => {
    let value = 0;
    kernel.forEach((weight, i) => {
      let from = place + i - reach;
      if (from < 0) from = -1 - from;
      if (from >= values.length) from = 2 * values.length - 1 - from;
      value += (weight / total) * values[Math.min(Math.max(from, 0), values.length - 1)];
    });
    return value;
  }));
}

/** The greatest (or least) value within `reach` of each place, in squares. */
const extreme = (source, reach, choose) => byLines(source, (values) => values.map((_, place) => (
  choose(...values.slice(Math.max(place - reach, 0), place + reach + 1)))));

/** A grey closing by a square of an odd side: fills what is dark and narrower. */
export const close = (source, side) => (
  extreme(extreme(source, (side - 1) / 2, Math.max), (side - 1) / 2, Math.min));

/** Adds a margin in which the values continue beyond the rim, turned about its value. */
export function padOdd(source, across, down) {
  const line = (values, margin) => {
    const result = new Float32Array(values.length + 2 * margin);
    result.set(values, margin);
    const last = values.length - 1;
    for (let i = 1; i <= margin; i++) {
      result[margin - i] = 2 * values[0] - values[i];
      result[margin + last + i] = 2 * values[last] - values[last - i];
    }
    return result;
  };
  const height = source.height + 2 * down;
  const tall = grid(source.width, height);
  for (let x = 0; x < source.width; x++) {
    const column = Float32Array.from({length: source.height}, (_, y) => source.data[y * source.width + x]);
    line(column, down).forEach((value, y) => { tall.data[y * source.width + x] = value; });
  }
  const width = source.width + 2 * across;
  const result = grid(width, height);
  for (let y = 0; y < height; y++) {
    result.data.set(line(tall.data.slice(y * source.width, (y + 1) * source.width), across), y * width);
  }
  return result;
}

/** Cuts out a box {top, bottom, left, right}; what lies outside the grid is dropped. */
export function crop(source, {top, bottom, left, right}) {
  const result = grid(Math.min(right, source.width) - left, Math.min(bottom, source.height) - top);
  for (let y = 0; y < result.height; y++) {
    const start = (top + y) * source.width + left;
    result.data.set(source.data.subarray(start, start + result.width), y * result.width);
  }
  return result;
}

/** Adds a margin of zeros. */
export function pad(source, margin) {
  const result = grid(source.width + 2 * margin, source.height + 2 * margin);
  for (let y = 0; y < source.height; y++) {
    const row = source.data.subarray(y * source.width, (y + 1) * source.width);
    result.data.set(row, (y + margin) * result.width + margin);
  }
  return result;
}

/** Returns the outermost rows and columns, one after the other. */
export function sides({width, height, data}) {
  const column = (x) => Float32Array.from({length: height}, (_, y) => data[y * width + x]);
  return [data.slice(0, width), data.slice((height - 1) * width), column(0), column(width - 1)];
}

function include(box, x, y) {
  box.top = Math.min(box.top, y);
  box.bottom = Math.max(box.bottom, y + 1);
  box.left = Math.min(box.left, x);
  box.right = Math.max(box.right, x + 1);
}

/** Numbers the connected parts of a mask from 1; `corners` says whether corners connect. */
export function label(mask, corners) {
  const {width, height, data} = mask;
  const labels = grid(width, height);
  const boxes = [];
  const areas = [];
  for (let start = 0; start < data.length; start++) {
    if (!data[start] || labels.data[start]) continue;
    const box = {top: height, bottom: 0, left: width, right: 0};
    const queue = [start];
    labels.data[start] = boxes.length + 1;
    for (let i = 0; i < queue.length; i++) {
      const x = queue[i] % width;
      const y = Math.floor(queue[i] / width);
      include(box, x, y);
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          if ((dx && dy && !corners) || x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height) continue;
          const next = queue[i] + dy * width + dx;
          if (!data[next] || labels.data[next]) continue;
          labels.data[next] = boxes.length + 1;
          queue.push(next);
        }
      }
    }
    boxes.push(box);
    areas.push(queue.length);
  }
  return {labels, boxes, areas};
}

/** Returns the box around what is not 0, with a margin, in multiples of `step`. */
export function extent({width, height, data}, margin = 0, step = 1) {
  const box = {top: height, bottom: 0, left: width, right: 0};
  for (let i = 0; i < data.length; i++) if (data[i]) include(box, i % width, Math.floor(i / width));
  const first = (value) => Math.floor(Math.max(value - margin, 0) / step) * step;
  const last = (value) => Math.ceil((value + margin) / step) * step;
  return {top: first(box.top), bottom: last(box.bottom), left: first(box.left), right: last(box.right)};
}

/** Fills the holes of a mask. */
export function fillHoles(mask) {
  const around = label(map(pad(mask, 1), (value) => 1 - value), false).labels;
  const outside = map(around, (value) => (value === 1 ? 1 : 0));
  const inside = crop(outside, {top: 1, bottom: mask.height + 1, left: 1, right: mask.width + 1});
  return map(inside, (value) => 1 - value);
}

/** Takes one pixel off the rim of a mask, `times` times. */
export function erode(mask, times) {
  const {width} = mask;
  let inside = mask;
  for (let i = 0; i < times; i++) {
    const before = pad(inside, 1).data;
    const wide = width + 2;
    inside = map(inside, (value, place) => {
      const at = (Math.floor(place / width) + 1) * wide + (place % width) + 1;
      return value && before[at - 1] && before[at + 1] && before[at - wide] && before[at + wide] ? 1 : 0;
    });
  }
  return inside;
}

/** Returns the distance of each pixel of a mask to the nearest 0 (Felzenszwalb and Huttenlocher 2012). */
export function distances(mask) {
  const squared = byLines(map(mask, (value) => (value ? 1e9 : 0)), parabolas);
  return map(squared, Math.sqrt);
}

/** The lower envelope of parabolas over each place of a line. */
function parabolas(values) {
  const [apexes, starts] = [[0], [-Infinity]];
  const meet = (p, q) => (values[q] + q * q - values[p] - p * p) / (2 * (q - p));
  for (let q = 1; q < values.length; q++) {
    while (meet(apexes.at(-1), q) <= starts.at(-1)) {
      apexes.pop();
      starts.pop();
    }
    starts.push(meet(apexes.at(-1), q));
    apexes.push(q);
  }
  let own = 0;
  return values.map((_, q) => {
    while (starts[own + 1] < q) own++;
    return (q - apexes[own]) ** 2 + values[apexes[own]];
  });
}

/** Returns whether a square of this side fits into a mask. */
export function holdsSquare({width, height, data}, side) {
  let above = new Int32Array(width);
  for (let y = 0; y < height; y++) {
    const sizes = new Int32Array(width); // of the largest square that ends here
    for (let x = 0; x < width; x++) {
      if (!data[y * width + x]) continue;
      sizes[x] = x && y ? 1 + Math.min(sizes[x - 1], above[x], above[x - 1]) : 1;
      if (sizes[x] >= side) return true;
    }
    above = sizes;
  }
  return false;
}
