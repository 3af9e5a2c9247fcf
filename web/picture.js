// Turns a picture of one character into an image like those that the classifier was trained on.
// The same steps, constants and messages as letterpress/prediction/{ink,characters,picture}.py.
import {
  blur, close, crop, distances, erode, extent, fillHoles, grid, holdsSquare, label, map, pad, padOdd,
  percentiles, reduce, resize, round, sides, sum,
} from './raster.js';

const SIDE = 320;
const [NOISY, EVEN, CELL, WINDOW, COARSE] = [0.015, 0.15, 8, 13, 48];
const [LEAST_CONTRAST, STRONG, FAINT, FAINTEST] = [0.1, 0.5, 0.2, 0.1];
const [LEAST_SIDE, LEAST_AREA, TALL, APART, NEAR, THIN] = [SIDE / 40, 0.03, 0.6, 0.11, 0.35, 0.3];
const [LINE, SHADOW, FOOT, FILLED, BLOT, MOST_LOOPS, MOST_FRAMES] = [3, SIDE / 8, 0.25, 0.82, 0.6, 2, 2];

/** What was found is too thick for a character: perhaps it is paper. */
class BlotError extends Error {}

/**
 * Makes an image (Float32Array, 0 to 1, row by row) of each character in `pixels` (an ImageData), in reading order.
 * Throws an Error if nothing looks like a character.
 */
export function prepareEach(pixels, target) {
  return findCharacters(pixels).map((ink) => place(ink, target));
}

function findCharacters(pixels) {
  return search(readPage(flatten(pixels)), 0);
}

/** Returns the red, green and blue of a picture. Clear parts are painted, see records/image.py. */
function flatten({width, height, data}) {
  const colours = [0, 1, 2].map((c) => map(grid(width, height), (_, i) => data[4 * i + c]));
  const opacity = map(grid(width, height), (_, i) => data[4 * i + 3]);
  if (opacity.data.some((value) => value < 255)) paintClear(colours, opacity.data);
  return colours.map((colour) => map(colour, (value) => value / 255));
}

function paintClear(colours, opacity) {
  const opaque = colours.map(({data}) => data.filter((_, i) => opacity[i] >= 128));
  let paper = [0, 0, 0];
  if (opaque[0].length) {
    paper = opaque.map((values) => Math.trunc(percentiles(values, 50)[0]));
    if (Math.max(...opaque.map(spread)) < 8) paper.fill(paper[0] + paper[1] + paper[2] < 384 ? 255 : 0);
  }
  colours.forEach(({data}, c) => data.forEach((value, i) => {
    data[i] = paper[c] + (value - paper[c]) * (opacity[i] / 255);
  }));
}

function spread(values) {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return Math.sqrt(values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length);
}

function readPage(colours) {
  const {width, height} = colours[0];
  const longer = Math.max(width, height);
  let factor = 1;
  if (longer > SIDE) {
    const scaled = [width, height].map((length) => Math.max(1, round(length * SIDE / longer)));
    colours = colours.map((colour) => resize(colour, ...scaled, 'box'));
  } else factor = Math.floor(SIDE / longer);
  const mean = map(colours[0], (_, i) => (colours[0].data[i] + colours[1].data[i] + colours[2].data[i]) / 3);
  const spreads = colours.map(({data}) => spread(data));
  const most = Math.max(...spreads);
  const grey = most > 1.5 * spread(mean.data) ? colours[spreads.indexOf(most)] : mean;
  return {...denoise(magnify(grey, factor)), factor};
}

function magnify(grey, factor) {
  if (factor === 1) return grey;
  const [least, most] = [Math.min(...grey.data), Math.max(...grey.data)];
  const enlarged = resize(grey, grey.width * factor, grey.height * factor, 'bicubic');
  const smooth = map(enlarged, (value) => Math.min(Math.max(value, least), most));
  const means = reduce(smooth, factor).data;
  return map(smooth, (value, i) => {
    const [x, y] = [i % smooth.width, Math.floor(i / smooth.width)];
    const block = Math.floor(y / factor) * grey.width + Math.floor(x / factor);
    return value + grey.data[block] - means[block];
  });
}

function denoise(grey) {
  const differences = grey.data
    .map((value, i) => Math.abs(value - (grey.data[i - 1] + grey.data[i + 1]) / 2))
    .filter((_, i) => i % grey.width && (i + 1) % grey.width);
  const noise = differences.length ? percentiles(differences, 50)[0] / 0.826 : 0;
  return noise < NOISY ? {grey, noise} : {grey: blur(grey, 0.7), noise: 0.4 * noise};
}

