// Runs the network with TensorFlow.js, whose scripts define the global `tf`.

/** Loads the model written by the stage export_web. */
export async function load(address) {
  await tf.setBackend('cpu'); // the other backends are faster but less exact
  await tf.ready();
  const model = await tf.loadLayersModel(address);
  const [, height, width] = model.inputs[0].shape;
  const {classes, inkSize, mostNone, placement, sure, temperature} = model.getUserDefinedMetadata();

  /** Classifies an image (Float32Array, 0 to 1, row by row); returns the model's outputs. */
  function predict(pixels) {
    return tf.tidy(() => model.predict(tf.tensor(pixels, [1, height, width, 1])).dataSync());
  }

  /** Returns the calibrated probability of each class, and that of none of them. */
  function classify(pixels) {
    const powers = Array.from(predict(pixels), (output) => output ** (1 / temperature));
    const total = powers.reduce((sum, power) => sum + power, 0);
    const shares = powers.map((power) => power / total);
    return {shares: shares.slice(0, classes.length), none: shares[classes.length] ?? 0};
  }

  predict(new Float32Array(height * width)); // the first call is slow: make it before anybody waits
  return {predict, classify, classes, inkSize, mostNone, placement, sure, side: height};
}
