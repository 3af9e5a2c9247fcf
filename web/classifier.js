// The network, run by TensorFlow.js, whose scripts make the global `tf`.

/** Loads what the stage export_web made. */
export async function load(address) {
  await tf.setBackend('cpu'); // the others are faster and less exact
  await tf.ready();
  const model = await tf.loadLayersModel(address);
  const [, height, width] = model.inputs[0].shape;
  const {classes, inkSize, sure} = model.getUserDefinedMetadata();

  /** Classifies an image, a Float32Array, 0 to 1, row by row; returns a probability a class. */
  function predict(pixels) {
    return tf.tidy(() => model.predict(tf.tensor(pixels, [1, height, width, 1])).dataSync());
  }

  predict(new Float32Array(height * width)); // the first time is slow: not while somebody waits
  return {predict, classes, inkSize, sure, side: height};
}