function* findInks(grey) {
  const [low, high] = percentiles(grey.data, 0.1, 99.9);
  const isLight = (value) => value > (low + high) / 2;
  const light = map(grey, (value) => (isLight(value) ? 1 : 0));
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const share = mean(sides(light).flatMap((side) => [...side]));
  const lightPaper = (Math.abs(share - 0.5) > 0.3 ? share : mean(light.data)) > 0.5;
  const paper = grey.data.filter((value) => isLight(value) === lightPaper);
  if (paper.length) {
    const [from, level, to] = percentiles(paper, 15, 50, 85);
    if (to - from < EVEN * (high - low)) {
      yield map(grey, (value) => Math.max(lightPaper ? level - value : value - level, 0));
    }
  }
  const coarse = enlarge(shrink(grey, COARSE), grey).data;
  const skew = grey.data.reduce((total, value, i) => total + (value - coarse[i]) ** 3, 0);
  const inverse = map(grey, (value) => 1 - value);
  for (const side of skew < 0 ? [grey, inverse] : [inverse, grey]) {
    const under = paperUnder(side).data;
    yield map(side, (value, i) => Math.max(under[i] - value, 0));
  }
}

function paperUnder(grey) {
  const cells = shrink(grey, CELL);
  const brightest = Math.max(...cells.data);
  const [across, down] = [cells.width, cells.height].map((length) => Math.min(WINDOW, length - 1));
  const closed = close(map(padOdd(cells, across, down), (value) => Math.min(value, brightest)), WINDOW);
  const inside = {top: down, bottom: down + cells.height, left: across, right: across + cells.width};
  return enlarge(crop(closed, inside), grey);
}

const shrink = (grey, cell) => (
  resize(grey, ...[grey.width, grey.height].map((length) => Math.max(2, Math.floor(length / cell))), 'box'));

const enlarge = (cells, {width, height}) => resize(cells, width, height, 'bilinear');

function search(page, level) {
  let problem = null;
  for (const ink of findInks(page.grey)) {
    try {
      return find(page, ink, level, problem !== null);
    } catch (error) {
      if (!(error instanceof BlotError)) throw error;
      problem ??= error;
    }
  }
  throw new Error(problem.message);
}

function find(page, ink, level, inside) {
  const {parts, kept} = dropRim(ink, Math.max(LEAST_CONTRAST, 5 * page.noise));
  const largest = indexOfMost(parts.areas.map((area, i) => (kept[i] ? area : 0)));
  if (longerSide(parts.boxes[largest]) < LEAST_SIDE || (inside && parts.onRim[largest])) {
    throw new Error('no character found (only specks or lines)');
  }
  if (parts.onRim[largest]) {
    const halfWidth = deepest(parts, [largest]);
    if (halfWidth <= LINE) throw new Error('no character found (only lines)');
    if (halfWidth > SHADOW) throw new BlotError('no character found (a shadow or a block)');
  }
  const sheet = level < MOST_FRAMES ? insideOfFrame(page.grey, parts) : null;
  if (sheet) {
    try {
      return search({...page, grey: sheet}, level + 1);
    } catch (error) {
      throw new BlotError(error.message);
    }
  }
  const large = parts.areas.flatMap((area, i) => (kept[i] && area >= LEAST_AREA * parts.areas[largest] ? [i] : []));
  return inReadingOrder(parts, group(parts, largest, large)).map((own) => cut(ink, parts, own, page.factor));
}

function dropRim(ink, least) {
  for (;;) {
    const peak = ink.data.reduce((a, b) => Math.max(a, b), 0);
    if (peak < least) throw new Error('no character found (too little contrast). Use a darker pen');
    const parts = split(threshold(ink, peak, least));
    if (!parts.areas.length) throw new Error('no character found (only lines)');
    const most = (onRim) => parts.areas.reduce((a, area, i) => (parts.onRim[i] === onRim ? Math.max(a, area) : a), 0);
    const drop = parts.onRim.includes(true) && most(false) >= most(true) / 10;
    const kept = parts.onRim.map((onRim) => !(drop && onRim));
    const own = ink.data.filter((_, i) => parts.labels.data[i] && kept[parts.labels.data[i] - 1]);
    if (!kept.includes(false) || percentiles(own, 90)[0] > 0.8 * peak) return {parts, kept};
    const labels = parts.labels.data;
    ink = map(ink, (value, i) => (labels[i] && !kept[labels[i] - 1] ? 0 : value));
  }
}

