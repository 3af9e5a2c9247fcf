// The page: turns strokes, or a picture, into three guesses.
import {load} from './classifier.js';
import {prepareEach} from './picture.js';
import {isDot, render, show, trace} from './strokes.js';

const PEN = 26; // pixels of the pad's 560
const STEP = 14; // pixels that a key moves the pen
const N_SHOWN = 3;
const LARGEST = 1280; // pixels; larger pictures are reduced first
const READY = {letters: 'Ready. Draw a capital or small letter.', digits: 'Ready. Draw a digit.'};
const MOVES = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  Home: [-1, -1], PageUp: [1, -1], End: [-1, 1], PageDown: [1, 1],
};

const [pad, seen, guesses, status] = ['pad', 'seen', 'guesses', 'status'].map((id) => document.getElementById(id));
const context = pad.getContext('2d');
const tabs = document.querySelectorAll('#tabs button');
const classifiers = {}; // a promise per tab that was used
const strokes = [];
const keyboard = {at: [pad.width / 2, pad.height / 2], used: false, down: false};
let pointer = null; // the id of the pointer that is drawing
let picture = null; // what is shown instead of strokes
let tab = null; // letters or digits
let classifier = null; // that of the tab, once loaded

const kind = () => tab.slice(0, -1);

function redraw() {
  context.clearRect(0, 0, pad.width, pad.height);
  if (picture) {
    const scale = Math.min(pad.width / picture.width, pad.height / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    context.drawImage(picture, (pad.width - width) / 2, (pad.height - height) / 2, width, height);
  }
  context.strokeStyle = getComputedStyle(pad).color;
  trace(context, strokes, PEN);
  if (!keyboard.used) return;
  context.strokeStyle = getComputedStyle(pad).accentColor;
  context.lineWidth = 4;
  context.beginPath();
  context.arc(...keyboard.at, keyboard.down ? PEN / 2 : PEN, 0, 2 * Math.PI);
  context.stroke();
}

function classify() {
  redraw();
  if (!classifier) return; // the status says why
  if (picture) classifyPicture();
  else if (!strokes.length) answer(READY[tab]);
  else if (isDot(strokes)) answer(`This is not a ${kind()}.`);
  else guess(render(strokes, classifier));
}

function classifyPicture() {
  try {
    const pixels = picture.getContext('2d').getImageData(0, 0, picture.width, picture.height);
    const images = prepareEach(pixels, classifier);
    if (images.length === 1) guess(images[0]);
    else answer(`${images.length} characters. Crop the picture to one ${kind()}.`, [], images[0]);
  } catch (error) {
    answer(`This is not a ${kind()}: ${error.message}.`);
  }
}

/** Reads and classifies a picture file. */
async function openPicture(file) {
  clear();
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
    const [width, height] = [bitmap.width, bitmap.height].map((length) => Math.max(1, Math.round(length * scale)));
    const canvas = new OffscreenCanvas(width, height);
    const drawing = canvas.getContext('2d');
    drawing.imageSmoothingQuality = 'high';
    drawing.drawImage(bitmap, 0, 0, width, height);
    picture = canvas;
    classify();
  } catch (error) {
    answer(`Sorry: ${error instanceof DOMException ? 'this file is not a picture' : error.message}.`);
  }
}

function guess(image) {
  const {shares, none} = classifier.classify(image);
  const ranked = rank(shares);
  answer(sentence(ranked, none), ranked, image);
}

function answer(text, ranked = [], image = new Float32Array(1)) {
  status.textContent = text;
  guesses.replaceChildren(...ranked.map(row));
  show(seen, image);
}

function rank(probabilities) {
  return classifier.classes
    .map((name, i) => ({name: name.toUpperCase(), probability: probabilities[i]}))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, N_SHOWN);
}

const percent = (probability) => `${(100 * probability).toFixed(1)} %`;

function sentence([first, second], none) {
  if (none > classifier.mostNone) return `This is not a ${kind()}.`;
  return first.probability >= classifier.sure
    ? `This is ${first.name}.`
    : `Not sure: ${first.name}, or perhaps ${second.name}.`;
}

function row({name, probability}) {
  const [item, letter, bar, share] = ['li', 'b', 'span', 'span'].map((tag) => document.createElement(tag));
  letter.textContent = name;
  bar.className = 'bar';
  bar.style.setProperty('--share', probability);
  share.textContent = percent(probability);
  item.append(letter, bar, share);
  return item;
}

