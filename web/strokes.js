import {place, trim} from './picture.js';
import {grid, map} from './raster.js';

// A stroke is an array of points [x, y]; a drawing is an array of strokes.

const PEN = 3; // pixels of the model's image
const SMALLEST = 24; // pixels of the pad's 560; smaller drawings are dots, and no letters

/** Returns the box around the points of strokes: [[left, right], [top, bottom]]. */
function bounds(strokes) {
  return [0, 1].map((axis) => {
    const values = strokes.flat().map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
}

/** Returns whether strokes are no more than a dot. */
export const isDot = (strokes) => bounds(strokes).every(([from, to]) => to - from < SMALLEST);

/** Draws strokes in the context's strokeStyle; `move` maps points to the canvas. */
export function trace(context, strokes, width, move = (point) => point) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = 'round';
  for (const stroke of strokes) {
    context.beginPath();
    const [x, y] = move(stroke[0]);
    context.moveTo(x, y);
    context.lineTo(x + 0.01, y); // a dot: browsers draw nothing for a line of no length
    for (const point of stroke) context.lineTo(...move(point));
    context.stroke();
  }
}

/**
 * Makes an image (Float32Array, 0 to 1, row by row) of strokes: white on black, placed as the training images are.
 * The points are scaled, not the picture, so the pen is as thick as a printed letter's stem whatever the size of
 * the drawing.
 */
export function render(strokes, target) {
  const {side, inkSize} = target;
  const context = new OffscreenCanvas(side, side).getContext('2d');
  const [[left, right], [top, bottom]] = bounds(strokes);
  const scale = (inkSize - PEN) / Math.max(right - left, bottom - top);
  trace(context, strokes, PEN, ([x, y]) => [
    side / 2 + (x - (left + right) / 2) * scale,
    side / 2 + (y - (top + bottom) / 2) * scale,
  ]);
  const {data} = context.getImageData(0, 0, side, side);
  return place(trim(map(grid(side, side), (_, i) => data[4 * i + 3] / 255)), target);
}

/** Shows a square image (Float32Array, 0 to 1, row by row) on a canvas. */
export function show(canvas, image) {
  canvas.width = canvas.height = Math.sqrt(image.length);
  const pixels = new ImageData(canvas.width, canvas.height);
  pixels.data.forEach((_, i) => { pixels.data[i] = i % 4 === 3 ? 255 : Math.round(255 * image[(i - (i % 4)) / 4]); });
  canvas.getContext('2d', {willReadFrequently: true}).putImageData(pixels, 0, 0);
}