function threshold(ink, peak, least) {
  const strong = map(ink, (value) => (value > STRONG * peak ? 1 : 0));
  const {labels, areas} = label(map(ink, (value) => (value > Math.max(FAINT * peak, least / 2) ? 1 : 0)), true);
  const belongs = new Uint8Array(areas.length + 1);
  strong.data.forEach((value, i) => { if (value) belongs[labels.data[i]] = 1; });
  belongs[0] = 0;
  const joined = map(labels, (number) => belongs[number]);
  let crossings = 0;
  strong.data.forEach((value, i) => {
    if ((i + 1) % ink.width && value !== strong.data[i + 1]) crossings++;
    if (i + ink.width < strong.data.length && value !== strong.data[i + ink.width]) crossings++;
  });
  const width = 2 * sum(strong) / Math.max(crossings, 1);
  return holdsSquare(joined, Math.trunc(3 * width) + 8) || touchesRim(joined) ? strong : joined;
}

const touchesRim = (mask) => sides(mask).some((side) => side.some((value) => value));

/** Splits a mask into {labels, boxes, areas, onRim, depths}, without thin lines if any crosses the picture. */
function split(mask) {
  const {width, height} = mask;
  let depths = crop(distances(pad(mask, 1)), {top: 1, bottom: height + 1, left: 1, right: width + 1});
  if (touchesRim(mask)) {
    const least = Math.max(THIN * depths.data.reduce((a, b) => Math.max(a, b), 0), 1.01);
    const away = distances(map(depths, (depth) => (depth <= least ? 1 : 0))).data;
    const thick = map(mask, (value, i) => (value && away[i] <= least + 0.5 ? 1 : 0));
    const thin = label(map(mask, (value, i) => (value && !thick.data[i] ? 1 : 0)), true).labels;
    const onRim = new Set(sides(thin).flatMap((side) => [...side]).filter((number) => number));
    const [rows, columns] = [new Set(), new Set()];
    thin.data.forEach((number, i) => {
      if (!onRim.has(number)) return;
      rows.add(Math.floor(i / width));
      columns.add(i % width);
    });
    if (Math.max(rows.size / height, columns.size / width) > 0.3) {
      mask = thick;
      depths = map(depths, (depth, i) => (thick.data[i] ? depth : 0));
    }
  }
  const found = label(mask, true);
  return {...found, onRim: findOnRim(found), depths};
}

function findOnRim({labels, boxes}) {
  const [contacts, touched] = [boxes.map(() => 0), boxes.map(() => 0)];
  for (const side of sides(labels)) {
    for (const number of side) if (number) contacts[number - 1]++;
    for (const number of new Set(side)) if (number) touched[number - 1]++;
  }
  return boxes.map((box, i) => touched[i] > 1 || contacts[i] > FOOT * longerSide(box));
}

function insideOfFrame(grey, {labels, boxes, depths}) {
  const index = indexOfMost(boxes.map((box) => (box.bottom - box.top) * (box.right - box.left)));
  const box = boxes[index];
  const numbers = crop(labels, box);
  const own = map(numbers, (number) => (number === index + 1 ? 1 : 0));
  const filled = fillHoles(own);
  const area = sum(filled);
  if (area / filled.data.length < FILLED || area < grey.data.length / 20) return null;
  const holes = map(filled, (value, i) => (value && !own.data[i] ? 1 : 0));
  const inner = crop(depths, box).data;
  const depth = own.data.reduce((most, value, i) => (value ? Math.max(most, inner[i]) : most), 0);
  let inside = filled;
  if (depth < longerSide(box) / 8) {
    if (sum(map(holes, (value, i) => (value && numbers.data[i] ? 1 : 0))) < 0.01 * area) return null;
    inside = fillHoles(holes);
  } else {
    const strokes = pad(map(holes, (value, i) => (value && !numbers.data[i] ? 1 : 0)), 1);
    const thickest = distances(strokes).data.reduce((a, b) => Math.max(a, b), 0);
    if (thickest > 0.3 * depth || sum(holes) < 0.01 * area) return null;
  }
  inside = erode(inside, 3);
  const within = crop(grey, box);
  const values = within.data.filter((_, i) => inside.data[i]);
  if (!values.length) return null;
  const [median] = percentiles(values, 50);
  return map(within, (value, i) => (inside.data[i] ? value : median));
}

function group({boxes, areas}, largest, kept) {
  const size = longerSide(boxes[largest]);
  const height = (index) => boxes[index].bottom - boxes[index].top;
  const [heads, dots] = [[largest], []];
  for (const index of kept.toSorted((a, b) => areas[b] - areas[a])) {
    if (index === largest) continue;
    const nearest = Math.min(...heads.map((head) => gap(boxes[head], boxes[index])));
    (height(index) > TALL * height(largest) && nearest > APART * size ? heads : dots).push(index);
  }
  const groups = new Map(heads.map((head) => [head, [head]]));
  for (const dot of dots) {
    const [head] = heads.toSorted((a, b) => gap(boxes[a], boxes[dot]) - gap(boxes[b], boxes[dot]) || a - b);
    if (gap(boxes[head], boxes[dot]) <= NEAR * size) groups.get(head).push(dot);
  }
  return [...groups.values()];
}

