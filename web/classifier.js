// Runs the network with TensorFlow.js, whose scripts define the global `tf`.

/** Loads the model written by the stage export_web. */
export async function load(address) {
  await tf.setBackend('cpu'); // the other backends are faster but less exact
  await tf.ready();
  const model = await tf.loadLayersModel(address);
  const [, height, width] = model.inputs[0].shape;
  const {classes, inkSize, sure} = model.getUserDefinedMetadata();

  /** Classifies an image (Float32Array, 0 to 1, row by row); returns one probability per class. */
  function predict(pixels) {
    return tf.tidy(() => model.predict(tf.tensor(pixels, [1, height, width, 1])).dataSync());
  }

  predict(new Float32Array(height * width)); // the first call is slow: make it before anybody waits
  return {predict, classes, inkSize, sure, side: height};
}
