// A stroke is an array of points [x, y]; a drawing is an array of strokes.

const PEN = 3; // pixels of the image that the model sees
const SMALLEST = 24; // of the pad's 560; a smaller drawing, a dot, is not blown up to a whole letter

/** Draws strokes in the context's strokeStyle; `place` maps a point to where it goes. */
export function trace(context, strokes, width, place = (point) => point) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = 'round';
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...place(stroke[0]));
    for (const point of stroke) context.lineTo(...place(point)); // a lone point becomes a dot
    context.stroke();
  }
}

/**
 * Draws the strokes on a square canvas as the model knows letters: white on black, the box around
 * them centred, its longer side `inkSize` pixels. The points are scaled, not the picture: so the pen
 * is always as thick as a printed letter's stem, however large somebody drew.
 *
 * Returns a Float32Array, 0 to 1, row by row.
 */
export function render(canvas, strokes, inkSize) {
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const side = canvas.width;
  context.fillStyle = '#000';
  context.fillRect(0, 0, side, side);
  if (strokes.length) {
    const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const scale = (inkSize - PEN) / Math.max(right - left, bottom - top, SMALLEST);
    context.strokeStyle = '#fff';
    trace(context, strokes, PEN, ([x, y]) => [
      side / 2 + (x - (left + right) / 2) * scale,
      side / 2 + (y - (top + bottom) / 2) * scale,
    ]);
  }
  const {data} = context.getImageData(0, 0, side, side);
  return Float32Array.from({length: side * side}, (_, i) => data[4 * i] / 255);
}