function inReadingOrder({boxes}, groups) {
  const rows = [];
  for (const own of groups.toSorted((a, b) => boxes[a[0]].top - boxes[b[0]].top)) {
    const {top, bottom} = boxes[own[0]];
    if (rows.length && (top + bottom) / 2 < boxes[rows.at(-1)[0][0]].bottom) rows.at(-1).push(own);
    else rows.push([own]);
  }
  return rows.flatMap((row) => row.toSorted((a, b) => boxes[a[0]].left - boxes[b[0]].left));
}

function cut(ink, parts, own, factor) {
  const whole = map(parts.labels, (number) => (own.includes(number - 1) ? 1 : 0));
  const halfWidth = deepest(parts, own);
  const reach = Math.max(2, halfWidth * (factor === 1 ? 0.4 : 1));
  const box = extent(whole, Math.trunc(reach) + 1, factor);
  const mask = crop(whole, box);
  const values = crop(ink, box);
  refuseShape(mask, halfWidth, parts.onRim[own[0]]);
  const away = distances(map(mask, (value) => 1 - value)).data;
  const [level] = percentiles(values.data.filter((_, i) => mask.data[i]), 90);
  let near = map(values, (value, i) => (away[i] <= reach ? Math.min(value / level, 1) : 0));
  if (factor > 1) near = reduce(near, factor);
  return trim(near);
}

/** Cuts out ink without its faintest parts. */
export function trim(ink) {
  const most = ink.data.reduce((a, b) => Math.max(a, b), 0);
  const clear = map(ink, (value) => (value < FAINTEST * most ? 0 : value));
  return crop(clear, extent(clear));
}

function refuseShape(mask, halfWidth, onRim) {
  const longer = longerSide(extent(mask));
  const {areas} = label(map(pad(mask, 1), (value) => 1 - value), false);
  const around = indexOfMost(areas);
  const large = areas.filter((area, i) => i !== around && area > Math.max(20, 0.01 * longer ** 2)).length;
  if (2 * halfWidth > BLOT * longer) {
    throw new (onRim || large ? BlotError : Error)('no character found (a blot or a block)');
  }
  if (large > MOST_LOOPS) throw new Error(`no character found (more than ${MOST_LOOPS} loops)`);
}

/** Scales ink until its longer side is `inkSize`, and centres it in an image as `placement` says. */
export function place(ink, {side, inkSize, placement}) {
  const scale = inkSize / Math.max(ink.width, ink.height);
  const [width, height] = [ink.width, ink.height].map((length) => Math.max(1, round(length * scale)));
  const scaled = resize(ink, width, height, 'bicubic');
  const strongest = scaled.data.reduce((a, b) => Math.max(a, b), 0);
  let [left, top] = [width, height].map((length) => Math.floor((side - length + 1) / 2));
  if (placement === 'center_of_mass') {
    const across = new Float32Array(width);
    const down = new Float32Array(height);
    scaled.data.forEach((value, i) => {
      across[i % width] += value;
      down[Math.floor(i / width)] += value;
    });
    [left, top] = [across, down].map((masses) => offset(masses, side));
  }
  const image = new Float32Array(side * side);
  scaled.data.forEach((value, i) => {
    image[(top + Math.floor(i / width)) * side + left + (i % width)] = Math.max(value, 0) / strongest;
  });
  return image;
}

function offset(masses, side) {
  const total = masses.reduce((a, b) => a + b, 0);
  const center = masses.reduce((sumOf, mass, i) => sumOf + mass * i, 0) / total;
  return Math.min(Math.max(round(side / 2 - center), 0), side - masses.length);
}

function deepest({labels, depths}, own) {
  return depths.data.reduce((most, depth, i) => (own.includes(labels.data[i] - 1) ? Math.max(most, depth) : most), 0);
}

/** Returns the distance between two boxes; 0 if they overlap. */
const gap = (a, b) => Math.hypot(
  Math.max(a.top - b.bottom, b.top - a.bottom, 0),
  Math.max(a.left - b.right, b.left - a.right, 0),
);

const longerSide = ({top, bottom, left, right}) => Math.max(bottom - top, right - left);
const indexOfMost = (values) => values.indexOf(values.reduce((a, b) => Math.max(a, b), -Infinity));