const inside = (value) => Math.min(Math.max(value, 0), pad.width);

/** Returns the position of an event on the pad, which may be displayed at any size. */
function place(event) {
  const box = pad.getBoundingClientRect();
  const scale = pad.width / pad.clientWidth;
  return [
    inside((event.clientX - box.left - pad.clientLeft) * scale),
    inside((event.clientY - box.top - pad.clientTop) * scale),
  ];
}

pad.addEventListener('pointerdown', (event) => {
  if (event.button || pointer !== null) return; // only one finger draws
  pointer = event.pointerId;
  pad.setPointerCapture(pointer);
  keyboard.used = keyboard.down = false;
  picture = null;
  strokes.push([place(event)]);
  redraw();
});

pad.addEventListener('pointermove', (event) => {
  if (event.pointerId !== pointer) return;
  const between = event.getCoalescedEvents();
  strokes.at(-1).push(...(between.length ? between : [event]).map(place));
  redraw();
});

pad.addEventListener('lostpointercapture', (event) => { // lifted, or cancelled by the system
  if (event.pointerId !== pointer) return;
  pointer = null;
  classify();
});

pad.addEventListener('keydown', (event) => {
  if (pointer !== null || event.ctrlKey || event.metaKey || event.altKey) return;
  const move = MOVES[event.key];
  if (event.key === ' ' && !event.repeat) {
    keyboard.down = !keyboard.down;
    picture = null;
    if (keyboard.down) strokes.push([keyboard.at]);
    else classify();
  } else if (move) {
    keyboard.at = keyboard.at.map((value, axis) => inside(value + STEP * move[axis]));
    if (keyboard.down) strokes.at(-1).push(keyboard.at);
  } else if (event.key !== ' ') {
    return;
  }
  keyboard.used = true;
  if (event.key === ' ' && keyboard.down) status.textContent = 'The pen is down.';
  event.preventDefault(); // no scrolling
  redraw();
});

pad.addEventListener('focus', () => {
  keyboard.used = pad.matches(':focus-visible'); // not after a click
  redraw();
});

pad.addEventListener('blur', () => { // lift the pen
  if (keyboard.down) classify();
  keyboard.used = keyboard.down = false;
  redraw();
});

/** Ends the current stroke and removes the last strokes. */
function removeLast(number) {
  pointer = null;
  keyboard.down = false;
  picture = null;
  strokes.splice(Math.max(strokes.length - number, 0));
  classify();
}

const undo = () => removeLast(1);
const clear = () => removeLast(Infinity);

document.getElementById('undo').addEventListener('click', undo);
document.getElementById('clear').addEventListener('click', clear);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Backspace' || (event.key === 'z' && (event.ctrlKey || event.metaKey))) undo();
  else if (event.key === 'Escape' || event.key === 'Delete') clear();
});

const chosen = document.getElementById('picture');
chosen.addEventListener('change', () => {
  if (chosen.files.length) openPicture(chosen.files[0]);
  chosen.value = ''; // the same file may be chosen again
});
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault(); // the browser would leave the page
  if (event.dataTransfer.files.length) openPicture(event.dataTransfer.files[0]);
});
document.addEventListener('paste', (event) => {
  if (event.clipboardData.files.length) openPicture(event.clipboardData.files[0]);
});

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);

/** Shows a tab, and loads its classifier if this is its first use. */
async function showTab(name) {
  tab = name;
  classifier = null;
  for (const button of tabs) button.setAttribute('aria-pressed', button.value === tab);
  for (const word of document.querySelectorAll('.kind')) word.textContent = kind();
  document.body.dataset.state = 'loading';
  answer(`Loading the ${tab}…`);
  try {
    const loaded = await (classifiers[name] ??= load(`model/${name}/model.json`));
    if (name !== tab) return; // another tab was chosen meanwhile
    classifier = loaded;
    document.body.dataset.state = 'ready';
    classify();
  } catch (error) {
    delete classifiers[name]; // the next use of the tab tries again
    if (name !== tab) return;
    document.body.dataset.state = 'failed';
    status.textContent = `The model could not be loaded: ${error.message}`;
  }
}

for (const button of tabs) button.addEventListener('click', () => showTab(button.value));
showTab('letters');
